"""Frames as a camera that writes JPEGs would have sent them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2

from codesign_ros.data.frames import FrameSource, SourceFrame
from codesign_ros.types.errors import CodesignError


@dataclass(frozen=True)
class CameraJpegs:
    """A source whose every frame comes as a JPEG with halved colours (4:2:0).

    Attributes:
        source: where frames come from.
        quality: of the JPEGs, 1 to 100.
    """

    source: FrameSource
    quality: int

    @property
    def fps(self) -> float:
        """See ``FrameSource``."""
        return self.source.fps

    @property
    def frames(self) -> int | None:
        """See ``FrameSource``."""
        return self.source.frames

    @property
    def live(self) -> bool:
        """See ``FrameSource``."""
        return self.source.live

    def __iter__(self) -> Iterator[SourceFrame]:
        """Yield the frames, each written anew.

        Raises:
            CodesignError: a frame cannot be read, or written as a JPEG.
        """
        sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR
        options = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        options += [sampling, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
        for frame in self.source:
            bgr = cv2.cvtColor(frame.rgb(), cv2.COLOR_RGB2BGR)
            try:
                done, data = cv2.imencode(".jpg", bgr, options)
            except cv2.error:
                done = False
            if not done:
                raise CodesignError(f"a frame {bgr.shape} cannot be written as a JPEG")
            yield replace(frame, data=data.tobytes(), encoding="jpeg", step=0)
