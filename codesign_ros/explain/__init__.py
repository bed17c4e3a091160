"""Pictures that show what a network sees and what its structures change (paper, Fig. 9 to 11).

``scene`` opens a picture, ``structures`` makes the networks that are compared,
``class_activation`` and ``feature_maps`` compute, ``explanation`` puts it all together,
``pictures`` draws it.
"""
