"""Bytes to tensor, trusting nothing: every field is checked before memory is taken for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import zstandard

from codesign_ros import jpeg
from codesign_ros.types.codec_names import JPEG444_CODECS
from codesign_ros.types.tensors import TensorSpec
from codesign_ros.wire.codecs import (
    AFFINE_LEVELS,
    AFFINE_MAX,
    JPEG_CODECS,
    affine_view_shape,
    codecs_for,
    split_codec,
)
from codesign_ros.wire.refusal import WireError
from codesign_ros.wire.tensor import EncodedTensor

# No JPEG of ours is larger than its frame and this much for tables and headers.
_JPEG_OVERHEAD_BYTES = 4096
# zstd takes a buffer of the frame's window when the data ends early; ours needs no window above
# the content, and frames of other encoders round it up to this.
_ZSTD_SMALLEST_WINDOW_BYTES = 1 << 20


@dataclass(frozen=True)
class WireLimits:
    """What a receiver is willing to take.

    ``max_tensor_bytes`` bounds one decoded tensor [bytes]; decoding takes a small multiple of it.
    """

    max_tensor_bytes: int = 64 << 20


def decode(encoded: EncodedTensor, expected: TensorSpec, limits: WireLimits) -> np.ndarray:
    """Read a tensor that should be ``expected``.

    Args:
        encoded: what came over the wire; any field may hold any value of its type.
        expected: the tensor that the receiver's own bundle names at this place.
        limits: bounds on memory.

    Returns:
        A new writable array of exactly the expected shape and type. The values are whatever the
        sender sent: only zstd codecs carry a checksum.

    Raises:
        WireError: anything does not fit; nothing else is ever raised.
    """
    base, with_zstd = split_codec(
        check_description(encoded, expected, limits, codecs_for(expected))
    )
    scale, offset = check_params(encoded, expected, base)
    data = memoryview(encoded.data).cast("B")
    if base in JPEG_CODECS:
        return _decode_jpeg(data, expected, base)

    length = _encoded_length(expected, base)
    if with_zstd:
        payload: memoryview | bytes = _expand_zstd(data, length, expected.name)
    else:
        payload = data
        if data.nbytes != length:
            raise WireError(
                "length", f"tensor '{expected.name}' has {data.nbytes} bytes, expected {length}"
            )
    if base in AFFINE_LEVELS:
        return _decode_affine(payload, expected, base, scale, offset)
    wire_type = "<f2" if base == "fp16" else np.dtype(expected.dtype).newbyteorder("<")
    # astype copies, so the result is aligned and outlives the message. Widening a signalling NaN
    # would warn.
    with np.errstate(invalid="ignore"):
        values = np.frombuffer(payload, wire_type).astype(expected.dtype)
    return values.reshape(expected.shape)


def check_description(
    encoded: EncodedTensor, expected: TensorSpec, limits: WireLimits, usable: Sequence[str]
) -> str:
    """Check name, type, shape, limit and codec; return the codec, which is one of ``usable``."""
    if encoded.name != expected.name:
        raise WireError("name", f"tensor '{encoded.name}' came where '{expected.name}' should be")
    if encoded.dtype != expected.dtype:
        raise WireError(
            "dtype", f"tensor '{expected.name}' is {encoded.dtype}, expected {expected.dtype}"
        )
    if tuple(encoded.shape) != tuple(expected.shape):
        raise WireError(
            "shape",
            f"tensor '{expected.name}' has shape {tuple(encoded.shape)}, expected {expected.shape}",
        )
    if expected.nbytes > limits.max_tensor_bytes:
        raise WireError(
            "limit",
            f"tensor '{expected.name}' takes {expected.nbytes} bytes, "
            f"the limit is {limits.max_tensor_bytes}",
        )
    if encoded.codec not in usable:
        raise WireError(
            "codec", f"tensor '{expected.name}' cannot be written with codec '{encoded.codec}'"
        )
    return encoded.codec


def check_params(
    encoded: EncodedTensor, expected: TensorSpec, base: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and offset as float32, checked: one of each per channel, finite, in range."""
    channels = affine_view_shape(expected.shape)[1] if base in AFFINE_LEVELS else 0
    if len(encoded.scale) != channels or len(encoded.offset) != channels:
        raise WireError(
            "params",
            f"tensor '{expected.name}' has {len(encoded.scale)} scales and "
            f"{len(encoded.offset)} offsets, expected {channels} of each",
        )
    scale = np.asarray(encoded.scale, np.float32)
    offset = np.asarray(encoded.offset, np.float32)
    if channels:
        # The encoder's spans end at twice AFFINE_MAX; the rest is for rounding. NaN fails too, and
        # widening a signalling one would warn.
        with np.errstate(invalid="ignore"):
            span = AFFINE_LEVELS[base] * scale.astype(np.float64)
        sound = (scale >= 0) & (span <= 2.2 * AFFINE_MAX) & (np.abs(offset) <= AFFINE_MAX)
        if not sound.all():
            raise WireError(
                "params", f"tensor '{expected.name}' has a scale or offset that is out of range"
            )
    return scale, offset


def _encoded_length(expected: TensorSpec, base: str) -> int:
    """Bytes of the encoded elements before zstd."""
    if base == "raw":
        return expected.nbytes
    return {
        "fp16": 2 * expected.elements,
        "uint8": expected.elements,
        "uint4": (expected.elements + 1) // 2,
    }[base]


def _expand_zstd(data: memoryview, length: int, name: str) -> bytes:
    """Expand one zstd frame that declares exactly ``length`` bytes."""
    try:
        header = zstandard.get_frame_parameters(data)
    except zstandard.ZstdError as error:
        raise WireError("corrupt", f"tensor '{name}' is not a zstd frame") from error
    if header.content_size != length:
        raise WireError(
            "length",
            f"tensor '{name}' declares {header.content_size} bytes inside zstd, expected {length}",
        )
    if header.window_size > max(2 * length, _ZSTD_SMALLEST_WINDOW_BYTES):
        raise WireError(
            "limit", f"tensor '{name}' asks for a zstd window of {header.window_size} bytes"
        )
    try:
        payload = zstandard.ZstdDecompressor().decompress(
            data, max_output_size=length, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise WireError("corrupt", f"tensor '{name}' has a damaged zstd frame") from error
    if len(payload) != length:
        raise WireError(
            "corrupt", f"tensor '{name}' expands to {len(payload)} bytes, expected {length}"
        )
    return payload


def _decode_affine(
    payload: memoryview | bytes,
    expected: TensorSpec,
    base: str,
    scale: np.ndarray,
    offset: np.ndarray,
) -> np.ndarray:
    """Return offset + scale * code per channel, float32."""
    codes = np.frombuffer(payload, np.uint8)
    if base == "uint4":
        nibbles = np.empty(2 * codes.size, np.uint8)
        nibbles[0::2] = codes & 15
        nibbles[1::2] = codes >> 4
        codes = nibbles[: expected.elements]
    values = codes.reshape(affine_view_shape(expected.shape)).astype(np.float32)
    values *= scale[:, np.newaxis]
    values += offset[:, np.newaxis]
    return values.reshape(expected.shape)


def _decode_jpeg(data: memoryview, expected: TensorSpec, codec: str) -> np.ndarray:
    """Return the RGB frame; what the header says is checked before the decoder runs."""
    if data.nbytes > expected.nbytes + _JPEG_OVERHEAD_BYTES:
        raise WireError(
            "length", f"JPEG '{expected.name}' of {data.nbytes} bytes exceeds its frame"
        )
    # Without the end marker the decoder would fill the missing rows with grey and say nothing.
    if data[-2:] != jpeg.END:
        raise WireError("corrupt", f"JPEG '{expected.name}' is cut off")
    header = jpeg_header(data, expected.name)
    if header.shape != tuple(expected.shape):
        raise WireError(
            "shape", f"JPEG '{expected.name}' has shape {header.shape}, expected {expected.shape}"
        )
    if codec in JPEG444_CODECS and not header.has_whole_colours:
        raise WireError("codec", f"JPEG '{expected.name}' is not 4:4:4, as codec {codec} is")
    # The orientation tag is ignored: it could turn the frame.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise WireError("corrupt", f"JPEG '{expected.name}' cannot be decoded") from error
    if bgr is None or bgr.shape != tuple(expected.shape):
        raise WireError("corrupt", f"JPEG '{expected.name}' cannot be decoded")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def jpeg_header(data: memoryview, name: str) -> jpeg.FrameHeader:
    """Return the frame header of a baseline JPEG (ITU T.81, B.2).

    Progressive files are refused: our encoder makes none, and
    their many passes cost time out of proportion to their size.

    Args:
        data: the file.
        name: what to call it in an error.

    Raises:
        WireError: it is not a baseline JPEG.
    """
    try:
        header = jpeg.frame_header(data)
    except ValueError as error:
        raise WireError("corrupt", f"JPEG '{name}' {error}") from None
    if header.process != jpeg.BASELINE:
        raise WireError("corrupt", f"'{name}' is not a baseline JPEG")
    return header
