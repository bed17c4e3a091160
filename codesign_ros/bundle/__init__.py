"""A model bundle: a directory with all that planner and engines need to know of one network.

::

    NAME.bundle/
      model.yaml           what the network is, and the SHA-256 of its weights
      weights.safetensors  branch weights before any folding, so every structure can be made
      accuracy.json        measured accuracy by structure, merge, precision and codec
      calibration.npz      ``frames``: uint8 (n, H, W, 3), RGB, letterboxed
      neck_CUT.safetensors a neck (``models.neck``) for each cut that has one
      onnx/                may be there: exported networks, for machines without PyTorch

Opening one imports no torch; ``Bundle.network`` does.
"""

from codesign_ros.bundle.description import BundleError
from codesign_ros.bundle.opened import Bundle
from codesign_ros.bundle.writing import check_place, holds_bundle, write_bundle, write_neck

__all__ = ["Bundle", "BundleError", "check_place", "holds_bundle", "write_bundle", "write_neck"]
