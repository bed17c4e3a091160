"""What every source of frames hands out, whatever it reads from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from codesign_ros.pixels.decode import to_rgb
from codesign_ros.types.boxes import GroundTruth


@dataclass(frozen=True)
class SourceFrame:
    """One frame as its source holds it.

    Attributes:
        stamp_ns: When it was taken [ns]. Sources without a clock count from 0 at their rate.
        data: The picture's bytes.
        encoding: ``jpeg``, ``png``, or an encoding of sensor_msgs/Image such as ``bgr8``.
        height: Rows [px].
        width: Columns [px].
        step: Bytes of one row with its padding; 0 for jpeg and png.
        truth: What is truly in it, where the source knows.
        file: The picture's file, where it has one of its own.
    """

    stamp_ns: int
    data: bytes
    encoding: str
    height: int
    width: int
    step: int
    truth: GroundTruth | None = None
    file: Path | None = None

    def rgb(self) -> np.ndarray:
        """Decode it to (height, width, 3) uint8 RGB, once; it must not be written to.

        Raises:
            ImageError: its bytes do not fit its description, or cannot be decoded.
        """
        return self._rgb

    @cached_property
    def _rgb(self) -> np.ndarray:
        return to_rgb(
            self.data, self.encoding, height=self.height, width=self.width, step=self.step
        )


class FrameSource(Protocol):
    """Something that yields frames; iterating again starts again, except at a live source."""

    @property
    def fps(self) -> float:
        """Frames per second at which the frames were, or are, taken."""

    @property
    def frames(self) -> int | None:
        """How many frames there are; None where nobody knows."""

    @property
    def live(self) -> bool:
        """Whether frames are taken while we iterate, so that time cannot be stretched."""

    def __iter__(self) -> Iterator[SourceFrame]:
        """Yield the frames in order."""
