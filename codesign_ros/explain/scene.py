"""The picture that is explained: an image file or a scene of the synthetic mine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from codesign_ros.data.image_files import open_image
from codesign_ros.mine.generator import MOST_SEED, MineGenerator, seed_of
from codesign_ros.pixels.decode import ImageError, compressed_encoding
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.errors import CodesignError

_MINE = "mine:"


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what is in it.

    Attributes:
        name: the file or ``mine:SEED:INDEX``.
        image: uint8 (height, width, 3), RGB.
        truth: what is truly in it; None where nobody knows.
    """

    name: str
    image: np.ndarray
    truth: GroundTruth | None


def open_scene(spec: str) -> Picture:
    """Read an image file, or draw frame INDEX of the mine with ``mine:SEED:INDEX``.

    JPEG and PNG files are read, and turned upright, as those of data sets are; OpenCV reads others.

    Raises:
        CodesignError: the file is missing, damaged or no image, or seed or index is no whole
            number from 0.
    """
    if spec.startswith(_MINE):
        first, _, second = spec.removeprefix(_MINE).partition(":")
        seed, index = seed_of(first), seed_of(second)
        if seed is None or index is None:
            raise CodesignError(
                f"image '{spec}': seed and index must be whole numbers from 0 to {MOST_SEED}, as "
                "in mine:7:0"
            )
        frame = MineGenerator(seed).frame(index)
        return Picture(spec, cv2.cvtColor(frame.image, cv2.COLOR_BGR2RGB), frame.truth)
    try:
        data = Path(spec).read_bytes()
    except OSError as error:
        raise CodesignError(f"image {spec} cannot be read: {error.strerror}") from None
    if _is_compressed(data):
        return Picture(spec, open_image(Path(spec)).load(), None)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # no bytes, or more pixels than OpenCV takes
        image = None
    if image is None:
        raise CodesignError(f"image {spec} cannot be read: it is no picture that OpenCV knows")
    return Picture(spec, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), None)


def _is_compressed(data: bytes) -> bool:
    """Whether these are a JPEG's or PNG's bytes."""
    try:
        compressed_encoding(data)
    except ImageError:
        return False
    return True
