"""Frames as a camera that writes JPEGs would have sent them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import cv2

from codesign_ros.data.frames import SourceFrame
from codesign_ros.types.errors import CodesignError


def camera_jpegs(frames: Iterable[SourceFrame], quality: int) -> Iterator[SourceFrame]:
    """Yield frames, each written anew as a JPEG with halved colours (4:2:0).

    Args:
        frames: of any source.
        quality: of the JPEGs, 1 to 100.

    Raises:
        CodesignError: a frame cannot be read, or written as a JPEG.
    """
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, sampling, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    for frame in frames:
        bgr = cv2.cvtColor(frame.rgb(), cv2.COLOR_RGB2BGR)
        try:
            done, data = cv2.imencode(".jpg", bgr, options)
        except cv2.error:
            done = False
        if not done:
            raise CodesignError(f"a frame {bgr.shape} cannot be written as a JPEG")
        yield replace(frame, data=data.tobytes(), encoding="jpeg", step=0)
