"""Tensor to bytes: raw, fp16, per-channel affine uint8 and uint4, zstd on top, JPEGs for frames."""

from __future__ import annotations

import math

import cv2
import numpy as np
import zstandard

from codesign_ros.types.codec_names import (
    H264_CODECS,
    JPEG444_CODECS,
    JPEG444_QUALITIES,
    NECK_CODECS,
)
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import TensorSpec
from codesign_ros.wire.tensor import EncodedTensor, no_params

TENSOR_CODECS = (
    "raw",
    "raw+zstd",
    "fp16",
    "fp16+zstd",
    "uint8",
    "uint8+zstd",
    "uint4",
    "uint4+zstd",
)
"""Codecs of float32 tensors."""

JPEG_CODECS = ("jpeg", *JPEG444_CODECS)
"""Codecs of RGB frames, uint8 (H, W, 3); all make baseline JPEGs."""

FRAME_CODECS = ("raw", "raw+zstd", *JPEG_CODECS)
"""Codecs of uint8 tensors; the JPEGs only for frames."""

KNOWN_CODECS = (*TENSOR_CODECS, *JPEG_CODECS, *H264_CODECS, *NECK_CODECS)
"""All codecs. Those of a neck carry what its encoder makes, see ``neck.latent``, and no other
tensor; H.264 carries frames in their order, see ``video.stream``."""

JPEG_QUALITY = 90

# OpenCV before 4.7 can only halve the colours.
_SAMPLING = getattr(cv2, "IMWRITE_JPEG_SAMPLING_FACTOR", None)

# Highest code of the affine codecs, which is also their number of steps.
AFFINE_LEVELS = {"uint8": 255, "uint4": 15}

# Largest magnitude that the affine codecs carry: a quarter of float32, so that no step of their
# arithmetic overflows.
AFFINE_MAX = float(np.finfo(np.float32).max) / 4

# Level 1: higher levels cost several times the encoding time for a few percent of the size.
_ZSTD_LEVEL = 1


def codecs_for(spec: TensorSpec) -> tuple[str, ...]:
    """Return the names of the codecs that can carry a tensor of this shape and type."""
    if spec.dtype == "float32":
        return TENSOR_CODECS
    if spec.dtype == "uint8":
        return FRAME_CODECS if _is_frame(spec.shape) else FRAME_CODECS[:2]
    return ()


def plannable(spec: TensorSpec, cut: int) -> tuple[str, ...]:
    """Return the codecs that a plan may have for a tensor at a cut, those of video among them."""
    return (*codecs_for(spec), *(H264_CODECS if cut == 0 and _is_frame(spec.shape) else ()))


def split_codec(codec: str) -> tuple[str, bool]:
    """Return the codec without its lossless stage, and whether zstd follows.

    Raises:
        CodesignError: the name is not one of ``KNOWN_CODECS``.
    """
    if codec not in KNOWN_CODECS:
        raise CodesignError(f"unknown codec '{codec}'; known: {', '.join(KNOWN_CODECS)}")
    base, _, lossless = codec.partition("+")
    return base, bool(lossless)


def affine_view_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape (batch, channels, rest) over which the affine codecs work.

    Channels are axis 1 of tensors with three axes or more; smaller tensors are one channel.
    """
    if len(shape) < 3:
        return 1, 1, math.prod(shape)
    return shape[0], shape[1], math.prod(shape[2:])


def encode(name: str, array: np.ndarray, codec: str) -> EncodedTensor:
    """Write a tensor for the wire.

    Args:
        name: the tensor's name: the segment that made it, or ``image``.
        array: float32 of any shape, or uint8 (a frame (H, W, 3), RGB).
        codec: one of ``codecs_for`` the tensor.

    Returns:
        The encoded tensor, which shares no memory with ``array``.

    Raises:
        CodesignError: unknown codec, codec that cannot carry this type or shape, no elements,
            or values that the codec cannot express (not finite, out of range).
    """
    base, with_zstd = split_codec(codec)
    spec = TensorSpec(name, tuple(array.shape), str(array.dtype))
    usable = codecs_for(spec)
    if codec not in usable:
        raise CodesignError(
            f"codec '{codec}' cannot carry tensor '{name}' ({spec.dtype} {spec.shape}); "
            f"usable: {', '.join(usable) or 'none'}"
        )
    if array.size == 0:
        raise CodesignError(f"tensor '{name}' {spec.shape} has no elements to send")

    scale, offset = no_params(), no_params()
    if base == "raw":
        data = _little_endian(array).tobytes()
    elif base == "fp16":
        data = _encode_fp16(name, array)
    elif base in JPEG_CODECS:
        data = _encode_jpeg(name, array, base)
    else:
        codes, scale, offset = _encode_affine(name, array, AFFINE_LEVELS[base])
        data = _pack_nibbles(codes) if base == "uint4" else codes.tobytes()
    if with_zstd:
        # A new compressor each time: one cannot be shared between threads. The checksum makes a
        # damaged payload an error at the receiver instead of a wrong result.
        data = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compress(data)
    return EncodedTensor(name, spec.dtype, spec.shape, codec, data, scale, offset)


def _is_frame(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[2] == 3


def _little_endian(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _encode_fp16(name: str, array: np.ndarray) -> bytes:
    with np.errstate(over="ignore"):
        half = array.astype("<f2")
    if not np.isfinite(half).all():
        raise CodesignError(
            f"tensor '{name}' has values that are not finite or beyond fp16 (65504); use codec raw"
        )
    return half.tobytes()


def _encode_affine(
    name: str, array: np.ndarray, levels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return codes (uint8, flat), scale and offset so that |decoded - value| <= scale / 2."""
    view = array.reshape(affine_view_shape(array.shape))
    with np.errstate(invalid="ignore"):
        low = view.min(axis=(0, 2))
        high = view.max(axis=(0, 2))
    # Written so that NaN fails it too.
    if not ((low >= -AFFINE_MAX) & (high <= AFFINE_MAX)).all():
        raise CodesignError(
            f"tensor '{name}' has values that are not finite or beyond {AFFINE_MAX:.1e}; "
            "use codec raw"
        )
    # The floor keeps a constant channel, and one of denormals, away from a division by zero.
    scale = np.maximum((high - low) / np.float32(levels), np.finfo(np.float32).tiny)
    steps = view - low[:, np.newaxis]
    steps *= (1.0 / scale)[:, np.newaxis]
    np.rint(steps, out=steps)
    return steps.astype(np.uint8).reshape(-1), scale, low


def _pack_nibbles(codes: np.ndarray) -> bytes:
    """Pack codes 0..15 two to a byte, the first in the low half; an odd last one stands alone."""
    packed = codes[0::2].copy()
    packed[: codes.size // 2] |= codes[1::2] << 4
    return packed.tobytes()


def _encode_jpeg(name: str, frame: np.ndarray, codec: str) -> bytes:
    bgr = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2BGR)
    try:
        done, data = cv2.imencode(".jpg", bgr, _jpeg_options(codec))
    except cv2.error as error:
        raise CodesignError(f"frame '{name}' {frame.shape} cannot become a JPEG") from error
    if not done:
        raise CodesignError(f"frame '{name}' {frame.shape} cannot become a JPEG")
    return data.tobytes()


def _jpeg_options(codec: str) -> list[int]:
    """How OpenCV is to write a JPEG.

    Raises:
        CodesignError: this OpenCV cannot keep the colours whole.
    """
    if codec not in JPEG444_CODECS:
        return [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    if _SAMPLING is None:
        raise CodesignError(
            f"codec '{codec}' needs OpenCV 4.7 or newer, this is {cv2.__version__}: "
            "pip install -r requirements/server.txt"
        )
    quality = JPEG444_QUALITIES[JPEG444_CODECS.index(codec)]
    whole = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    # Huffman tables for each frame: 8 to 24 % fewer bytes for a millisecond or two.
    return [cv2.IMWRITE_JPEG_QUALITY, quality, _SAMPLING, whole, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
