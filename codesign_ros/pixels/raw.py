"""Raw pictures as cameras send them (the encodings of sensor_msgs/Image) to RGB arrays.

Sizes are checked here, by what a header says and how many bytes there are; colours are converted by
OpenCV, or by a converter of the caller's with the same rules, such as cv_bridge's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from codesign_ros.types.errors import CodesignError, did_you_mean, one_line

# No camera of ours is larger; a header that says more is broken or hostile.
MAX_PIXELS = 1 << 26

Converter = Callable[[np.ndarray, str], np.ndarray]
"""Makes (H, W, 3) uint8 RGB of an array (H, W) or (H, W, channels), native byte order, and the name
of its encoding, one of ``BRIDGED``. May raise ImageError."""

BRIDGED = frozenset(
    (
        *("rgb8", "bgr8", "rgba8", "bgra8", "rgb16", "bgr16", "rgba16", "bgra16"),
        *("mono8", "mono16", "yuv422", "yuv422_yuy2"),
        *(f"bayer_{order}{bits}" for order in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16)),
    )
)
"""Encodings that cv_bridge converts to rgb8, in every distribution from Humble on."""

# Names that say how numbers are stored and not what they are (OpenCV's types). But for the few that
# are pictures by custom, a picture of them would mean nothing to a network.
_NUMBERS = re.compile(r"(8|16|32|64)[USF]C[0-9]*")


class ImageError(CodesignError):
    """A picture whose bytes do not fit its description, or cannot be decoded."""


@dataclass(frozen=True)
class _Format:
    """How an encoding lies in memory.

    Attributes:
        channels: numbers a pixel in its rows (of the first plane, where it has two).
        conversion: OpenCV's to RGB; None: is RGB.
        bits: of one number.
        chroma: of a second plane with U and V for the first's Y: its rows for two rows of Y, each
            as long as one of those; 0: there is none.
        even_width: two pixels share what is in a row.
        even_height: two rows share what is in the second plane.
        least: rows and columns that the conversion needs [px].
    """

    channels: int
    conversion: int | None = None
    bits: int = 8
    chroma: int = 0
    even_width: bool = False
    even_height: bool = False
    least: int = 1


def _formats() -> dict[str, _Format]:
    formats = {
        "8UC1": _Format(1, cv2.COLOR_GRAY2RGB),
        "8UC3": _Format(3, cv2.COLOR_BGR2RGB),
        "8UC4": _Format(4, cv2.COLOR_BGRA2RGB),
    }
    for bits in (8, 16):
        formats |= {
            f"rgb{bits}": _Format(3, None, bits),
            f"bgr{bits}": _Format(3, cv2.COLOR_BGR2RGB, bits),
            f"rgba{bits}": _Format(4, cv2.COLOR_RGBA2RGB, bits),
            f"bgra{bits}": _Format(4, cv2.COLOR_BGRA2RGB, bits),
            f"mono{bits}": _Format(1, cv2.COLOR_GRAY2RGB, bits),
            # OpenCV names a mosaic by the second row's second and third pixel, ROS by the first two
            # rows' first two.
            f"bayer_rggb{bits}": _Format(1, cv2.COLOR_BayerBG2RGB, bits, least=3),
            f"bayer_bggr{bits}": _Format(1, cv2.COLOR_BayerRG2RGB, bits, least=3),
            f"bayer_gbrg{bits}": _Format(1, cv2.COLOR_BayerGR2RGB, bits, least=3),
            f"bayer_grbg{bits}": _Format(1, cv2.COLOR_BayerGB2RGB, bits, least=3),
        }
    yuyv, uyvy = cv2.COLOR_YUV2RGB_YUY2, cv2.COLOR_YUV2RGB_UYVY
    for name in ("yuv422_yuy2", "yuyv"):
        formats[name] = _Format(2, yuyv, even_width=True)
    for name in ("yuv422", "uyvy"):
        formats[name] = _Format(2, uyvy, even_width=True)
    for name, conversion in (("nv12", cv2.COLOR_YUV2RGB_NV12), ("nv21", cv2.COLOR_YUV2RGB_NV21)):
        formats[name] = _Format(1, conversion, chroma=1, even_width=True, even_height=True)
    # OpenCV has no conversion of it; what is made of it has.
    formats["nv24"] = _Format(1, uyvy, chroma=4)
    return formats


_FORMATS = _formats()
RAW = tuple(_FORMATS)
"""Names of the encodings that are understood."""


def check_size(encoding: str, height: int, width: int) -> None:
    """Refuse a picture of no or of an absurd size [px].

    Raises:
        ImageError: it has one.
    """
    if height <= 0 or width <= 0 or height * width > MAX_PIXELS:
        raise ImageError(
            f"{encoding} image {width}x{height} has no usable size (at most {MAX_PIXELS} pixels)"
        )


def raw_to_rgb(
    data: bytes | bytearray | memoryview | np.ndarray,
    encoding: str,
    height: int,
    width: int,
    step: int,
    *,
    big_endian: bool = False,
    convert: Converter | None = None,
) -> np.ndarray:
    """Convert a picture.

    Numbers of 16 bits are scaled to 8, so that 65535 becomes 255. The padding of the last row may
    be missing.

    Args:
        data: the picture's bytes, contiguous.
        encoding: one of ``RAW``.
        height: rows [px].
        width: columns [px].
        step: bytes of one row, padding included.
        big_endian: the most significant byte of 16 bits comes first.
        convert: converts the colours of encodings in ``BRIDGED``; None = OpenCV.

    Returns:
        (height, width, 3) uint8 RGB, contiguous, never sharing memory with ``data``.

    Raises:
        ImageError: the encoding is unknown, or size, step and data do not fit one another.
    """
    form = _FORMATS.get(encoding)
    if form is None and _NUMBERS.fullmatch(encoding):
        raise ImageError(
            f"image encoding '{encoding}' is depth or another measurement, no picture; name the "
            "camera's topic of pictures"
        )
    if form is None:
        known = ("jpeg", "png", *RAW)
        raise ImageError(
            f"image encoding {one_line(repr(encoding))} is not supported"
            f"{did_you_mean(encoding, known)}; known are {', '.join(known)}"
        )
    check_size(encoding, height, width)
    row_bytes = width * form.channels * form.bits // 8
    if step < row_bytes:
        raise ImageError(
            f"{encoding} image {width}x{height}: step {step} is less than one row of"
            f" {row_bytes} bytes"
        )
    if form.even_width and width % 2:
        raise ImageError(f"{encoding} image {width}x{height}: the width must be even")
    if form.even_height and height % 2:
        raise ImageError(f"{encoding} image {width}x{height}: the height must be even")
    if min(height, width) < form.least:
        raise ImageError(
            f"{encoding} image {width}x{height}: it needs {form.least} rows and columns"
        )
    rows = _rows(data, encoding, height, width, step, row_bytes, height * form.chroma // 2)
    if encoding == "nv24":
        return _from_nv24(rows, height, width)
    pixels = np.ascontiguousarray(rows)
    if form.bits == 16:
        pixels = pixels.view(">u2" if big_endian else "<u2").astype(np.uint16, copy=False)
    if form.channels > 1:
        pixels = pixels.reshape(height, width, form.channels)
    if convert is not None and encoding in BRIDGED:
        rgb = convert(pixels, encoding)
    elif form.conversion is not None:
        rgb = cv2.cvtColor(pixels, form.conversion)
    else:
        rgb = pixels
    if rgb.dtype == np.uint16:
        rgb = cv2.convertScaleAbs(rgb, alpha=255 / 65535)
    # What was converted in no step is still the message's memory.
    return rgb.copy() if rgb is pixels or rgb.base is not None else rgb


def _rows(
    data: bytes | bytearray | memoryview | np.ndarray,
    encoding: str,
    height: int,
    width: int,
    step: int,
    row_bytes: int,
    chroma_rows: int,
) -> np.ndarray:
    """View the rows of all planes without their padding, (rows, row_bytes) uint8.

    Raises:
        ImageError: there are too few bytes, or too many.
    """
    flat = np.frombuffer(data, np.uint8)
    rows = height + chroma_rows
    if not step * (rows - 1) + row_bytes <= flat.size <= step * rows:
        planes = f" and {chroma_rows} rows of colour" if chroma_rows else ""
        raise ImageError(
            f"{encoding} image {width}x{height}: {flat.size} bytes, but step {step} x height"
            f" {height}{planes} is {step * rows}"
        )
    return np.lib.stride_tricks.as_strided(flat, (rows, row_bytes), (step, 1), writeable=False)


def _from_nv24(rows: np.ndarray, height: int, width: int) -> np.ndarray:
    """Convert Y, (H, W), and U and V of every pixel after it, as UYVY with each pixel twice."""
    chroma = rows[height:].reshape(height, width, 2)
    uyvy = np.empty((height, width, 4), np.uint8)
    uyvy[..., 0::2] = chroma
    uyvy[..., 1::2] = rows[:height, :, None]
    twice = cv2.cvtColor(uyvy.reshape(height, 2 * width, 2), cv2.COLOR_YUV2RGB_UYVY)
    return np.ascontiguousarray(twice[:, ::2])
