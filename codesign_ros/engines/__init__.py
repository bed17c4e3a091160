"""Inference engines: one half of a bundle's network, run on named numpy arrays.

``base`` says what an engine is; ``factory`` what a backend is, and which there are: ``ort`` (ONNX
Runtime), ``pytorch`` and ``tensorrt``. What a network's ONNX model goes through is in
``onnx_model``.
"""

import os

# ONNX Runtime (1.32, Linux) keeps an id of the machine and sends its maker what it runs, from its
# import on: a robot's link is for its frames.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
