"""How many bytes a codec makes of a tensor, where that follows from its shape alone."""

from __future__ import annotations

from codesign_ros.types.tensors import TensorSpec

# A float32 scale and a float32 offset.
_AFFINE_BYTES_PER_CHANNEL = 8


def payload_bytes(spec: TensorSpec, codec: str) -> int | None:
    """Size of ``spec`` on the wire [bytes], or None where it depends on the values.

    ``raw`` and ``fp16`` take 4 and 2 bytes an element, ``uint8`` and ``uint4`` 1 and 1/2 and 8 for
    each channel (axis 1 of tensors with three axes or more, else one channel). Whatever ends in
    ``+zstd``, and ``jpeg``, depends on the values. Frames (uint8) have only ``raw``.
    """
    if codec == "raw":
        return spec.nbytes
    if spec.dtype != "float32":
        return None
    channels = spec.shape[1] if len(spec.shape) >= 3 else 1
    sizes = {
        "fp16": 2 * spec.elements,
        "uint8": spec.elements + _AFFINE_BYTES_PER_CHANNEL * channels,
        "uint4": (spec.elements + 1) // 2 + _AFFINE_BYTES_PER_CHANNEL * channels,
    }
    return sizes.get(codec)
