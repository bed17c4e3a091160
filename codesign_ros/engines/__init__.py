"""Inference engines: one half of a bundle's network, run on named numpy arrays.

``base`` says what an engine is; ``factory`` what a backend is, and which there are: ``ort`` (ONNX
Runtime), ``pytorch`` and ``tensorrt``. What a network's ONNX model goes through is in
``onnx_model``.
"""
