"""Engines on NVIDIA GPUs and DLAs: TensorRT 8.5 to 11 and TensorRT for RTX.

``versions`` is the one place that knows the versions apart. ``build`` makes an engine from a piece
of ONNX, ``build_process`` does so in a process of its own (``worker``), ``store`` keeps what was
made, in files that ``engine_file`` describes. ``settings`` and ``target`` say how and for what.
"""
