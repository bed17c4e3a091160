"""Pictures in files: upright, as the EXIF data of a JPEG says.

Whoever takes a picture with a phone sees it upright, and draws boxes on it so; a camera's frame on
a topic is never turned, for its calibration is of the pixels as they are.
"""

from __future__ import annotations

import contextlib

import numpy as np
from PIL import Image

from codesign_ros import jpeg
from codesign_ros.pixels.decode import ImageError, compressed_encoding, compressed_size, to_rgb

_EXIF = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112


def upright_picture(data: bytes) -> tuple[bytes, str, int, int, int]:
    """Turn a picture that is not stored upright; any other is left as it is.

    Args:
        data: a JPEG or PNG file.

    Returns:
        Bytes, encoding, height [px], width [px] and bytes of one row (0: the bytes are those of the
        file), as in ``SourceFrame``.

    Raises:
        ImageError: it is neither, or is broken.
    """
    encoding, (height, width) = compressed_encoding(data), compressed_size(data)
    orientation = orientation_of(data) if encoding == "jpeg" else 1
    if orientation == 1:
        return data, encoding, height, width, 0
    rgb = upright(to_rgb(data, encoding), orientation)
    height, width, channels = rgb.shape
    return rgb.tobytes(), "rgb8", height, width, width * channels


def described(data: bytes) -> tuple[str, int, int]:
    """Say what a picture is as far as its first bytes tell; who decodes it says what is wrong.

    Args:
        data: a JPEG or PNG file, however broken.

    Returns:
        Encoding (``jpeg`` where it is neither), height [px] and width [px] (0 where the header is
        refused).
    """
    encoding, size = "jpeg", (0, 0)
    with contextlib.suppress(ImageError):
        encoding = compressed_encoding(data)
        size = compressed_size(data)
    return encoding, *size


def orientation_of(head: bytes) -> int:
    """EXIF orientation of a JPEG, 1 where it has none or one that makes no sense."""
    exif = Image.Exif()
    try:
        for marker, content in jpeg.segments(head):
            if marker == jpeg.EXIF and content[: len(_EXIF)] == _EXIF:
                exif.load(bytes(content))
                break
        value = exif.get(_ORIENTATION_TAG, 1)
    except Exception:  # Pillow raises whatever damaged bytes lead to
        return 1
    return value if value in range(1, 9) else 1


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a picture (H, W, 3) as EXIF 2.32, table 6 ("Orientation"), says."""
    if orientation >= 5:
        stored = stored.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        stored = stored[::-1]
    if orientation in (2, 3, 6, 7):
        stored = stored[:, ::-1]
    return stored
