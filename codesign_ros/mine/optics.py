"""What lens and sensor do to the light: infrared, blooming, flares, drops, dirt and motion.

All of it works on the linear picture, before `light.develop` makes grey levels of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from codesign_ros.mine.light import add_glow
from codesign_ros.mine.texture import bank
from codesign_ros.mine.tunnel import HEIGHT, WIDTH
from codesign_ros.types.boxes import Box


@dataclass(frozen=True)
class Drop:
    """A drop on the lens: middle and radius [px]; it shows the scene small and upside down."""

    x: float
    y: float
    radius_px: float


@dataclass(frozen=True)
class Optics:
    """How a camera bends the truth.

    Attributes:
        infrared: shares of blue, green and red in the one channel of an infrared camera; None =
            a colour camera.
        tint: BGR factors on an infrared picture; night vision is green.
        retro: how strongly reflective strips throw back the camera's own light.
        bloom: share of light above white that spreads over its surroundings.
        flare: (x, y, strength) of a lamp that shines into the lens [px]; None = none.
        wash: how much grey such a lamp lays over the whole picture.
        drops: water on the lens.
        dirt: how much light a soiled lens takes, 0 to 1; ``dirt_seed`` says where.
        smear_px: how far the picture moves while the shutter is open, (right, down).
        defocus_px: radius of the blur of a lens out of focus.
    """

    infrared: tuple[float, float, float] | None = None
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    retro: float = 2.0
    bloom: float = 0.15
    flare: tuple[float, float, float] | None = None
    wash: float = 0.0
    drops: tuple[Drop, ...] = ()
    dirt: float = 0.0
    dirt_seed: int = 0
    smear_px: tuple[float, float] = (0.0, 0.0)
    defocus_px: float = 0.0


def draw_optics(rng: np.random.Generator) -> Optics:
    """A camera with random flaws; most have none or one."""
    infrared, tint = None, (1.0, 1.0, 1.0)
    retro, bloom = float(rng.uniform(0.5, 5.0)), float(rng.uniform(0.05, 0.35))
    if rng.random() < 0.13:
        weights = rng.dirichlet((0.4, 0.8, 3.0))
        infrared = (float(weights[0]), float(weights[1]), float(weights[2]))
        retro, bloom = float(rng.uniform(4.0, 25.0)), float(rng.uniform(0.3, 0.9))
        if rng.random() < 0.25:
            tint = (0.35, 1.1, 0.45)
    flare, wash = None, 0.0
    if rng.random() < 0.10:
        flare = (
            float(rng.uniform(0, WIDTH)),
            float(rng.uniform(-0.1, 0.7) * HEIGHT),
            float(rng.uniform(0.6, 3.0)),
        )
        wash = float(rng.uniform(0.01, 0.06))
    drops: tuple[Drop, ...] = ()
    if rng.random() < 0.08:
        drops = tuple(
            Drop(float(x * WIDTH), float(y * HEIGHT), float(5 + 32 * size**3))
            for x, y, size in rng.random((int(rng.integers(3, 25)), 3))
        )
    dirt = float(rng.uniform(0.2, 0.75)) if rng.random() < 0.12 else 0.0
    smear, defocus = (0.0, 0.0), 0.0
    if rng.random() < 0.14:
        way, far = rng.normal(0, 0.5), float(rng.uniform(3.0, 13.0))
        smear = (far * float(np.cos(way)), far * float(np.sin(way)))
    elif rng.random() < 0.1:
        defocus = float(rng.uniform(0.8, 2.4))
    return Optics(infrared, tint, retro, bloom, flare, wash, drops, dirt,
                  int(rng.integers(1 << 16)), smear, defocus)  # fmt: skip


def blinds(optics: Optics, boxes: Sequence[Box]) -> bool:
    """Whether a lamp into the lens hides one of the boxes, for the most part."""
    if optics.flare is None:
        return False
    x, y, strength = optics.flare
    reach = 18 + 16 * strength
    return any(
        box.x_min - reach < x < box.x_max + reach and box.y_min - reach < y < box.y_max + reach
        for box in boxes
        if box.label != "person"
    )


def through_lens(picture: np.ndarray, optics: Optics) -> np.ndarray:
    """Bend a linear picture (HEIGHT, WIDTH, 3) float32; it may be changed in place."""
    if optics.infrared is not None:
        grey = cv2.transform(picture, np.array([optics.infrared], np.float32))
        picture = cv2.merge([grey * np.float32(t) for t in optics.tint])
    if optics.defocus_px:
        picture = cv2.GaussianBlur(picture, (0, 0), optics.defocus_px)
    if max(np.abs(optics.smear_px)) >= 1:
        picture = cv2.filter2D(picture, -1, _line(optics.smear_px))
    _bloom(picture, optics)
    for drop in optics.drops:
        _lay_drop(picture, drop)
    if optics.dirt:
        texture = bank().smooth[optics.dirt_seed % 4]
        first = optics.dirt_seed % 256
        spots = texture[first : first + HEIGHT // 2, first : first + WIDTH // 2]
        taken = cv2.resize(spots, (WIDTH, HEIGHT)).astype(np.float32)
        taken = np.clip((taken - 135) / 60, 0, 1)[..., None] * np.float32(optics.dirt)
        # A soiled spot is dark and dull: it scatters what the whole scene throws at it.
        picture = picture * (1 - taken) + taken * np.float32(0.6) * picture.mean((0, 1))
    if optics.flare is not None:
        _flare(picture, optics.flare, optics.wash)
    return picture


def _line(smear: tuple[float, float]) -> np.ndarray:
    """A straight motion as a kernel."""
    half = int(np.ceil(max(abs(smear[0]), abs(smear[1])) / 2)) + 1
    kernel: np.ndarray = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    ends = [
        (round((half + sign * smear[0] / 2) * 16), round((half + sign * smear[1] / 2) * 16))
        for sign in (-1, 1)
    ]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
    return kernel / kernel.sum()


def _bloom(picture: np.ndarray, optics: Optics) -> None:
    """Spread what is brighter than white, in place."""
    size = (WIDTH // 4, HEIGHT // 4)
    excess = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    excess = np.clip(excess - 0.85, 0, 6)
    if excess.max() <= 0:
        return
    near, far = cv2.GaussianBlur(excess, (0, 0), 1.5), cv2.GaussianBlur(excess, (0, 0), 6)
    halo = (near + 0.6 * far) * np.float32(optics.bloom)
    picture += cv2.resize(halo, (WIDTH, HEIGHT))


def _lay_drop(picture: np.ndarray, drop: Drop) -> None:
    """A drop is a small lens: the scene in it is upside down and blurred, its rim dark."""
    r = int(drop.radius_px)
    x0, y0 = max(int(drop.x) - r, 0), max(int(drop.y) - r, 0)
    x1, y1 = min(int(drop.x) + r, WIDTH), min(int(drop.y) + r, HEIGHT)
    if x1 - x0 < 4 or y1 - y0 < 4:
        return
    wide = 4 * r
    top, left = max(int(drop.y) - wide, 0), max(int(drop.x) - wide, 0)
    around = picture[top : int(drop.y) + wide : 4, left : int(drop.x) + wide : 4]
    seen = cv2.resize(cv2.flip(cv2.blur(around, (3, 3)), -1), (x1 - x0, y1 - y0))
    u = (np.arange(x0, x1, dtype=np.float32) + 0.5 - drop.x) / r
    v = (np.arange(y0, y1, dtype=np.float32) + 0.5 - drop.y) / r
    distance = np.sqrt(u[None, :] ** 2 + 1.2 * v[:, None] ** 2)
    alpha = np.clip((1 - distance) * 4, 0, 0.9)[..., None]
    rim = (0.75 + 0.45 * np.clip(1 - distance, 0, 1) + 0.3 * v[:, None])[..., None]
    view = picture[y0:y1, x0:x1]
    view *= 1 - alpha
    view += alpha * rim * seen


def _flare(picture: np.ndarray, flare: tuple[float, float, float], wash: float) -> None:
    """A lamp into the lens: glow, streak, ghosts through the picture's middle, and grey."""
    x, y, strength = flare
    quarter = np.zeros((HEIGHT // 4, WIDTH // 4, 3), np.float32)
    warm = np.array((0.9, 0.98, 1.0), np.float32) * np.float32(strength)
    add_glow(quarter, (x, y), 60 + 60 * strength, 2.0 * warm)
    add_glow(quarter, (x, y), 420.0, 0.8 * warm)
    for part, radius, level in ((0.5, 50, 0.05), (1.35, 90, 0.04), (1.75, 34, 0.07)):
        spot = (x + part * (WIDTH / 2 - x), y + part * (HEIGHT / 2 - y))
        centre = (round(spot[0] / 4), round(spot[1] / 4))
        ghost = np.zeros(quarter.shape, np.float32)
        colour = tuple(float(c) for c in level * warm * np.array((1.0, 0.8, 0.6)))
        cv2.circle(ghost, centre, max(2, round(radius / 8)), colour, -1, cv2.LINE_AA)
        quarter += cv2.GaussianBlur(ghost, (0, 0), 0.8)
    row = round(y / 4)
    if 0 <= row < quarter.shape[0]:
        reach = np.exp(-np.abs(np.arange(WIDTH // 4) - x / 4) / 22).astype(np.float32)
        quarter[row] += (0.35 * reach)[:, None] * warm
    quarter += np.float32(wash) * warm
    picture += cv2.resize(quarter, (WIDTH, HEIGHT))
