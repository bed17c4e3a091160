"""Header and end of a JPEG file (ITU T.81, annex B), which OpenCV cannot read alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

START, END = b"\xff\xd8", b"\xff\xd9"

EXIF = 0xE1
"""Marker of an application segment that may hold EXIF data."""

BASELINE = 0xC0
"""Marker of the frame header of a baseline JPEG."""

_FILL, _SCAN = 0xFF, 0xDA
# Start of frame, whatever the coding process; three of the codes mean something else.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# In the data of a scan: a marker that is no stuffed byte, restart or fill.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# What is between scans; parameters follow each but the end.
_END = 0xD9


class FrameHeader(NamedTuple):
    """What the frame header says.

    Attributes:
        process: marker of the coding process.
        height, width: size [px].
        components: number of colour components.
        sampling: samples of each component in a unit, across and down.
    """

    process: int
    height: int
    width: int
    components: int
    sampling: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width [px] and colour components."""
        return self.height, self.width, self.components

    @property
    def has_whole_colours(self) -> bool:
        """Whether all components have as many samples (4:4:4)."""
        return len(set(self.sampling)) == 1


def segments(data: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield marker and parameters of each segment before the first scan.

    Raises:
        ValueError: the header is damaged or cut off.
    """
    view = memoryview(data)
    if view[:2] != START:
        raise ValueError("does not start as a JPEG")
    at = 2
    while at + 4 <= view.nbytes:
        marker, length = view[at + 1], int.from_bytes(view[at + 2 : at + 4], "big")
        if view[at] != 0xFF:
            raise ValueError("has a damaged header")
        if marker == _FILL:
            at += 1
            continue
        if marker == _SCAN:
            return
        if length < 2 or marker <= 0x01 or 0xD0 <= marker <= 0xD9:
            raise ValueError("has a damaged header")
        if at + 2 + length > view.nbytes:
            break
        yield marker, view[at + 4 : at + 2 + length]
        at += 2 + length
    raise ValueError("is cut off")


def frame_header(data: bytes | memoryview) -> FrameHeader:
    """Read the frame header, without looking at the rest of the file.

    Raises:
        ValueError: there is none, or the header is damaged or cut off before it.
    """
    for marker, content in segments(data):
        if marker in _FRAMES:
            if content.nbytes < 6:
                break
            height, width = (int.from_bytes(content[at : at + 2], "big") for at in (1, 3))
            factors = content[7 : 6 + 3 * content[5] : 3]
            if len(factors) != content[5]:
                break
            sampling = tuple((factor >> 4, factor & 15) for factor in factors)
            return FrameHeader(marker, height, width, content[5], sampling)
    raise ValueError("has no frame header")


def end(data: bytes) -> int | None:
    """Where the picture ends, behind its end marker [bytes]; None where that is missing.

    A thumbnail's end, inside a segment of the header, is none.
    """
    at = 2
    while found := _MARKER.search(data, at):
        at = found.end()
        marker = data[at - 1]
        if marker == _END:
            return at
        if marker > 0x01:
            at += int.from_bytes(data[at : at + 2], "big")
    return None
