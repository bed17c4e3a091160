"""A tensor as it is on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


def no_params() -> np.ndarray:
    """Scale or offset of a codec that has none."""
    return np.empty(0, np.float32)


@dataclass(frozen=True, eq=False)
class EncodedTensor:
    """One tensor as it is on the wire; the fields are those of ``msg/Tensor.msg``.

    ``dtype`` and ``shape`` describe the tensor before encoding. ``scale`` and ``offset`` (float32)
    are set for the affine codecs only: value = offset + scale * code, per channel. ``data`` may be
    any buffer of bytes, so that a received message is read in place.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    codec: str
    data: bytes | bytearray | memoryview
    scale: np.ndarray = field(default_factory=no_params)
    offset: np.ndarray = field(default_factory=no_params)

    @property
    def payload_bytes(self) -> int:
        """What the tensor costs on the link: elements and affine parameters [bytes]."""
        return memoryview(self.data).nbytes + 4 * (len(self.scale) + len(self.offset))
