"""What a tensor and a network's input look like, and the names of two tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

IMAGE = "image"
"""Name of a network's input, and of the frame on the wire at cut 0."""

NECK = "neck"
"""Name of the tensor between the encoder and the decoder of a neck (``models.neck``)."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and element type of a tensor; ``dtype`` is a numpy name such as ``float32``."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Size in memory [bytes]."""
        return self.elements * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class InputSpec:
    """How a frame becomes the network's input.

    The frame is letterboxed to ``height`` x ``width`` RGB; each channel is then
    ``(value / 255 - mean) / std``.
    """

    height: int
    width: int
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
