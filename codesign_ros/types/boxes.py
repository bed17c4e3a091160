"""Objects in a frame as boxes, and what is truly in one."""

from __future__ import annotations

from dataclasses import dataclass, field

CORNERS, CENTRE = BOX_FORMS = ("corners", "centre")
"""What the four numbers of a detector's box are, in pixels of its input: x_min, y_min, x_max and
y_max, or x and y of the centre, width and height."""


@dataclass(frozen=True)
class Box:
    """One object in one frame, in pixels of the original image (origin top left)."""

    label: str
    x_min: float
    y_min: float
    x_max: float
    y_max: float
    score: float = 1.0


@dataclass(frozen=True)
class GroundTruth:
    """What is truly in a frame: the class of the whole frame and a box for each object."""

    label: str
    boxes: tuple[Box, ...] = field(default=())
