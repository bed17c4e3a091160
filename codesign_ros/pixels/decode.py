"""Decodes what cameras send into RGB arrays, with every size checked first."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from codesign_ros import jpeg
from codesign_ros.types import CodesignError

# No camera of ours is larger; a header that says more is broken or hostile.
MAX_PIXELS = 1 << 26
COMPRESSED = ("jpeg", "png")

_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"

# Encodings of sensor_msgs/Image: channels a pixel, and OpenCV's conversion to RGB (None: is RGB).
_RAW: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, cv2.COLOR_GRAY2RGB),
    "8UC3": (3, cv2.COLOR_BGR2RGB),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
}
_PAIRED = (cv2.COLOR_YUV2RGB_YUY2, cv2.COLOR_YUV2RGB_UYVY)


class ImageError(CodesignError):
    """A picture whose bytes do not fit its description, or cannot be decoded."""


def to_rgb(
    data: bytes | bytearray | memoryview | np.ndarray,
    encoding: str,
    *,
    height: int = 0,
    width: int = 0,
    step: int = 0,
) -> np.ndarray:
    """Decode a picture.

    Byte order does not matter: every encoding that is understood has 8 bits a channel.

    Args:
        data: The picture's bytes, contiguous.
        encoding: ``jpeg`` or ``png`` (size and step are then read from the data), or an 8-bit
            encoding of sensor_msgs/Image.
        height: Rows [px].
        width: Columns [px].
        step: Bytes of one row, padding included.

    Returns:
        (height, width, 3) uint8 RGB, contiguous, never sharing memory with ``data``.

    Raises:
        ImageError: The encoding is unknown, or size, step and data do not fit one another.
    """
    if encoding in COMPRESSED:
        return _decompress(bytes(data), encoding)
    if encoding not in _RAW:
        known = ", ".join((*COMPRESSED, *_RAW))
        raise ImageError(f"image encoding '{encoding}' is not supported; known are {known}")
    channels, conversion = _RAW[encoding]
    _check_size(encoding, height, width)
    if step < width * channels:
        raise ImageError(
            f"{encoding} image {width}x{height}: step {step} is less than one row of"
            f" {width * channels} bytes"
        )
    flat = np.frombuffer(data, np.uint8)
    if flat.size != step * height:
        raise ImageError(
            f"{encoding} image {width}x{height}: {flat.size} bytes, but step {step} x height"
            f" {height} is {step * height}"
        )
    if conversion in _PAIRED and width % 2:
        raise ImageError(f"{encoding} image {width}x{height}: the width must be even")
    rows = flat.reshape(height, step)[:, : width * channels].reshape(height, width, channels)
    if conversion is None:
        return rows.copy()
    return cv2.cvtColor(np.ascontiguousarray(rows), conversion)


def compressed_encoding(data: bytes) -> str:
    """``jpeg`` or ``png``, by the first bytes.

    Raises:
        ImageError: It is neither.
    """
    if data.startswith(jpeg.START + b"\xff"):
        return "jpeg"
    if data.startswith(_PNG_START):
        return "png"
    raise ImageError(f"{len(data)} bytes of compressed image are neither JPEG nor PNG")


def compressed_size(data: bytes) -> tuple[int, int]:
    """(height, width) of a JPEG or PNG, from its header alone.

    Raises:
        ImageError: The header is damaged, or says zero or an absurd size.
    """
    encoding = compressed_encoding(data)
    try:
        if encoding == "png":
            width, height = struct.unpack_from(">II", data, 16)
        else:
            height, width, _ = jpeg.frame_header(data).shape
    except struct.error:
        raise ImageError(f"{encoding} image of {len(data)} bytes is cut off") from None
    except ValueError as error:
        raise ImageError(f"{encoding} image of {len(data)} bytes {error}") from None
    _check_size(encoding, height, width)
    return height, width


def _check_size(encoding: str, height: int, width: int) -> None:
    if height <= 0 or width <= 0 or height * width > MAX_PIXELS:
        raise ImageError(
            f"{encoding} image {width}x{height} has no usable size (at most {MAX_PIXELS} pixels)"
        )


def _decompress(data: bytes, encoding: str) -> np.ndarray:
    found = compressed_encoding(data)
    if found != encoding:
        raise ImageError(f"image is said to be {encoding} but is {found}")
    height, width = compressed_size(data)
    # OpenCV fills what is missing with grey and only prints a warning; some cameras pad with zeros.
    end = jpeg.END if encoding == "jpeg" else _PNG_END
    if not data.rstrip(b"\0").endswith(end):
        raise ImageError(f"{encoding} image {width}x{height} of {len(data)} bytes is cut off")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        bgr = None
    if bgr is None or bgr.shape != (height, width, 3):
        raise ImageError(f"{encoding} image {width}x{height} cannot be decoded")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
