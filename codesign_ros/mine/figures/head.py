"""Draws the head of one person of the synthetic mine: face, hair, and what is worn on it."""

from __future__ import annotations

import numpy as np

from codesign_ros.mine.figures.clothes import Stuff
from codesign_ros.mine.figures.figure import Canvas, Paint
from codesign_ros.mine.people import Person


def draw_head(canvas: Canvas, person: Person, at: np.ndarray, skull: np.ndarray) -> None:
    """Draw a head.

    Args:
        canvas: where.
        person: whose.
        at: its middle in the view's frame, (3,) [m].
        skull: turns the head's frame (x left hand, y crown, z face) into the view's, (3,3).
    """

    def ball(
        offset: tuple[float, float, float], radii: tuple[float, float, float], ident: int | Paint
    ) -> None:
        canvas.ellipsoid(at + skull @ np.array(offset), skull @ np.diag(radii), ident)

    # The cranium behind, the face with cheeks and jaw before it.
    ball((0.0, 0.018, -0.012), (0.078, 0.104, 0.098), _skull_paint(person))
    ball((0.0, -0.028, 0.022), (0.066, 0.094, 0.076), _face_paint(person))
    ball((0.0, -0.020, 0.098), (0.014, 0.027, 0.020), Stuff.FACE)
    for side in (-1, 1):
        ball((0.077 * side, -0.005, -0.012), (0.013, 0.031, 0.02), Stuff.CHIN)
    if person.mask:
        ball((0.0, -0.07, 0.055), (0.056, 0.05, 0.056), Stuff.MASK)
    if person.long_hair:
        ball((0.0, -0.075, -0.055), (0.08, 0.10, 0.05), Stuff.HAIR)
    if person.ear_defenders:
        for side in (-1, 1):
            ball((0.088 * side, -0.01, -0.005), (0.026, 0.048, 0.036), Stuff.DEFENDER)
    if person.helmet is not None:
        _draw_helmet(canvas, person, at, skull)
    elif person.hair_line < 1:
        ball((0.0, 0.035, -0.018), (0.086, 0.102, 0.104), _mop_paint(person))


def _skull_paint(person: Person) -> Paint:
    def paint(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        hair = (y > person.hair_line + 0.18 * x * x) | ((z < -0.1) & (y > -0.55))
        hair |= (y > -0.1) & (z < 0.2)
        if person.hair_line > 1:  # bald: a rim of hair is left at the sides and the back
            hair = (z < 0.1) & (y > -0.5) & (y < 0.15)
        return np.where(hair, Stuff.HAIR, Stuff.FACE)

    return paint


def _mop_paint(person: Person) -> Paint:
    def paint(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        grown = (y > person.hair_line + 0.2 * np.abs(x)) | ((z < -0.05) & (y > -0.5))
        return np.where(grown, np.uint8(Stuff.HAIR), np.uint8(0))

    return paint


def _face_paint(person: Person) -> Paint:
    """Brows, eyes, mouth, stubble, glasses and a chin strap on the face's ellipsoid."""

    def paint(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        front = z > 0
        side = np.abs(x)
        eye_x, eye_y = (side - 0.44) / 0.21, (y - 0.27) / 0.085
        eye = (eye_x * eye_x + eye_y * eye_y < 1) & front
        iris = (np.abs(side - 0.44) < 0.085) & eye
        socket = (eye_x * eye_x + 0.35 * eye_y * eye_y < 1.3) & front
        brow = (np.abs(y - 0.44 + 0.12 * (side - 0.4)) < 0.045) & (np.abs(side - 0.44) < 0.26)
        lips = (np.abs(y + 0.47) < 0.065 - 0.12 * x * x) & (side < 0.32) & front
        gap = (np.abs(y + 0.47) < 0.014) & (side < 0.3) & front
        nostril = (np.abs(y + 0.17) < 0.035) & (np.abs(side - 0.11) < 0.06) & front
        chin = y < -0.2 - 0.25 * (side < 0.25)
        found = np.where(chin, np.uint8(Stuff.CHIN), np.uint8(Stuff.FACE))
        found = np.where(socket | nostril, Stuff.SHADOWED, found)
        found = np.where(lips, Stuff.LIPS, found)
        found = np.where(gap | iris, Stuff.EYE, np.where(eye, Stuff.WHITE, found))
        found = np.where(brow & front, Stuff.BROW, found)
        if person.glasses:
            rim = np.abs(np.maximum(np.abs(side - 0.44) / 0.34, np.abs(y - 0.26) / 0.2) - 1) < 0.2
            bridge = (side < 0.14) & (np.abs(y - 0.3) < 0.04)
            found = np.where((rim | bridge) & front, Stuff.GLASS, found)
        if person.strap:
            strap = (np.abs(y + 0.72 + 0.9 * (side - 0.4)) < 0.06) | (np.abs(z - 0.1) < 0.05)
            found = np.where(strap & (y < 0.3), Stuff.STRAP, found)
        return found

    return paint


def _draw_helmet(canvas: Canvas, person: Person, at: np.ndarray, skull: np.ndarray) -> None:
    """Dome with ridges, brim with peak, and the cap lamp on its bracket."""
    base = at + skull @ np.array((0.0, 0.05, -0.008))

    def dome(x: np.ndarray, y: np.ndarray, _z: np.ndarray) -> np.ndarray:
        ridge = (np.abs(np.abs(x) - 0.22) < 0.045) & (y > 0.2)
        return np.where(y > 0, np.where(ridge, Stuff.RIDGE, Stuff.HELMET), 0)

    canvas.ellipsoid(base, skull @ np.diag((0.112, 0.128, 0.138)), dome)
    brim = base + skull @ np.array((0.0, 0.002, 0.012))
    reach = (0.158, 0.016, 0.188) if person.brim else (0.122, 0.016, 0.150)
    canvas.ellipsoid(brim, skull @ np.diag(reach), Stuff.HELMET)
    peak = base + skull @ np.array((0.0, -0.006, 0.115))
    canvas.ellipsoid(peak, skull @ np.diag((0.095, 0.013, 0.08)), Stuff.RIDGE)
    if person.lamp_on or person.arm > 0.75:
        bracket = base + skull @ np.array((0.0, 0.065, 0.124))
        canvas.ellipsoid(bracket, skull @ np.diag((0.037, 0.037, 0.022)), Stuff.BRACKET)
        lens = base + skull @ np.array((0.0, 0.065, 0.137))
        canvas.ellipsoid(lens, skull @ np.diag((0.029, 0.029, 0.018)), Stuff.LAMP)
