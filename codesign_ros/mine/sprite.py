"""A person of the synthetic mine as a lit picture with parts, ready to be laid into the frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from codesign_ros.mine.body import draw_figure
from codesign_ros.mine.clothes import materials
from codesign_ros.mine.figure import PART_HEAD, PART_HELMET, Canvas, shade
from codesign_ros.mine.light import Air, Lamp, light_at
from codesign_ros.mine.people import Person
from codesign_ros.mine.pose import joints
from codesign_ros.mine.scene import Scene
from codesign_ros.mine.texture import bank
from codesign_ros.mine.tunnel import HEIGHT, WIDTH, Camera

# Nobody is darker than this (linear, for a white surface): such a person could not be judged.
_MIN_LIGHT = 0.26


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


def draw_sprite(
    scene: Scene, camera: Camera, air: Air, lamps: list[Lamp], person: Person, exposure: float
) -> Sprite | None:
    """Draw and light a person; None when behind the camera or too far."""
    z = person.z_m - camera.travel_m
    if not 1.2 < z < 40:
        return None
    centre = float(scene.profile.centre_at(z)) + person.x_m
    feet, depth = camera.project(np.array(((centre, 0.0, z), (centre, 0.9, z))))
    # The scale at the trunk serves for the whole body.
    per_m = camera.focal_px / float(depth[1])
    foot = (float(feet[1, 0]), float(feet[1, 1]) + 0.9 * per_m)
    finer = 1 if per_m > 110 else 2 if per_m > 42 else 3
    left, right = int(foot[0] - 0.75 * per_m), int(foot[0] + 0.75 * per_m) + 2
    top, bottom = int(foot[1] - 2.1 * per_m), min(HEIGHT, int(foot[1] + 0.25 * per_m) + 2)
    if bottom - top < 6 or right <= 0 or left >= WIDTH:
        return None
    rows, cols = (bottom - top) * finer, (right - left) * finer
    canvas = Canvas(rows, cols, per_m * finer, ((foot[0] - left) * finer, (foot[1] - top) * finer))
    elevation = float(np.arctan2(camera.y_m - 0.9, z))
    lamp = draw_figure(canvas, person, joints(person), elevation)
    skipped = canvas.crop(finer)
    left, top = left + skipped[0] // finer, top + skipped[1] // finer
    rows, cols = canvas.ident.shape
    stuff = materials(person)
    lights = light_at((person.x_m, 1.3, z), camera, lamps, air)
    direct = sum(float(brightness.mean()) for _, brightness in lights)
    around = air.ambient + 0.12 * direct
    ambient = around * np.ones(3, np.float32)
    level = exposure * (direct + around)
    lift = max(1.0, _MIN_LIGHT / max(level, 1e-6))
    shift = int(abs(person.phase) * 40) % 100
    cloth = bank().cloth
    need = max(rows, cols) + 1
    if need > cloth.shape[0] - shift:
        cloth = cv2.resize(cloth, (need + shift, need + shift))
    colour: np.ndarray = shade(canvas, stuff, lights, ambient, cloth[shift:, shift:])
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
    spot = (foot[0] + float(lamp[0, 0]) * per_m, foot[1] - float(lamp[0, 1]) * per_m)
    towards = float(lamp[1, 2])
    glare = max(0.0, towards) ** 4 if person.helmet is not None and person.lamp_on else 0.0
    return Sprite(colour, alpha, part, left, top, spot, glare)
