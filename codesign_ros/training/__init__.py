"""Training a whole-frame classifier on generated scenes of the mine.

``scenes`` renders them once to disk, ``views`` makes batches and their dense targets, ``trainer``
fits a network, ``command`` does all of it and writes a bundle (``codesign train``).
"""
