"""Decodes what cameras send into RGB arrays, with every size checked first."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from codesign_ros import jpeg
from codesign_ros.pixels.raw import Converter, ImageError, check_size, raw_to_rgb

COMPRESSED = ("jpeg", "png")

# Encodings of sensor_msgs/Image of which compressed_image_transport turns colours back.
_COLOURS = ("rgb8", "bgr8", "rgba8", "bgra8", "rgb16", "bgr16", "rgba16", "bgra16")
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
_PNG_GREY = 0

__all__ = [
    "COMPRESSED",
    "ImageError",
    "compressed_encoding",
    "compressed_size",
    "has_red_for_blue",
    "picture_end",
    "to_rgb",
]


def to_rgb(
    data: bytes | bytearray | memoryview | np.ndarray,
    encoding: str,
    *,
    height: int = 0,
    width: int = 0,
    step: int = 0,
    big_endian: bool = False,
    convert: Converter | None = None,
) -> np.ndarray:
    """Decode a picture.

    A turn that a JPEG's EXIF data asks for is ignored: a camera's boxes are in its own pixels.

    Args:
        data: The picture's bytes, contiguous; for jpeg and png, what comes after the picture's end
            is not looked at.
        encoding: ``jpeg`` or ``png`` (size and step are then read from the data), or an encoding of
            sensor_msgs/Image, of those in ``pixels.raw``.
        height: Rows [px].
        width: Columns [px].
        step: Bytes of one row, padding included.
        big_endian: Raw, 16 bits: the most significant byte comes first.
        convert: Raw: what converts colours; None = OpenCV.

    Returns:
        (height, width, 3) uint8 RGB, contiguous, never sharing memory with ``data``.

    Raises:
        ImageError: The encoding is unknown, or size, step and data do not fit one another.
    """
    if encoding in COMPRESSED:
        return _decompress(bytes(data), encoding)
    return raw_to_rgb(data, encoding, height, width, step, big_endian=big_endian, convert=convert)


def compressed_encoding(data: bytes, said: str = "") -> str:
    """``jpeg`` or ``png``, by the first bytes.

    Args:
        data: The picture, or its first bytes.
        said: What its sender calls the format, for the error.

    Raises:
        ImageError: It is neither.
    """
    if data.startswith(jpeg.START + b"\xff"):
        return "jpeg"
    if data.startswith(_PNG_START):
        return "png"
    named = f" (format '{said}')" if said else ""
    raise ImageError(f"{len(data)} bytes of compressed image are neither JPEG nor PNG{named}")


def has_red_for_blue(said: str) -> bool:
    """Whether a compressed picture was stored with red and blue in each other's place.

    In compressed_image_transport's ``rgb8; jpeg compressed bgr8`` the end is the order in which
    channels were given to OpenCV, which takes them for blue, green and red. Its subscriber turns
    colours back wherever that end is not ``bgr``; here it has to be ``rgb``, for others who write
    pictures in their own colours leave it out.

    Args:
        said: The field ``format`` of sensor_msgs/CompressedImage.
    """
    made_of, ends, stored = said.partition(";")
    return bool(ends) and made_of in _COLOURS and "compressed rgb" in stored


def compressed_size(data: bytes) -> tuple[int, int]:
    """(height, width) of a JPEG or PNG, from its header alone.

    Raises:
        ImageError: The header is damaged, says zero or an absurd size, or is that of a depth image.
    """
    encoding = compressed_encoding(data)
    try:
        if encoding == "png":
            width, height, bits, kind = struct.unpack_from(">IIBB", data, 16)
            if bits == 16 and kind == _PNG_GREY:
                raise ImageError(
                    f"png image {width}x{height} of 16 bits of grey is depth, no picture; name the "
                    "camera's topic of pictures"
                )
        else:
            height, width, _ = jpeg.frame_header(data).shape
    except struct.error:
        raise ImageError(f"{encoding} image of {len(data)} bytes is cut off") from None
    except ValueError as error:
        raise ImageError(f"{encoding} image of {len(data)} bytes {error}") from None
    check_size(encoding, height, width)
    return height, width


def picture_end(data: bytes) -> int:
    """Where a JPEG or PNG ends [bytes]; phones and some cameras put something behind it.

    Raises:
        ImageError: Its end is missing.
    """
    encoding = compressed_encoding(data)
    end = jpeg.end(data) if encoding == "jpeg" else _png_end(data)
    if end is None:
        height, width = compressed_size(data)
        raise ImageError(f"{encoding} image {width}x{height} of {len(data)} bytes is cut off")
    return end


def _png_end(data: bytes) -> int | None:
    """Where the last chunk ends (PNG, third edition, 5.3); None where it is missing."""
    at = len(_PNG_START)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if kind == _PNG_END:
            return at if at <= len(data) else None
    return None


def _decompress(data: bytes, encoding: str) -> np.ndarray:
    found = compressed_encoding(data)
    if found != encoding:
        raise ImageError(f"image is said to be {encoding} but is {found}")
    height, width = compressed_size(data)
    # OpenCV fills what is missing with grey and only prints a warning.
    whole = np.frombuffer(data, np.uint8, picture_end(data))
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(whole, flags)
    except cv2.error:
        bgr = None
    if bgr is None or bgr.shape != (height, width, 3):
        raise ImageError(f"{encoding} image {width}x{height} cannot be decoded")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
