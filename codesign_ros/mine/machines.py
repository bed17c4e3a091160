"""Steel that stands about: hydraulic roof supports, loaders, cabinets, traffic cones."""

from __future__ import annotations

import cv2
import numpy as np

from codesign_ros.mine.pipes import SHIFT, fixed
from codesign_ros.mine.props_paint import Light3, Painted, faces, fill, line

_WHITE = np.array((0.7, 0.72, 0.72), np.float32)
_BLACK = np.array((0.015, 0.015, 0.015), np.float32)


def _between(quad: np.ndarray, u: float, v: float) -> np.ndarray:
    """Point of a front (bottom left, bottom right, top right, top left) at shares (u, v)."""
    low = quad[0] * (1 - u) + quad[1] * u
    high = quad[3] * (1 - u) + quad[2] * u
    found: np.ndarray = low * (1 - v) + high * v
    return found


def _patch(quad: np.ndarray, u0: float, v0: float, u1: float, v1: float) -> np.ndarray:
    corners = ((u0, v0), (u1, v0), (u1, v1), (u0, v1))
    return np.array([_between(quad, u, v) for u, v in corners])


def paint_leg(to: Painted, spots: np.ndarray, paint: np.ndarray, light: Light3) -> None:
    """A hydraulic leg: a thick cylinder, a bright rod in it, plates at foot and head."""
    front, _, _ = faces(spots)
    strips = 10
    for v0, v1, wide, colour in (
        (0.04, 0.55, 0.40, paint),
        (0.55, 0.96, 0.26, _WHITE),
        (0.0, 0.05, 0.5, 0.6 * paint),
        (0.95, 1.0, 0.5, 0.6 * paint),
    ):
        for i in range(strips):
            u = (2 * i + 1) / strips - 1
            shade = np.float32(0.2 + 0.8 * np.sqrt(1 - u * u))
            left, right = (0.5 + wide * (2 * j / strips - 1) for j in (i, i + 1))
            fill(to, _patch(front, left, v0, right, v1), colour * light[0] * shade)


def paint_cone(to: Painted, spots: np.ndarray, paint: np.ndarray, light: Light3) -> None:
    """A traffic cone with white bands."""
    front, _, _ = faces(spots)
    fill(to, _patch(front, 0.0, 0.0, 1.0, 0.07), _BLACK * light[0])
    bands = ((0.07, 0.34, paint), (0.34, 0.52, _WHITE), (0.52, 0.66, paint), (0.66, 0.8, _WHITE),
             (0.8, 1.0, paint))  # fmt: skip
    for v0, v1, colour in bands:
        half0, half1 = 0.38 * (1 - v0) + 0.04, 0.38 * (1 - v1) + 0.04
        for side, shade in ((-1, 0.75), (1, 1.0)):
            corners = ((0.5, v0), (0.5 + side * half0, v0), (0.5 + side * half1, v1), (0.5, v1))
            quad = np.array([_between(front, u, v) for u, v in corners])
            fill(to, quad, colour * light[0] * np.float32(shade))


def paint_machine(
    to: Painted, spots: np.ndarray, paint: np.ndarray, light: Light3, seed: int
) -> None:
    """A cabinet or pump: panels, dials, grilles, perhaps warning stripes."""
    rng = np.random.default_rng(seed)
    front, side, top = faces(spots)
    fill(to, side, paint * light[1] * np.float32(0.8))
    fill(to, top, paint * light[2])
    fill(to, front, paint * light[0])
    for _ in range(int(rng.integers(3, 9))):
        u, v = rng.uniform(0.05, 0.75, 2)
        patch = _patch(front, u, v, u + rng.uniform(0.05, 0.2), v + rng.uniform(0.03, 0.2))
        colour = (_BLACK, 0.5 * paint, 1.4 * paint, _WHITE)[rng.integers(4)]
        fill(to, patch, colour * light[0])
    for _ in range(int(rng.integers(0, 4))):
        centre = _between(front, *rng.uniform(0.15, 0.85, 2))
        radius = 0.06 * float(np.linalg.norm(front[1] - front[0]))
        spot = tuple(int(v) for v in fixed(centre))
        dial = tuple(float(c) for c in (_WHITE, _BLACK)[rng.integers(2)] * light[0])
        cv2.circle(to.colour, spot, max(1, round(radius * 16)), dial, -1, cv2.LINE_AA, SHIFT)
    if rng.random() < 0.35:
        _stripes(to, _patch(front, 0.0, 0.0, 1.0, 0.12), light)
    line(to, front, 0.35 * paint * light[0], max(1, round(0.012 * np.ptp(front[:, 0]))))


def _stripes(to: Painted, quad: np.ndarray, light: Light3) -> None:
    """Yellow and black warning stripes."""
    fill(to, quad, np.array((0.02, 0.55, 0.75), np.float32) * light[0])
    for i in range(6):
        u = i / 6
        corners = ((u, 0.0), (u + 0.08, 0.0), (min(1.0, u + 0.16), 1.0), (u + 0.08, 1.0))
        fill(to, np.array([_between(quad, *c) for c in corners]), _BLACK * light[0])


def paint_loader(
    to: Painted, spots: np.ndarray, paint: np.ndarray, light: Light3, seed: int
) -> None:
    """A vehicle seen from the front: wheels, body, a cab with windows, head lights."""
    rng = np.random.default_rng(seed)
    front, side, _ = faces(spots)
    glass = np.array((0.05, 0.045, 0.04), np.float32)
    fill(to, _lower(side, 0.18, 0.6), paint * light[1] * np.float32(0.7))
    wide = float(np.linalg.norm(front[1] - front[0]))
    for u in (0.13, 0.87):
        centre = tuple(int(v) for v in fixed(_between(front, u, 0.17)))
        axes = (max(1, round(0.12 * wide * 16)), max(1, round(0.2 * wide * 16)))
        for share, level in ((1.0, 0.02), (0.45, 0.2)):
            size = tuple(max(1, round(a * share)) for a in axes)
            colour = tuple(float(c) for c in level * light[0])
            cv2.ellipse(to.colour, centre, size, 0, 0, 360, colour, -1, cv2.LINE_AA, SHIFT)
            cv2.ellipse(to.alpha, centre, size, 0, 0, 360, 255.0, -1, cv2.LINE_AA, SHIFT)
    fill(to, _patch(front, 0.06, 0.15, 0.94, 0.58), paint * light[0])
    fill(to, _patch(front, 0.12, 0.3, 0.88, 0.36), 0.4 * paint * light[0])
    cab = 0.1 + 0.25 * rng.random()
    fill(to, _patch(front, cab, 0.58, cab + 0.5, 1.0), 0.9 * paint * light[0])
    fill(to, _patch(front, cab + 0.05, 0.64, cab + 0.45, 0.93), glass * light[0])
    lit = rng.random() < 0.5
    for u in (0.2, 0.8):
        centre = tuple(int(v) for v in fixed(_between(front, u, 0.47)))
        colour = (3.0, 3.2, 3.3) if lit else tuple(float(c) for c in 0.5 * light[0])
        cv2.circle(to.colour, centre, max(1, round(0.045 * wide * 16)), colour, -1, 16, SHIFT)


def _lower(face: np.ndarray, v0: float, v1: float) -> np.ndarray:
    return _patch(face, 0.0, v0, 1.0, v1)
