"""A recording whose ground truth lies beside it: a labelled data set with stamps for file names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from codesign_ros.data.annotations import DetectionSet
from codesign_ros.data.frames import FrameSource, SourceFrame
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.errors import CodesignError

# Seconds of ten digits and what follows, or a whole number of nanoseconds behind a mark.
_STAMP = re.compile(r".*?(?<!\d)(?:(\d{10})[._-]?(\d{0,9})|(\d{1,9})[._-](\d{9}))")


def stamp_of(stem: str) -> tuple[int, int] | None:
    """Read a file's name as a stamp.

    Returns:
        The stamp, and the unit in which it is written [ns]; None where it is none.
    """
    found = _STAMP.fullmatch(stem)
    if found is None:
        return None
    seconds, parts = (found[1], found[2]) if found[1] else (found[3], found[4])
    return int(seconds) * 10**9 + int(parts.ljust(9, "0")), int(10 ** (9 - len(parts)))


class StampedLabels:
    """Another source with the boxes of the pictures whose names are its frames' stamps.

    Args:
        source: the recording.
        labelled: the labels; a frame without a picture there has no known truth.

    Raises:
        CodesignError: no picture belongs to a frame.
    """

    def __init__(self, source: FrameSource, labelled: DetectionSet) -> None:
        self.source = source
        self.labelled = labelled
        self.fps, self.frames, self.live = source.fps, source.frames, source.live
        stamps_ns = np.array([frame.stamp_ns for frame in source], np.int64)
        self._truths: dict[int, GroundTruth] = {}
        for image in labelled.images:
            read = stamp_of(image.path.stem)
            if read is None or not len(stamps_ns):
                continue
            nearest = int(stamps_ns[np.abs(stamps_ns - read[0]).argmin()])
            # Names are cut off or rounded to their unit.
            if abs(nearest - read[0]) < max(read[1], 2):
                self._truths[nearest] = GroundTruth("", image.boxes)
        if not self._truths:
            raise CodesignError(
                f"no picture of {labelled.name} belongs to a frame: its name must be the frame's "
                "stamp, as 1700000000.123456789.jpg or 1700000000123456789.jpg"
            )

    def __iter__(self) -> Iterator[SourceFrame]:
        for frame in self.source:
            yield replace(frame, truth=self._truths.get(frame.stamp_ns))
