"""What a head needs of a message with an image: its pixels, once they are wanted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from codesign_ros.nodes.images.bridge import CONVERTER
from codesign_ros.pixels.decode import compressed_encoding, has_red_for_blue, to_rgb
from codesign_ros.types.errors import one_line


def loader(
    msg: CompressedImage | Image,
) -> tuple[Callable[[], np.ndarray], int, bytes | None]:
    """Take a message apart.

    Returns:
        What decodes it to (h, w, 3) uint8 RGB and may raise ImageError, the bytes that are held
        until then, and its bytes where they are a compressed picture in its own colours.
    """
    if isinstance(msg, CompressedImage):
        data = msg.data.tobytes()
        said = one_line(msg.format)

        def decode() -> np.ndarray:
            # The format field is free text that drivers fill in differently; the bytes tell.
            return to_rgb(data, compressed_encoding(data, said))

        if has_red_for_blue(msg.format):
            return lambda: np.ascontiguousarray(decode()[..., ::-1]), len(data), None
        return decode, len(data), data

    def load() -> np.ndarray:
        return to_rgb(
            msg.data,
            msg.encoding,
            height=msg.height,
            width=msg.width,
            step=msg.step,
            big_endian=bool(msg.is_bigendian),
            convert=CONVERTER,
        )

    return load, len(msg.data), None
