"""Coders of single frames as cameras and robots send them: JPEG in two samplings of colours, WebP.

Each writes a frame and reads it again; what it makes is what the network gets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from codesign_ros.types.errors import CodesignError

_JPEG_QUALITIES = (95, 90, 75, 50, 30)
_WEBP_QUALITIES = (90, 75, 50)


class Coded(NamedTuple):
    """A frame that was written and read.

    Attributes:
        payload_bytes: what it took [bytes].
        image: what was read, uint8 (H, W, 3) RGB.
    """

    payload_bytes: int
    image: np.ndarray


class FrameCoder(Protocol):
    """Writes and reads frames, one after the other."""

    @property
    def family(self) -> str:
        """What coders that differ in their rate alone have in common."""

    @property
    def name(self) -> str:
        """Family and rate."""

    def code(self, image: np.ndarray) -> Coded:
        """Write the next frame, uint8 (H, W, 3) RGB, and read it.

        Raises:
            CodesignError: it cannot be coded.
        """


@dataclass(frozen=True)
class StillCoder:
    """Each frame for itself, by OpenCV.

    Attributes:
        family: see ``FrameCoder``.
        quality: 1 to 100.
        extension: says which format, such as ``.jpg``.
        options: of ``cv2.imencode``.
    """

    family: str
    quality: int
    extension: str
    options: Sequence[int]

    @property
    def name(self) -> str:
        """Family and quality."""
        return f"{self.family}.{self.quality}"

    def code(self, image: np.ndarray) -> Coded:
        """Write a frame and read it."""
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        try:
            done, data = cv2.imencode(self.extension, bgr, list(self.options))
            read = cv2.imdecode(data, cv2.IMREAD_COLOR) if done else None
        except cv2.error:
            read = None
        if read is None:
            raise CodesignError(f"a frame {image.shape} cannot be written as {self.name}")
        return Coded(len(data), cv2.cvtColor(read, cv2.COLOR_BGR2RGB))


def jpeg(sampling: str, quality: int) -> StillCoder:
    """JPEG with the colours of four pixels in one (``420``) or each its own (``444``)."""
    factor = {
        "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    }[sampling]
    options = (cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor)
    return StillCoder(f"jpeg{sampling}", quality, ".jpg", options)


def webp(quality: int) -> StillCoder:
    """WebP, which always halves colours where it loses anything."""
    return StillCoder("webp", quality, ".webp", (cv2.IMWRITE_WEBP_QUALITY, quality))


def still_coders() -> list[FrameCoder]:
    """All of them, by family, the finest first."""
    ladders: tuple[tuple[Callable[[int], StillCoder], Sequence[int]], ...] = (
        (partial(jpeg, "420"), _JPEG_QUALITIES),
        (partial(jpeg, "444"), _JPEG_QUALITIES),
        (webp, _WEBP_QUALITIES),
    )
    return [make(quality) for make, qualities in ladders for quality in qualities]
