"""Light of the synthetic mine: lamps and their falloff, haze, glare, and the camera's sensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from codesign_ros.mine.tunnel import HEIGHT, WIDTH, Camera, Profile, Surface

# BGR of unit brightness.
WARM = np.array((0.52, 0.92, 1.26), np.float32)
NEUTRAL = np.array((0.92, 1.0, 1.03), np.float32)
COOL = np.array((1.18, 1.02, 0.86), np.float32)


@dataclass(frozen=True)
class Lamp:
    """A lamp at a point in tunnel coordinates (x from the centre line, y, z from the start) [m].

    ``power`` is in units that give reflectance 1 at 1 m a brightness of 1; ``bulkhead`` lamps are
    drawn as fixtures, others (cap lamps, hand lamps) only shed light.
    """

    x_m: float
    y_m: float
    z_m: float
    power: float
    colour: np.ndarray
    bulkhead: bool = True


@dataclass(frozen=True)
class Air:
    """Light that reaches the camera without a surface: ``haze`` is 1/visibility [1/m]."""

    haze: float
    head_power: float
    head_colour: np.ndarray
    ambient: float


def shine(
    surface: Surface, camera: Camera, lamps: list[Lamp], air: Air
) -> tuple[np.ndarray, np.ndarray]:
    """Light on the surface and light scattered by haze in front of it.

    Returns:
        Two (HEIGHT/4, WIDTH/4, 3) float32 BGR arrays: the factor of the reflectance, and the
        summand.
    """
    x, y, z = (c[::2, ::2] for c in surface.point)
    nx, ny, nz = surface.normal
    wet = surface.wet
    # The robot's own head light: brightest in the middle of the picture.
    dx, dy = np.float32(camera.x_m + 0.15) - x, np.float32(camera.y_m + 0.2) - y
    d2 = dx * dx + dy * dy + z * z
    facing = np.maximum(nx * dx + ny * dy - nz * z, 0) / np.sqrt(d2)
    head = np.float32(air.head_power) * (0.15 + 0.85 * facing) / (d2 + 2.5) * _beam()
    through = np.exp(np.float32(-air.haze) * z)
    light = ((air.ambient + head) * through)[..., None] * air.head_colour
    mean_lamp = np.zeros(3, np.float32)
    by_colour: dict[int, np.ndarray] = {}
    colours = {}
    for lamp in lamps:
        mean_lamp += np.float32(lamp.power) * lamp.colour
        lz = np.float32(lamp.z_m - camera.travel_m)
        if lz < -6 or lz > 48:
            continue
        dx, dy, dz = np.float32(lamp.x_m) - x, np.float32(lamp.y_m) - y, lz - z
        d2 = dx * dx + dy * dy + dz * dz + 0.12
        d = np.sqrt(d2)
        dot = nx * dx + ny * dy + nz * dz
        dot += 0.18 * d
        fall = np.maximum(dot, 0) * np.float32(lamp.power) / (d2 * d)
        key = id(lamp.colour)
        colours[key] = lamp.colour
        by_colour[key] = by_colour[key] + fall if key in by_colour else fall
    # Puddles mirror the lamps.
    glint = through * (1 + np.float32(3.0) * wet)
    for key, fall in by_colour.items():
        light += (fall * glint)[..., None] * colours[key]
    lost = 1 - through
    beam = np.float32(0.035 * air.head_power * air.haze) * (0.3 + 1.4 * _beam()) * lost
    scatter = beam[..., None] * air.head_colour
    scatter += lost[..., None] * (np.float32(0.012) * mean_lamp)
    return light, scatter


@lru_cache(maxsize=1)
def _beam() -> np.ndarray:
    """Head light's profile over the picture, (HEIGHT/4, WIDTH/4) float32, 1 in the middle."""
    u = (np.arange(WIDTH // 4, dtype=np.float32) * 4 - WIDTH / 2) / WIDTH
    v = (np.arange(HEIGHT // 4, dtype=np.float32) * 4 - HEIGHT * 0.52) / WIDTH
    return np.exp(-(u[None, :] ** 2 + v[:, None] ** 2) / 0.11).astype(np.float32)


def light_at(
    point: tuple[float, float, float], camera: Camera, lamps: list[Lamp], air: Air
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The strongest lights at a point (x from the centre line, y, z from the camera) [m].

    Returns:
        (direction towards the light (3,) as x right, y up, z towards the camera; BGR brightness
        (3,)) for the head light and the three strongest lamps, haze not counted.
    """
    px, py, pz = point
    towards = np.array((camera.x_m + 0.15 - px, camera.y_m + 0.2 - py, pz), np.float32)
    d2 = float(towards @ towards)
    angle = (px - camera.x_m) / max(pz, 0.5)
    beam = float(np.exp(-((angle * camera.focal_px / WIDTH) ** 2) / 0.11))
    found = [(towards / np.sqrt(d2), air.head_power * beam / (d2 + 2.5) * air.head_colour)]
    rest = []
    for lamp in lamps:
        lz = lamp.z_m - camera.travel_m
        towards = np.array((lamp.x_m - px, lamp.y_m - py, pz - lz), np.float32)
        d2 = float(towards @ towards) + 0.12
        rest.append((towards / np.sqrt(d2), lamp.power / d2 * lamp.colour))
    rest.sort(key=lambda pair: -float(pair[1].sum()))
    return found + rest[:3]


@lru_cache(maxsize=1)
def _glow_table() -> np.ndarray:
    """Halo of a point lamp, (129,129) float32: a narrow core on a wide skirt."""
    axis = np.arange(-64, 65, dtype=np.float32) / 64
    r2 = axis[None, :] ** 2 + axis[:, None] ** 2
    halo = 0.9 * np.exp(-r2 / 0.003) + 0.25 * np.exp(-r2 / 0.02) + 0.07 * np.exp(-r2 / 0.15)
    return (halo * np.clip(1.2 - np.sqrt(r2) * 1.2, 0, 1)).astype(np.float32)


def add_glow(
    quarter: np.ndarray, at: tuple[float, float], radius_px: float, colour: np.ndarray
) -> None:
    """Add a lamp's halo to a quarter-size (h,w,3) float32 picture, in place.

    ``at`` and ``radius_px`` are in pixels of the full picture.
    """
    side = max(3, round(radius_px / 2))
    x0, y0 = round(at[0] / 4 - side / 2), round(at[1] / 4 - side / 2)
    rows, cols = quarter.shape[:2]
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x0 + side, cols), min(y0 + side, rows)
    if left >= right or top >= bottom:
        return
    halo = cv2.resize(_glow_table(), (side, side), interpolation=cv2.INTER_AREA)
    part = halo[top - y0 : bottom - y0, left - x0 : right - x0]
    quarter[top:bottom, left:right] += part[..., None] * colour


def draw_fixtures(
    picture: np.ndarray, lamps: list[Lamp], camera: Camera, profile: Profile, exposure: float
) -> None:
    """Draw the lamps themselves (saturated glass under a dark cap) into the linear picture."""
    for lamp in lamps:
        z = lamp.z_m - camera.travel_m
        if not lamp.bulkhead or not 2.0 < z < 40:
            continue
        centre = float(profile.centre_at(z))
        spot, depth = camera.project(np.array([[lamp.x_m + centre, lamp.y_m, z]]))
        size = 0.055 * camera.focal_px / depth[0]
        at = (round(float(spot[0, 0]) * 8), round(float(spot[0, 1]) * 8))
        axes = (max(4, round(size * 13)), max(4, round(size * 7)))
        cap = (at[0], at[1] - round(size * 3))
        cv2.ellipse(picture, cap, axes, 0, 180, 360, (0.004,) * 3, -1, cv2.LINE_AA, 3)
        bright = lamp.colour * np.float32(min(3.0, 0.5 + 0.35 * lamp.power * exposure))
        cv2.ellipse(
            picture, at, axes, 0, 0, 360, tuple(float(b) for b in bright), -1, cv2.LINE_AA, 3
        )


@lru_cache(maxsize=1)
def _noise_table() -> np.ndarray:
    """Sensor noise with some chroma and some row structure, (HEIGHT+128, WIDTH+128, 3) int16."""
    rng = np.random.default_rng(77)
    shape = (HEIGHT + 128, WIDTH + 128)
    grain = rng.standard_normal(shape).astype(np.float32)
    # Cameras de-noise: grain is a little blotchy, colour noise more so.
    grain = 0.75 * grain + 1.1 * cv2.GaussianBlur(grain, (0, 0), 0.9)
    chroma = cv2.GaussianBlur(rng.standard_normal((*shape, 3)).astype(np.float32), (0, 0), 1.6)
    rows = cv2.GaussianBlur(rng.standard_normal((shape[0], 1)).astype(np.float32), (0, 0), 0.6)
    noise = grain[..., None] + 2.4 * chroma + 0.25 * rows[..., None]
    return np.clip(noise / noise.std() * 32, -128, 127).astype(np.int16)


@dataclass(frozen=True)
class Sensor:
    """The camera's picture style: ``noise`` in grey levels, ``saturation`` 0 to 1."""

    noise: float
    saturation: float
    vignette: float
    lift: float
    shake_px: tuple[float, float] = (0.0, 0.0)
    soft_px: float = 0.0


@lru_cache(maxsize=1)
def _corner() -> np.ndarray:
    """How far a pixel is from the middle, squared, 1 in the corners; (HEIGHT/4, WIDTH/4)."""
    u = (np.arange(WIDTH // 4, dtype=np.float32) + 0.5) / (WIDTH // 8) - 1
    v = (np.arange(HEIGHT // 4, dtype=np.float32) + 0.5) / (HEIGHT // 8) - 1
    return 0.5 * (u[None, :] ** 2 + v[:, None] ** 2)


def vignette(amount: float) -> np.ndarray:
    """Darkening towards the corners, (HEIGHT/4, WIDTH/4, 1) float32."""
    return (1 - np.float32(amount) * _corner())[..., None]


def develop(picture: np.ndarray, sensor: Sensor, rng: np.random.Generator) -> np.ndarray:
    """Linear (HEIGHT, WIDTH, 3) float32, 1 = white, to the uint8 picture the camera sends."""
    # Square root is close to a camera's gamma and makes shot noise the same everywhere.
    grey = cv2.convertScaleAbs(cv2.sqrt(picture), alpha=255.0)
    if max(abs(sensor.shake_px[0]), abs(sensor.shake_px[1])) >= 0.7:
        grey = cv2.filter2D(grey, -1, _shake_kernel(sensor))
    elif sensor.soft_px >= 0.3:
        grey = cv2.GaussianBlur(grey, (5, 5), sensor.soft_px)
    top, left = int(rng.integers(128)), int(rng.integers(128))
    noise = _noise_table()[top : top + HEIGHT, left : left + WIDTH]
    noisy = cv2.addWeighted(grey, 1.0, noise, sensor.noise / 32.0, sensor.lift, dtype=cv2.CV_8U)
    if sensor.saturation < 0.99:
        s = sensor.saturation
        luma = (1 - s) * np.array((0.114, 0.587, 0.299))
        noisy = cv2.transform(noisy, np.eye(3) * s + luma[None, :].repeat(3, 0))
    return noisy


def _shake_kernel(sensor: Sensor) -> np.ndarray:
    """Camera shake (a short line) and lens softness as one small kernel."""
    dx, dy = sensor.shake_px[0] / 2, sensor.shake_px[1] / 2
    middle = int(np.ceil(max(abs(dx), abs(dy)) + 1.5 * sensor.soft_px))
    kernel: np.ndarray = np.zeros((2 * middle + 1, 2 * middle + 1), np.float32)
    start = (round((middle - dx) * 16), round((middle - dy) * 16))
    end = (round((middle + dx) * 16), round((middle + dy) * 16))
    cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA, 4)
    if sensor.soft_px >= 0.3:
        kernel = cv2.GaussianBlur(kernel, (0, 0), sensor.soft_px, borderType=cv2.BORDER_CONSTANT)
    return kernel / kernel.sum()


def veil(z_m: float, air: Air, lamps: list[Lamp]) -> tuple[float, np.ndarray]:
    """Haze before a thing at a distance: the share that comes through, and what it adds (3,)."""
    through = float(np.exp(-air.haze * z_m))
    mean_lamp = sum((lamp.power * lamp.colour for lamp in lamps), np.zeros(3, np.float32))
    head = 0.035 * air.head_power * air.haze * air.head_colour
    return through, ((1 - through) * (head + 0.012 * mean_lamp)).astype(np.float32)
