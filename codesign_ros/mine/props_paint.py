"""Painting of flat faces of things in the synthetic mine."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from codesign_ros.mine.pipes import SHIFT, fixed

Light3 = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Brightness (3,) on a thing's front, side and top."""


@dataclass(frozen=True)
class Painted:
    """A thing's picture: ``colour`` (h,w,3) float32, linear; ``alpha`` (h,w) uint8."""

    colour: np.ndarray
    alpha: np.ndarray


def fill(to: Painted, corners: np.ndarray, paint: np.ndarray) -> None:
    """Fill a polygon (n,2) [px]."""
    points = [fixed(corners)]
    cv2.fillPoly(to.colour, points, tuple(float(p) for p in paint), cv2.LINE_AA, SHIFT)
    cv2.fillPoly(to.alpha, points, 255.0, cv2.LINE_AA, SHIFT)


def line(to: Painted, corners: np.ndarray, paint: np.ndarray, thick_px: int) -> None:
    """Draw the outline of a polygon (n,2) [px]."""
    colour = tuple(float(p) for p in paint)
    cv2.polylines(to.colour, [fixed(corners)], True, colour, thick_px, cv2.LINE_AA, SHIFT)


def faces(spots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Front, visible side and top of a projected box (order of `props.draw_prop`)."""
    front = spots[[0, 1, 3, 2]]
    side = spots[[1, 5, 7, 3]] if spots[5, 0] > spots[1, 0] else spots[[0, 4, 6, 2]]
    return front, side, spots[[2, 3, 7, 6]]
