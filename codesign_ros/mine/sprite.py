"""A person of the synthetic mine as a lit picture with parts, ready to be laid into the frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from codesign_ros.mine.figures.body import draw_figure
from codesign_ros.mine.figures.clothes import materials
from codesign_ros.mine.figures.figure import PART_HEAD, PART_HELMET, Canvas, shade
from codesign_ros.mine.figures.pose import joints
from codesign_ros.mine.light import Air, Lamp, light_at
from codesign_ros.mine.people import Person
from codesign_ros.mine.scene import Scene
from codesign_ros.mine.texture import bank
from codesign_ros.mine.tunnel import HEIGHT, WIDTH, Camera

# Nobody is darker than this (linear, for a white surface): such a person could not be judged.
_MIN_LIGHT = 0.30
NEAREST_M = 0.6
# A figure is drawn so far beyond the picture's edge.
_MARGIN_PX = 8
# Side of the cloth's texture on a figure [m].
_CLOTH_M = 1.1


@dataclass(frozen=True)
class Sprite:
    """A person ready to be laid into the picture at (left, top); alpha and parts are aligned."""

    colour: np.ndarray  # (h,w,3) float32, linear, times alpha
    alpha: np.ndarray  # (h,w) float32
    part: np.ndarray  # (h,w) uint8
    left: int
    top: int
    lamp_px: tuple[float, float]
    lamp_glare: float


def cap_lamps(people: list[Person], camera: Camera) -> list[Lamp]:
    """The light that cap lamps shed in front of their bearers."""
    lamps = []
    for person in people:
        if person.helmet is not None and person.lamp_on:
            way = person.facing + person.look
            lamps.append(
                Lamp(
                    person.x_m + 0.9 * float(np.sin(way)),
                    1.25 * person.height_m / 1.75,
                    person.z_m - 0.9 * float(np.cos(way)),
                    0.35,
                    np.array((1.0, 1.0, 0.97), np.float32),
                    bulkhead=False,
                )
            )
    return lamps[:3]


def _cloth(rows: int, cols: int, px_per_m: float, phase: float) -> np.ndarray:
    """Folds for a figure, at its scale: a little larger than (rows, cols)."""
    texture = bank().cloth
    step = texture.shape[0] / (_CLOTH_M * px_per_m)
    matrix = np.array(((step, 0, 80 * phase), (0, step, 33 * phase)), np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found: np.ndarray = cv2.warpAffine(
        texture, matrix, (cols + 1, rows + 1), flags=flags, borderMode=cv2.BORDER_WRAP
    )
    return found


def draw_sprite(
    scene: Scene, camera: Camera, air: Air, lamps: list[Lamp], person: Person, exposure: float
) -> Sprite | None:
    """Draw and light a person; None when behind the camera or too far."""
    z = person.z_m - camera.travel_m
    if not NEAREST_M < z < 40:
        return None
    centre = float(scene.profile.centre_at(z)) + person.x_m
    pose = joints(person)
    outline = pose.outline(person.facing)
    # What is nearest to the camera's height sets scale and angle: feet afar, faces close up.
    eye = min(0.9 + 0.7 * float(np.clip((4.0 - z) / 3.0, 0, 1)), float(outline[0, 1]))
    spot, depth = camera.project(np.array(((centre, eye, z),)))
    per_m = camera.focal_px / float(depth[0])
    elevation = float(np.arctan2(camera.y_m - eye, z))
    foot = (float(spot[0, 0]), float(spot[0, 1]) + eye * float(np.cos(elevation)) * per_m)
    finer = 1 if per_m > 110 else 2 if per_m > 42 else 3
    low, high = outline.min(axis=0) - 0.24, outline.max(axis=0) + 0.24
    tip = float(np.abs(outline[:, 2]).max() + 0.2) * abs(float(np.sin(elevation)))
    left = max(int(foot[0] + low[0] * per_m), -_MARGIN_PX)
    right = min(int(foot[0] + high[0] * per_m) + 2, WIDTH + _MARGIN_PX)
    top = max(int(foot[1] - (high[1] + tip) * per_m), -_MARGIN_PX)
    bottom = min(int(foot[1] - (low[1] - tip) * per_m) + 2, HEIGHT + _MARGIN_PX)
    if bottom - top < 6 or right - left < 3 or right <= 0 or left >= WIDTH or top >= HEIGHT:
        return None
    rows, cols = (bottom - top) * finer, (right - left) * finer
    canvas = Canvas(rows, cols, per_m * finer, ((foot[0] - left) * finer, (foot[1] - top) * finer))
    lamp = draw_figure(canvas, person, pose, elevation)
    if not canvas.ident.any():
        return None
    skipped = canvas.crop(finer)
    left, top = left + skipped[0] // finer, top + skipped[1] // finer
    rows, cols = canvas.ident.shape
    stuff = materials(person)
    lights = light_at((person.x_m, 1.3, z), camera, lamps, air)
    if scene.sun is not None:
        lights.append(scene.sun)
    direct = sum(float(brightness.mean()) for _, brightness in lights)
    around = air.ambient + 0.12 * direct
    ambient = around * np.ones(3, np.float32)
    level = exposure * (direct + around)
    lift = max(1.0, _MIN_LIGHT / max(level, 1e-6))
    retro = lights[0][1] * np.float32(scene.optics.retro)
    cloth = _cloth(rows, cols, canvas.px_per_m, person.phase)
    colour: np.ndarray = shade(canvas, stuff, lights, ambient, cloth, retro)
    table = np.array([m.part for m in stuff], np.uint8)
    part = table[canvas.ident]
    alpha: np.ndarray = (canvas.ident > 0).astype(np.float32)
    size = (cols // finer, rows // finer)
    if finer > 1:
        colour = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
        shares = [
            cv2.resize((part == p).astype(np.float32), size, interpolation=cv2.INTER_AREA)
            for p in (PART_HEAD, PART_HELMET)
        ]
        part = (alpha > 0.5).astype(np.uint8)
        part[shares[0] > 0.4] = PART_HEAD
        part[shares[1] > 0.4] = PART_HELMET
    else:
        colour, alpha = cv2.blur(colour, (2, 2)), cv2.blur(alpha, (2, 2))
    smear = round(abs(person.speed[0]) * per_m / 30 * 0.9)
    if smear > 1:
        colour, alpha = cv2.blur(colour, (smear, 1)), cv2.blur(alpha, (smear, 1))
    colour = colour * np.float32(exposure * lift)
    lamp_px = (foot[0] + float(lamp[0, 0]) * per_m, foot[1] - float(lamp[0, 1]) * per_m)
    towards = float(lamp[1, 2])
    glare = max(0.0, towards) ** 4 if person.helmet is not None and person.lamp_on else 0.0
    return Sprite(colour, alpha, part, left, top, lamp_px, glare)
