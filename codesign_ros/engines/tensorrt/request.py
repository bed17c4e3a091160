"""What a build process is asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BuildRequest:
    """How to build an engine from a piece of ONNX; goes through JSON as it is.

    Attributes:
        precision: that of the piece, one of ``PRECISIONS``.
        max_batch: frames that the engine takes at most.
        workspace_bytes: see ``TensorRtSettings``.
        dla_core: the DLA core to build for; None = the GPU.
        gpu: index of the GPU to build on; None where there is none (``ANY_RTX``).
        target: ``Gpu.identity``; tells timings of different GPUs apart.
    """

    precision: str
    max_batch: int = 1
    workspace_bytes: int | None = None
    dla_core: int | None = None
    gpu: int | None = 0
    target: str = ""
