"""What runs along the galleries of the synthetic mine: pipes, cables, the conveyor.

It is drawn into the reflectance and shares the light of the rock behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from codesign_ros.mine.tunnel import Camera, Profile

SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
_ALONG_Z = np.concatenate((np.linspace(0.7, 6, 14), np.geomspace(6.6, 40, 16)))


@dataclass(frozen=True)
class Run:
    """A pipe (or cable, if it sags between hangers) along the tunnel at (x_m, y_m)."""

    x_m: float
    y_m: float
    radius_m: float
    colour: tuple[float, float, float]
    sag_m: float = 0.0
    pitch_m: float = 2.0


@dataclass(frozen=True)
class Conveyor:
    """A belt on legs, between two lateral positions, ``height_m`` above the floor."""

    x_left_m: float
    x_right_m: float
    height_m: float
    loaded: bool


def _along(
    camera: Camera, profile: Profile, x_m: float, y_m: np.ndarray, z_m: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Project a line along the tunnel: pixels (n,2), depths (n,)."""
    points = np.stack((profile.centre_at(z_m) + x_m, y_m, z_m), axis=1)
    return camera.project(points)


def fixed(points: np.ndarray) -> np.ndarray:
    """Pixels to OpenCV's fixed-point coordinates, kept within what it can clip."""
    return np.round(np.clip(points, -4000, 4000) * (1 << SHIFT)).astype(np.int32)


def _scaled(colour: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    return (
        min(colour[0] * factor, 255.0),
        min(colour[1] * factor, 255.0),
        min(colour[2] * factor, 255.0),
    )


def draw_run(picture: np.ndarray, run: Run, camera: Camera, profile: Profile) -> None:
    """Draw a pipe or cable into the reflectance, in place."""
    if run.sag_m > 0:
        z = np.arange(0.8, 34.0, 0.25)
        hang = np.abs(np.sin((z + camera.travel_m) * np.pi / run.pitch_m))
        y = run.y_m - run.sag_m * hang
    else:
        z, y = _ALONG_Z, np.full(_ALONG_Z.shape, run.y_m)
    spots, depth = _along(camera, profile, run.x_m, y, z)
    radius = run.radius_m * camera.focal_px / depth
    if run.sag_m > 0:
        line_px = fixed(spots)
        for first, last in ((0, 24), (23, 60), (59, len(z))):
            thick = max(1, round(2 * float(radius[first:last].mean())))
            line = [line_px[first:last].reshape(-1, 1, 2)]
            cv2.polylines(picture, line, False, run.colour, thick, cv2.LINE_AA, SHIFT)
        return
    way = np.gradient(spots, axis=0)
    across = np.stack((-way[:, 1], way[:, 0]), axis=1)
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-6
    if across[0, 1] > 0:
        across = -across  # towards the upper side
    # Bands across the pipe, from its dark lower edge over the highlight to the upper edge.
    for low, high, shade in (
        (-1.0, 1.0, 0.45),
        (-0.7, 0.9, 0.8),
        (-0.2, 0.75, 1.15),
        (0.2, 0.5, 1.6),
    ):
        edges = np.concatenate(
            (
                spots + across * (high * radius)[:, None],
                (spots + across * (low * radius)[:, None])[::-1],
            )
        )
        cv2.fillPoly(picture, [fixed(edges)], _scaled(run.colour, shade), cv2.LINE_AA, SHIFT)
    # Flanges.
    first = np.ceil((0.9 + camera.travel_m) / run.pitch_m) * run.pitch_m - camera.travel_m
    joints_z = np.arange(first, 22.0, run.pitch_m)
    spots, depth = _along(camera, profile, run.x_m, np.full(joints_z.shape, run.y_m), joints_z)
    for spot, far in zip(spots, depth, strict=True):
        r = 1.45 * run.radius_m * camera.focal_px / far
        if r > 1:
            axes = (max(1, round(r * 0.45 * 16)), round(r * 16))
            centre = tuple(int(v) for v in fixed(spot))
            cv2.ellipse(
                picture, centre, axes, 0, 0, 360, _scaled(run.colour, 0.7), -1, cv2.LINE_AA, SHIFT
            )


def draw_conveyor(
    picture: np.ndarray, belt: Conveyor, camera: Camera, profile: Profile, phase_m: float
) -> None:
    """Draw a belt conveyor into the reflectance, in place; ``phase_m`` moves its load."""
    z = _ALONG_Z
    level = np.full(z.shape, belt.height_m)
    near = belt.x_left_m if abs(belt.x_left_m) < abs(belt.x_right_m) else belt.x_right_m
    far = belt.x_right_m if near == belt.x_left_m else belt.x_left_m

    def strip(x0: float, y0: float, x1: float, y1: float, colour: tuple[float, ...]) -> None:
        one, _ = _along(camera, profile, x0, level * 0 + y0, z)
        two, _ = _along(camera, profile, x1, level * 0 + y1, z)
        cv2.fillPoly(picture, [fixed(np.concatenate((one, two[::-1])))], colour, cv2.LINE_AA, SHIFT)

    top = belt.height_m
    strip(near, 0.0, near, top - 0.12, (16, 17, 18))  # the dark underneath
    strip(near, 0.2, near, 0.25, (44, 46, 48))  # the belt on its way back
    strip(far, top + 0.05, near, top, (46, 49, 52))
    middle, half = 0.5 * (near + far), 0.38 * abs(far - near)
    strip(middle - half, top, middle + half, top, (30, 31, 33))  # the trough
    if belt.loaded:
        load_z = np.arange(1.0, 30.0, 0.09)
        at = load_z + phase_m
        lumps = np.sin(at * 9.1) * np.sin(at * 4.3 + 1) + 0.6 * np.sin(at * 23.0 + 2)
        low, _ = _along(camera, profile, middle - half, top + 0 * load_z, load_z)
        crest, _ = _along(camera, profile, middle, top + 0.14 + 0.035 * lumps, load_z)
        high, _ = _along(camera, profile, middle + half, top + 0 * load_z, load_z)
        for side, shade in ((low, (58, 60, 62)), (high, (76, 78, 80))):
            cv2.fillPoly(
                picture, [fixed(np.concatenate((side, crest[::-1])))], shade, cv2.LINE_AA, SHIFT
            )
        for part in (0.25, 0.5, 0.75):
            inner, _ = _along(
                camera,
                profile,
                middle - half * (1 - part),
                top + 0.14 * part + 0.03 * lumps,
                load_z,
            )
            line = [fixed(inner).reshape(-1, 1, 2)]
            cv2.polylines(picture, line, False, (40, 41, 42), 1, cv2.LINE_AA, SHIFT)
    strip(near, top - 0.13, near, top + 0.01, (50, 62, 74))
    strip(near, top - 0.02, near, top + 0.01, (92, 100, 108))
    legs = np.arange(np.ceil((1.0 + camera.travel_m) / 2.5) * 2.5 - camera.travel_m, 24.0, 2.5)
    for leg_z in legs:
        ends, depth = _along(
            camera, profile, near, np.array((0.0, top - 0.1)), np.array((leg_z, leg_z))
        )
        thick = max(1, round(0.05 * camera.focal_px / float(depth[0])))
        foot, head = (tuple(int(v) for v in fixed(p)) for p in ends)
        cv2.line(picture, foot, head, (46, 54, 64), thick, cv2.LINE_AA, SHIFT)
    # Idlers: short bright rollers under the edge.
    for roller_z in np.arange(np.ceil(1.2 + camera.travel_m) - camera.travel_m, 16.0, 1.0):
        spot, depth = _along(camera, profile, near, np.array((top - 0.16,)), np.array((roller_z,)))
        radius = 0.05 * camera.focal_px / float(depth[0])
        if radius > 1:
            centre = tuple(int(v) for v in fixed(spot[0]))
            axes = (max(1, round(radius * 8)), round(radius * 16))
            cv2.ellipse(picture, centre, axes, 0, 0, 360, (84, 90, 96), -1, cv2.LINE_AA, SHIFT)
