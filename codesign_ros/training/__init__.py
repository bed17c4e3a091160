"""Training: detectors, classifiers, and a network in two halves.

- ``detector*``, ``canvases``, ``assignment``, ``detection_loss``, ``transfer``: the detector.
- ``classifier*``, ``classification_sets``: a classifier of any labelled images.
- ``command``, ``trainer``, ``views``, ``scenes``: the classifier of the mine's frames.
- ``split_*``, ``convergence``: head and tail in two processes (section V of the paper).
- ``averaged_run``, ``loop``, ``schedule``, ``checkpoint``, ``curves``, ``progress``: what they
  share.
"""
