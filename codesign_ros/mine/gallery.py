"""A gallery of the synthetic mine without what stands in it: lit rock, pipes, lamps."""

from __future__ import annotations

import cv2
import numpy as np

from codesign_ros.mine.light import Lamp, add_glow, draw_fixtures, shine, vignette
from codesign_ros.mine.pipes import draw_conveyor, draw_run
from codesign_ros.mine.scene import Scene
from codesign_ros.mine.tunnel import HEIGHT, WIDTH, Camera, paint, trace

Shadow = tuple[float, float, float, float]
"""Middle (x, y) and half width of a shadow on the ground [px], and its strength 0 to 1."""


def darken(quarter: np.ndarray, spots: list[Shadow]) -> None:
    """Darken the ground under (x, y, half width, strength) [px of the full picture], in place."""
    mask = np.zeros(quarter.shape[:2], np.float32)
    for x, y, half, strength in spots:
        centre = (round(x * 4), round(y * 4))
        axes = (max(8, round(half * 4)), max(4, round(half * 1.3)))
        cv2.ellipse(mask, centre, axes, 0, 0, 360, strength, -1, cv2.LINE_AA, 4)
    quarter *= (1 - cv2.GaussianBlur(mask, (0, 0), 1.3))[..., None]


def _expose(light: np.ndarray, scatter: np.ndarray, target: float) -> float:
    """The exposure that brings the mean grey (after gamma) of the empty scene to ``target``."""
    mean = float(cv2.sqrt(0.33 * light[::2, ::2, 1] + scatter[::2, ::2, 1]).mean())
    return float(np.clip((target / max(mean, 1e-4)) ** 2, 0.05, 40.0))


def draw_gallery(
    scene: Scene,
    camera: Camera,
    lights: tuple[list[Lamp], list[Lamp]],
    shadows: list[Shadow],
    exposure: float | None,
) -> tuple[np.ndarray, np.ndarray | None, float]:
    """Draw the place itself.

    Args:
        scene: The place.
        camera: Where it is seen from.
        lights: Mains lamps, and all lamps.
        shadows: Where people and things shade the ground.
        exposure: Fixed exposure, or None to measure the scene.

    Returns:
        The linear picture (HEIGHT, WIDTH, 3) float32; how far the rock is [m], half size, where a
        bend may hide things, else None; and the exposure.
    """
    assert scene.atlas is not None
    mains, lamps = lights
    air, travel_m = scene.air, camera.travel_m
    surface = trace(camera, scene.profile, scene.atlas)
    albedo = paint(surface, scene.atlas)
    if scene.conveyor is not None:
        draw_conveyor(albedo, scene.conveyor, camera, scene.profile, 3.0 * travel_m)
    for run in scene.runs:
        draw_run(albedo, run, camera, scene.profile)
    light, scatter = shine(surface, camera, lamps, air)
    if exposure is None:
        exposure = _expose(light, scatter, scene.brightness)
    darken(light, shadows)
    for lamp in mains:
        z = lamp.z_m - travel_m
        if 1.5 < z < 42:
            at = float(scene.profile.centre_at(z)) + lamp.x_m
            spot, depth = camera.project(np.array([[at, lamp.y_m, z]]))
            strength = lamp.power * (0.5 + 9 * air.haze) / (1.0 + 0.02 * z * z) / np.sqrt(exposure)
            radius = min(
                520.0, 2.2 * camera.focal_px / float(depth[0]) * (0.6 + 12 * air.haze) + 24
            )
            add_glow(scatter, (spot[0, 0], spot[0, 1]), radius, strength * lamp.colour)
    corner = vignette(scene.sensor.vignette)
    size = (WIDTH, HEIGHT)
    factor = cv2.resize(light * (corner * np.float32(exposure / 255)), size)
    picture: np.ndarray = cv2.multiply(albedo, factor, dtype=cv2.CV_32F)
    picture += cv2.resize(scatter * (corner * np.float32(exposure)), size)
    draw_fixtures(picture, mains, camera, scene.profile, exposure)
    return picture, surface.point[2] if scene.profile.bend else None, exposure
