"""Boxes with their labels drawn on a picture, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from codesign_ros.types.boxes import Box

COLOURS = (
    (86, 180, 233),
    (240, 228, 66),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (0, 114, 178),
    (230, 159, 0),
)
"""RGB of the first class, the second, ...; then again from the first.

The colours of Okabe and Ito ("Color Universal Design", 2008), which colour-blind people can tell
apart too, in an order in which neighbours also differ in brightness.
"""

_DARK, _LIGHT = (0, 0, 0), (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# Shares of the picture's shorter side: 9 px capitals and 2 px lines at 640x400.
_TEXT_SHARE, _LINE_SHARE = 1 / 42, 1 / 240
_MIN_TEXT_PX = 8  # below this, the font's strokes run into each other


class _Area(NamedTuple):
    """Part of a picture [px]; right and bottom are outside of it."""

    left: int
    top: int
    right: int
    bottom: int

    def hides(self, other: _Area) -> float:
        """Share of ``other`` that this covers."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        whole = (other.right - other.left) * (other.bottom - other.top)
        return max(0, width) * max(0, height) / whole


class _Text(NamedTuple):
    """A line of text and how it is written: sizes [px], ``below`` the base line."""

    text: str
    scale: float
    stroke: int
    width: int
    height: int
    below: int


def colour_of(label: str, classes: Sequence[str]) -> tuple[int, int, int]:
    """Return the RGB colour of a class.

    Raises:
        ValueError: ``label`` is not one of ``classes``.
    """
    return COLOURS[list(classes).index(label) % len(COLOURS)]


def draw_boxes(
    image: np.ndarray, boxes: Sequence[Box], classes: Sequence[str], *, scores: bool = True
) -> np.ndarray:
    """Draw boxes with label and score; the surest lie on top.

    Line width and text follow the picture's size. A tag stands above, below, beside or inside its
    box, where it hides least, and always wholly inside the picture. What lies outside of the
    picture is not drawn.

    Args:
        image: uint8 (H, W, 3), RGB; it is left as it is.
        boxes: in pixels of ``image``.
        classes: all classes, in the order that gives each its colour.
        scores: whether tags have the score behind the label; the truth has none.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        ValueError: a box has a label that is not one of ``classes``.
    """
    picture = np.ascontiguousarray(image).copy()
    height, width = picture.shape[:2]
    line = max(1, round(min(height, width) * _LINE_SHARE))
    visible = [
        box
        for box in sorted(boxes, key=lambda box: box.score)
        if box.x_max > 0 and box.y_max > 0 and box.x_min < width and box.y_min < height
    ]
    areas = [_area_of(box, height, width) for box in visible]
    for box, area in zip(visible, areas, strict=True):
        corners = area[:2], (area.right - 1, area.bottom - 1)
        # A dark rim keeps a bright line visible on a lamp or a hi-vis vest.
        cv2.rectangle(picture, *corners, _DARK, line + 2)
        cv2.rectangle(picture, *corners, colour_of(box.label, classes), line)
    tags: list[_Area] = []
    # The surest choose their place first.
    for box, area in zip(reversed(visible), reversed(areas), strict=True):
        words = f"{box.label} {box.score:.2f}" if scores else box.label
        text = _fitted(words, height, width)
        # A hidden tag is worse than a hidden box.
        place = min(
            _places(text, area, line, height, width),
            key=lambda place: 2 * sum(map(place.hides, tags)) + sum(map(place.hides, areas)),
        )
        tags.append(place)
        _write(
            picture[place.top : place.bottom, place.left : place.right],
            text,
            colour_of(box.label, classes),
        )
    return picture


def _area_of(box: Box, height: int, width: int) -> _Area:
    """Whole pixels of the visible part of a box; at least one."""
    left, right = np.clip(np.rint([box.x_min, box.x_max]), 0, width - 1).astype(int).tolist()
    top, bottom = np.clip(np.rint([box.y_min, box.y_max]), 0, height - 1).astype(int).tolist()
    return _Area(left, top, right + 1, bottom + 1)


def _fitted(text: str, height: int, width: int) -> _Text:
    """Choose the size of a text; a long one in a small picture is written smaller."""
    capitals_px = max(_MIN_TEXT_PX, round(min(height, width) * _TEXT_SHARE))
    stroke = max(1, round(capitals_px / 12))
    scale = cv2.getFontScaleFromHeight(_FONT, capitals_px, stroke)
    (wide, high), below = cv2.getTextSize(text, _FONT, scale, stroke)
    shrink = min(1.0, (width - 4 * stroke) / wide, (height - 2 * stroke) / (high + below))
    if shrink < 1:
        scale *= max(shrink, 0.01)
        (wide, high), below = cv2.getTextSize(text, _FONT, scale, stroke)
    return _Text(text, scale, stroke, wide, high, below)


def _places(text: _Text, area: _Area, line: int, height: int, width: int) -> list[_Area]:
    """List where a tag may stand, best first, moved into the picture where it would stick out."""
    wide = min(width, text.width + 4 * text.stroke)
    high = min(height, text.height + text.below + 2 * text.stroke)
    rim = line // 2 + 1
    left, right = area.left - rim, area.right + rim
    above, below = area.top - rim - high, area.bottom + rim
    starts = (
        (left, above), (right - wide, above), (left, below), (right - wide, below),
        (right, area.top - rim), (left - wide, area.top - rim),
        (right, below - high), (left - wide, below - high), (left, area.top),
    )  # fmt: skip
    inside = [(min(max(0, x), width - wide), min(max(0, y), height - high)) for x, y in starts]
    return [_Area(x, y, x + wide, y + high) for x, y in inside]


def _write(area: np.ndarray, text: _Text, colour: tuple[int, int, int]) -> None:
    """Fill a part of a picture with a colour and write on it in black or white."""
    area[:] = colour
    # Luma of ITU-R BT.601.
    bright = float(np.dot(colour, (0.299, 0.587, 0.114))) > 140
    start = (2 * text.stroke, text.stroke + text.height)
    ink = _DARK if bright else _LIGHT
    cv2.putText(area, text.text, start, _FONT, text.scale, ink, text.stroke, cv2.LINE_AA)
