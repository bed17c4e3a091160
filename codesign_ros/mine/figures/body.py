"""Builds the body of one person of the synthetic mine out of cones and ellipsoids."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codesign_ros.mine.figures.clothes import Stuff
from codesign_ros.mine.figures.figure import Canvas, Paint
from codesign_ros.mine.figures.head import draw_head
from codesign_ros.mine.figures.pose import Joints, turn_x, turn_y, turn_z
from codesign_ros.mine.people import Person

# Offsets from joints in the body frame [m].
_SOLE = np.array((0.0, 0.04, 0.0))
_TOE = np.array((0.0, -0.055, 0.15))
_THROAT = np.array((0.0, -0.08, -0.012))


def draw_figure(canvas: Canvas, person: Person, pose: Joints, elevation: float) -> np.ndarray:
    """Draw a person seen from ``elevation`` above the horizon [rad].

    Returns:
        Where the cap lamp is and where it points, both in the view's frame: (2,3).
    """
    upright = turn_x(elevation) @ turn_y(person.facing)
    view = upright @ pose.lay
    shift = upright @ pose.shift
    g = person.girth

    def at(point: np.ndarray) -> np.ndarray:
        moved: np.ndarray = view @ point + shift
        return moved

    def cone(
        a: np.ndarray,
        b: np.ndarray,
        r0: float,
        r1: float,
        ident: int,
        band: tuple[float, float, int] | None = None,
    ) -> None:
        canvas.cone(at(a), at(b), (r0, r1), ident, band)

    for side in (0, 1):
        hip, knee, ankle = pose.hips[side], pose.knees[side], pose.ankles[side]
        cone(hip, knee, 0.090 * g, 0.062, Stuff.TROUSERS)
        shin = (0.35, 0.55, Stuff.TAPE) if person.tape else None
        cone(knee, ankle, 0.064, 0.052, Stuff.TROUSERS, shin)
        boot_top = ankle + 0.35 * (knee - ankle)
        cone(boot_top, ankle, 0.062, 0.058, Stuff.BOOT)
        cone(ankle - _SOLE, ankle + _TOE, 0.055, 0.042, Stuff.BOOT)
        shoulder, elbow, hand = pose.shoulders[side], pose.elbows[side], pose.hands[side]
        cuff = (0.55, 0.75, Stuff.TAPE) if person.tape and person.vest is None else None
        cone(shoulder, elbow, 0.058 * g, 0.047, Stuff.JACKET, cuff)
        cone(elbow, hand, 0.046, 0.035, Stuff.SLEEVE)
        _draw_hand(canvas, person, at, elbow, hand)
    _draw_trunk(canvas, person, pose, view, shift)
    neck = pose.head + _THROAT
    chest = 0.5 * (pose.shoulders[0] + pose.shoulders[1])
    cone(chest + np.array((0.0, 0.03, 0.0)), neck, 0.060, 0.053, Stuff.NECK)
    turned = view @ turn_y(person.look) @ turn_z(person.tilt) @ turn_x(person.nod)
    middle = at(pose.head)
    draw_head(canvas, person, middle, turned)
    lamp = middle + turned @ np.array((0.0, 0.115, 0.145))
    return np.stack((lamp, turned @ np.array((0.0, -0.1, 1.0))))


def _draw_hand(
    canvas: Canvas,
    person: Person,
    at: Callable[[np.ndarray], np.ndarray],
    elbow: np.ndarray,
    hand: np.ndarray,
) -> None:
    """A palm and the fingers, bent a little."""
    stuff = Stuff.GLOVE if person.arm < 0.6 else Stuff.SKIN
    along = (hand - elbow) / np.linalg.norm(hand - elbow)
    palm = hand + 0.075 * along
    canvas.cone(at(hand), at(palm), (0.034, 0.042), stuff)
    tips = palm + 0.07 * along + np.array((0.0, -0.01, 0.025))
    canvas.cone(at(palm), at(tips), (0.038, 0.024), stuff)


def _draw_trunk(
    canvas: Canvas, person: Person, pose: Joints, view: np.ndarray, shift: np.ndarray
) -> None:
    """Chest, belly, hips and shoulders, with what is worn over them."""
    g = person.girth
    waist = 0.5 * (pose.hips[0] + pose.hips[1])
    chest = 0.5 * (pose.shoulders[0] + pose.shoulders[1])
    spine = chest - waist
    length = float(np.linalg.norm(spine))
    trunk = view @ turn_x(pose.lean)
    cloth = Stuff.JACKET if person.vest is None else Stuff.VEST

    def paint(low: float, high: float) -> Paint:
        """Materials on an ellipsoid that spans these shares of the spine."""

        def jacket(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
            up = low + (high - low) * (y + 1) / 2
            found = np.full(x.shape, cloth, np.uint8)
            if person.tape:
                braces = (np.abs(np.abs(x) - 0.55) < 0.13) & (up > 0.42)
                found = np.where((np.abs(up - 0.36) < 0.055) | braces, Stuff.TAPE, found)
            if person.vest is not None:
                found = np.where((np.abs(x) < 0.16) & (z > 0) & (up > 0.6), Stuff.JACKET, found)
            seam = (np.abs(x) < 0.02) & (z > 0)
            found = np.where(seam | (np.abs(up - 0.02) < 0.035), Stuff.BELT, found)
            if person.short_sleeves or person.arm > 0.5:  # an open collar
                open_v = (np.abs(x) < 0.9 * (up - 0.86)) & (z > 0)
                found = np.where(open_v, Stuff.NECK, found)
            return found

        return jacket

    def barrel(low: float, high: float, wide: float, deep: float) -> None:
        centre = view @ (waist + 0.5 * (low + high) * spine) + shift
        half = 0.5 * (high - low) * length
        canvas.ellipsoid(centre, trunk @ np.diag((wide, half, deep)), paint(low, high))

    barrel(0.30, 1.16, 0.168 * g, 0.122 * g)
    barrel(-0.14, 0.78, 0.150 * g, 0.112 * g)
    hips = view @ (waist - 0.04 * spine) + shift
    canvas.ellipsoid(hips, trunk @ np.diag((0.165 * g, 0.13, 0.118 * g)), Stuff.TROUSERS)
    collar = view @ (chest + 0.07 * spine) + shift
    for shoulder in pose.shoulders:
        canvas.cone(collar, view @ shoulder + shift, (0.056, 0.057 * g), cloth)
    stand = view @ (chest + 0.13 * spine) + shift
    canvas.cone(collar, stand, (0.070, 0.062), Stuff.JACKET)
