"""Inference engines: one half of a bundle's network, run on named numpy arrays.

``base`` has the protocol, ``factory`` makes engines from a bundle for a (part, cut, structure,
merge), ``onnx`` (ONNX Runtime) and ``torch`` are the two implementations.
"""
