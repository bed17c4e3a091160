"""Builds the body of one person of the synthetic mine out of cones and ellipsoids."""

from __future__ import annotations

import numpy as np

from codesign_ros.mine.clothes import Stuff
from codesign_ros.mine.figure import Canvas
from codesign_ros.mine.people import Person
from codesign_ros.mine.pose import Joints, turn_x, turn_y

# Offsets from joints in the body frame [m].
_SOLE = np.array((0.0, 0.04, 0.0))
_TOE = np.array((0.0, -0.055, 0.15))
_THROAT = np.array((0.0, -0.07, -0.01))
_NAPE = np.array((0.0, 0.0, -0.015))


def draw_figure(canvas: Canvas, person: Person, pose: Joints, elevation: float) -> np.ndarray:
    """Draw a person seen from ``elevation`` above the horizon [rad].

    Returns:
        Where the cap lamp is and where it points, both in the view's frame: (2,3).
    """
    view = turn_x(elevation) @ turn_y(person.facing)
    g = person.girth

    def cone(
        a: np.ndarray,
        b: np.ndarray,
        r0: float,
        r1: float,
        ident: int,
        band: tuple[float, float, int] | None = None,
    ) -> None:
        canvas.cone(view @ a, view @ b, (r0, r1), ident, band)

    for side in (0, 1):
        hip, knee, ankle = pose.hips[side], pose.knees[side], pose.ankles[side]
        cone(hip, knee, 0.098 * g, 0.068, Stuff.TROUSERS)
        cone(knee, ankle, 0.07, 0.058, Stuff.TROUSERS, (0.35, 0.55, Stuff.TAPE))
        boot_top = ankle + 0.35 * (knee - ankle)
        cone(boot_top, ankle, 0.066, 0.062, Stuff.BOOT)
        cone(ankle - _SOLE, ankle + _TOE, 0.055, 0.045, Stuff.BOOT)
        shoulder, elbow, hand = pose.shoulders[side], pose.elbows[side], pose.hands[side]
        cone(shoulder, elbow, 0.068 * g, 0.055, Stuff.JACKET, (0.55, 0.75, Stuff.TAPE))
        cone(elbow, hand, 0.055, 0.043, Stuff.JACKET)
        reach = hand + 0.22 * (hand - elbow)
        cone(hand, reach, 0.042, 0.038, Stuff.GLOVE if person.arm < 0.6 else Stuff.SKIN)
    waist = 0.5 * (pose.hips[0] + pose.hips[1])
    chest = 0.5 * (pose.shoulders[0] + pose.shoulders[1])
    spine = chest - waist
    length = float(np.linalg.norm(spine))
    trunk = view @ turn_x(pose.lean)
    middle = waist + 0.52 * spine

    def jacket(x: np.ndarray, y: np.ndarray, _z: np.ndarray) -> np.ndarray:
        belt = np.abs(y + 0.62) < 0.05
        tape = (np.abs(y + 0.2) < 0.085) | ((np.abs(np.abs(x) - 0.5) < 0.1) & (y > -0.2))
        return np.where(belt, Stuff.BELT, np.where(tape, Stuff.TAPE, Stuff.JACKET))

    canvas.ellipsoid(view @ middle, trunk @ np.diag((0.205 * g, 0.64 * length, 0.135 * g)), jacket)
    canvas.ellipsoid(
        view @ (waist + 0.02 * spine), trunk @ np.diag((0.185 * g, 0.16, 0.13 * g)), Stuff.TROUSERS
    )
    cone(pose.shoulders[0], pose.shoulders[1], 0.075 * g, 0.075 * g, Stuff.JACKET)
    cone(chest + 0.02 * spine, pose.head + _THROAT, 0.066, 0.056, Stuff.SKIN)
    cone(chest + 0.05 * spine, chest + 0.14 * spine + _NAPE, 0.085, 0.075, Stuff.JACKET)  # collar
    skull = view @ turn_y(person.look) @ turn_x(person.nod)
    at = view @ pose.head

    def face(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        eyes = (np.abs(y - 0.06) < 0.10) & (np.abs(np.abs(x) - 0.36) < 0.17) & (z > 0)
        mouth = (np.abs(y + 0.55) < 0.05) & (np.abs(x) < 0.26) & (z > 0)
        hair = (y > person.hair_line + 0.18 * x * x) | ((z < -0.1) & (y > -0.45))
        hair |= (y > 0.0) & (z < 0.16)
        if person.hair_line > 1:  # bald: a rim of hair is left at the sides and the back
            hair = (z < 0.1) & (y > -0.4) & (y < 0.3)
        skin = np.where((y < -0.28) & (z > -0.1), Stuff.CHIN, Stuff.FACE)
        return np.where(hair, Stuff.HAIR, np.where(eyes | mouth, Stuff.SHADOWED, skin))

    canvas.ellipsoid(at, skull @ np.diag((0.079, 0.122, 0.101)), face)
    nose = at + skull @ np.array((0.0, -0.012, 0.098))
    canvas.ellipsoid(nose, skull @ np.diag((0.017, 0.03, 0.024)), Stuff.FACE)
    for side in (-1, 1):
        ear = at + skull @ np.array((0.079 * side, 0.0, -0.01))
        canvas.ellipsoid(ear, skull @ np.diag((0.014, 0.032, 0.02)), Stuff.CHIN)
    if person.helmet is None:
        if person.hair_line < 1:
            crown = at + skull @ np.array((0.0, 0.035, -0.016))

            def mop(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
                grown = (y > person.hair_line) | ((z < -0.05) & (y > -0.5))
                return np.where(grown, np.uint8(Stuff.HAIR), np.uint8(0))

            canvas.ellipsoid(crown, skull @ np.diag((0.088, 0.108, 0.106)), mop)
    else:
        _draw_helmet(canvas, at, skull)
    lamp = at + skull @ np.array((0.0, 0.115, 0.145))
    return np.stack((lamp, skull @ np.array((0.0, -0.1, 1.0))))


def _draw_helmet(canvas: Canvas, at: np.ndarray, skull: np.ndarray) -> None:
    """Dome with ridges, brim with peak, and the cap lamp on its bracket."""
    base = at + skull @ np.array((0.0, 0.045, -0.005))

    def dome(x: np.ndarray, y: np.ndarray, _z: np.ndarray) -> np.ndarray:
        ridge = (np.abs(np.abs(x) - 0.22) < 0.045) & (y > 0.2)
        return np.where(y > 0, np.where(ridge, Stuff.RIDGE, Stuff.HELMET), 0)

    canvas.ellipsoid(base, skull @ np.diag((0.118, 0.132, 0.142)), dome)
    brim = base + skull @ np.array((0.0, 0.0, 0.012))
    canvas.ellipsoid(brim, skull @ np.diag((0.136, 0.016, 0.163)), Stuff.HELMET)
    peak = base + skull @ np.array((0.0, -0.006, 0.115))
    canvas.ellipsoid(peak, skull @ np.diag((0.095, 0.014, 0.085)), Stuff.RIDGE)
    bracket = base + skull @ np.array((0.0, 0.065, 0.128))
    canvas.ellipsoid(bracket, skull @ np.diag((0.037, 0.037, 0.022)), Stuff.BRACKET)
    lens = base + skull @ np.array((0.0, 0.065, 0.141))
    canvas.ellipsoid(lens, skull @ np.diag((0.029, 0.029, 0.018)), Stuff.LAMP)
