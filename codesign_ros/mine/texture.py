"""Surfaces of the synthetic mine: tileable rock, gravel and cloth, and the atlas of one tunnel.

The atlas is the tunnel's inner surface unrolled: columns run around the profile (floor in the
middle, crown at both ends, which meet), rows run along the tunnel and repeat every `TILE_M` metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

ATLAS_ROWS = 512
ATLAS_COLS = 1024
TILE_M = 8.0
ROWS_PER_M = ATLAS_ROWS / TILE_M

# Wall tints (B, G, R factors): grey rock, brown rock, coal, whitewashed shotcrete, reddish ore.
_WALL_TINTS = np.array(
    [
        (0.94, 1.0, 1.04),
        (0.72, 0.88, 1.08),
        (0.50, 0.49, 0.47),
        (1.06, 1.12, 1.14),
        (0.70, 0.80, 1.06),
    ],
    np.float32,
)
_WOOD_TINT = np.array((0.62, 0.82, 1.02), np.float32)
_FLOOR_TINTS = np.array([(0.62, 0.72, 0.80), (0.48, 0.58, 0.70), (0.42, 0.43, 0.45)], np.float32)


@dataclass(frozen=True)
class Bank:
    """Tileable base textures, all (2 * ATLAS_ROWS, ATLAS_COLS) unless said otherwise.

    Each is stored twice, one below the other: a slice of ATLAS_ROWS rows from anywhere in the upper
    half is the texture shifted around its torus, without a copy.

    `rock` and `gravel` are uint8 greys; `height` is the relief of the rock, float32 with zero
    mean and unit deviation; `smooth` is slow noise, uint8; `cloth` is (512, 512) float32.
    """

    rock: tuple[np.ndarray, ...]
    gravel: tuple[np.ndarray, ...]
    height: tuple[np.ndarray, ...]
    smooth: tuple[np.ndarray, ...]
    cloth: np.ndarray


def _power_noise(
    rng: np.random.Generator, rows: int, cols: int, beta: float, stretch: float = 1.0
) -> np.ndarray:
    """Tileable noise whose spectrum falls as 1/f**beta.

    Returns float32 (rows, cols), zero mean, unit deviation; ``stretch`` > 1 draws it out along the
    columns.
    """
    spectrum = np.fft.rfft2(rng.standard_normal((rows, cols)))
    fy = np.fft.fftfreq(rows)[:, None] * rows
    fx = np.fft.rfftfreq(cols)[None, :] * rows * stretch
    radius = np.sqrt(fy * fy + fx * fx)
    radius[0, 0] = np.inf
    field = np.fft.irfft2(spectrum / radius**beta, s=(rows, cols)).astype(np.float32)
    return (field - field.mean()) / field.std()


def _to_grey(field: np.ndarray, mean: float, contrast: float) -> np.ndarray:
    return np.clip(mean + contrast * field, 8, 250).astype(np.uint8)


def _emboss(height: np.ndarray) -> np.ndarray:
    """Slope as a lamp down the tunnel sees it, float32."""
    return height - np.roll(np.roll(height, 2, axis=0), 1, axis=1)


@lru_cache(maxsize=1)
def bank() -> Bank:
    """The base textures; the same for every generator, made once per process (~1 s)."""
    rng = np.random.default_rng(20240917)
    rock, gravel, height, smooth = [], [], [], []
    for kind in range(4):
        relief = _power_noise(rng, ATLAS_ROWS, ATLAS_COLS, 1.75, 1.0 + 0.4 * (kind % 2))
        ridged = 1.2 - 1.6 * np.abs(_power_noise(rng, ATLAS_ROWS, ATLAS_COLS, 1.6))
        # Terraces give broken rock its faces; their edges are the cracks.
        steps = 0.45 * np.floor(relief / 0.45)
        relief = 0.45 * relief + 0.55 * steps + 0.22 * ridged
        relief = cv2.GaussianBlur(relief, (0, 0), 0.8)
        slope = _emboss(relief)
        fine = _power_noise(rng, ATLAS_ROWS, ATLAS_COLS, 0.7)
        slow = _power_noise(rng, ATLAS_ROWS, ATLAS_COLS, 1.6)
        rock.append(_to_grey(1.55 * slope / slope.std() + 0.55 * fine + 0.9 * slow, 118.0, 21.0))
        height.append(cv2.GaussianBlur((relief - relief.mean()) / relief.std(), (0, 0), 5))
        stones = _power_noise(rng, ATLAS_ROWS, ATLAS_COLS, 0.85)
        slope = _emboss(cv2.GaussianBlur(np.abs(stones), (0, 0), 1.1))
        gravel.append(_to_grey(0.9 * slope / slope.std() + 0.8 * slow + 0.3 * fine, 112.0, 24.0))
        smooth.append(_to_grey(_power_noise(rng, ATLAS_ROWS, ATLAS_COLS, 1.9), 128.0, 46.0))
    folds = 1.2 - np.abs(_power_noise(rng, 512, 512, 2.0, 0.5))
    cloth = _power_noise(rng, 512, 512, 2.2, 0.7) + 0.6 * folds
    cloth = (cloth / cloth.std()).astype(np.float32)
    return Bank(_twice(rock), _twice(gravel), _twice(height), _twice(smooth), cloth)


def _twice(textures: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    return tuple(np.concatenate((texture, texture)) for texture in textures)


def _rolled(texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A texture of the bank from a random row on, so that scenes do not share their stones."""
    first = int(rng.integers(ATLAS_ROWS))
    return texture[first : first + ATLAS_ROWS]


def _tinted(grey: np.ndarray, tint: np.ndarray) -> np.ndarray:
    """Grey (H,W) uint8 times a BGR tint -> (H,W,3) uint8."""
    return cv2.merge([cv2.convertScaleAbs(grey, alpha=float(factor)) for factor in tint])


def _paint_mesh(atlas: np.ndarray, rng: np.random.Generator) -> None:
    """Wire mesh with bolts and their plates, in place."""
    pitch = int(rng.integers(5, 9))
    wire = float(rng.uniform(10, 40))
    for lines, change in ((slice(None, None, pitch), wire), (slice(1, None, pitch), -0.4 * wire)):
        # A wire is a light line with its own shadow beside it.
        for view in (atlas[lines], atlas[:, lines]):
            view[...] = np.clip(np.rint(view + np.float32(change)), 0, 255).astype(np.uint8)
    for row in range(32, ATLAS_ROWS, 64):
        for col in range(16, ATLAS_COLS, 80):
            at = (col + int(rng.integers(-6, 7)), row + int(rng.integers(-6, 7)))
            cv2.rectangle(atlas, (at[0] - 5, at[1] - 4), (at[0] + 7, at[1] + 8), (30, 30, 30), -1)
            cv2.rectangle(atlas, (at[0] - 6, at[1] - 6), (at[0] + 5, at[1] + 5), (96, 104, 110), -1)
            cv2.circle(atlas, at, 2, (150, 160, 165), -1)


def _lagging(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Timber boards instead of rock: grey (H,W) uint8 -> the same with boards along the tunnel."""
    widths = rng.integers(10, 19, ATLAS_COLS // 10)
    starts = np.concatenate(((0,), np.cumsum(widths)))
    board = np.searchsorted(starts, np.arange(ATLAS_COLS), side="right") - 1
    grain = grey[:, starts[board] % ATLAS_COLS]
    shade = rng.integers(130, 245, len(starts)).astype(np.uint16)[board]
    shade[np.isin(np.arange(ATLAS_COLS), np.concatenate((starts, starts + 1)))] = 50
    mixed = cv2.addWeighted(grey, 0.4, grain, 0.6, 0).astype(np.uint16)
    return ((mixed * shade[None, :]) >> 8).astype(np.uint8)


def _paint_arches(atlas: np.ndarray, relief: np.ndarray, pitch_m: float) -> None:
    """Steel arches every ``pitch_m`` [m], painted and raised from the wall, in place."""
    profile = np.array([0.25, 0.4, 1.0, 1.25, 0.5, 0.42, 0.5, 1.3, 1.05, 0.3], np.float32)
    steel = np.array((62, 70, 80), np.float32)
    for start in np.arange(0.0, TILE_M, pitch_m) * ROWS_PER_M:
        for offset, shade in enumerate(profile):
            row = (int(start) + offset) % ATLAS_ROWS
            mixed = 0.35 * atlas[row].astype(np.float32) + 0.65 * steel
            atlas[row] = np.clip(mixed * shade, 0, 255).astype(np.uint8)
            if 1 < offset < 8:
                relief[row] -= 0.14
        for offset in range(1, 7):  # the arch's shadow on the wall behind it
            row = (int(start) + len(profile) - 1 + offset) % ATLAS_ROWS
            atlas[row] = (atlas[row] * np.float32(0.45 + 0.08 * offset)).astype(np.uint8)


def _floor(
    rng: np.random.Generator, cols: int, rails: bool, gauge_cols: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ground of the tunnel: (ATLAS_ROWS, cols, 3) uint8 and how wet it is, uint8."""
    textures = bank()
    grey = _rolled(textures.gravel[rng.integers(4)], rng)[:, :cols]
    slow = _rolled(textures.smooth[rng.integers(4)], rng)[:, :cols]
    wetness = np.clip((np.arange(256) - rng.uniform(110, 215)) / 26.0, 0, 1)
    wet = cv2.LUT(slow, (255 * wetness).astype(np.uint8))
    damp = cv2.LUT(slow, (255 - 0.55 * 255 * wetness).astype(np.uint8))
    grey = cv2.multiply(grey, damp, scale=1 / 255.0)
    tint = _FLOOR_TINTS[rng.integers(3)] * np.float32(rng.uniform(0.75, 1.1))
    ground = _tinted(grey, tint)
    middle = cols // 2
    if rails:
        wood = np.array((40, 52, 62), np.uint8)
        for row in range(0, ATLAS_ROWS, 40):
            half = gauge_cols // 2 + 20
            tie = ground[row : row + 11, middle - half : middle + half]
            tie[...] = tie // 3 + wood
            dry = wet[row : row + 11, middle - half : middle + half]
            dry[...] = dry // 5
            gap = ground[row + 11 : row + 14, middle - half : middle + half]
            gap[...] = gap // 2
        for side in (-1, 1):
            at = middle + side * gauge_cols // 2
            cv2.rectangle(ground, (at - 5, 0), (at + 6, ATLAS_ROWS), (22, 26, 30), -1)
            cv2.rectangle(ground, (at - 2, 0), (at + 2, ATLAS_ROWS), (150, 158, 165), -1)
    else:
        # Wheel tracks: darker, smoother lanes.
        for side in (-1, 1):
            lane = slice(
                middle + side * cols // 6 - cols // 16, middle + side * cols // 6 + cols // 16
            )
            smooth = cv2.blur(ground[:, lane], (5, 9))
            ground[:, lane] = cv2.convertScaleAbs(smooth, alpha=0.82)
    return ground, wet


@dataclass(frozen=True)
class Atlas:
    """The unrolled surface of one tunnel.

    Attributes:
        colour: (ATLAS_ROWS, ATLAS_COLS, 3) uint8 BGR reflectance.
        relief_m: (ATLAS_ROWS, ATLAS_COLS) float32, how far the rock stands back [m].
        wet: same shape, uint8, how much the surface mirrors.
    """

    colour: np.ndarray
    relief_m: np.ndarray
    wet: np.ndarray


def paint_atlas(
    rng: np.random.Generator, *, half_width_m: float, perimeter_m: float, style: str, rails: bool
) -> Atlas:
    """Paint the surface of a tunnel.

    Args:
        rng: Where all choices come from.
        half_width_m: Half the width of the floor [m].
        perimeter_m: Length of the whole profile, which the columns span [m].
        style: ``rock``, ``mesh``, ``arches`` or ``shotcrete``.
        rails: Whether rails lie on the floor.
    """
    textures = bank()
    which = int(rng.integers(4))
    tint = _WALL_TINTS[rng.integers(len(_WALL_TINTS)) if style != "shotcrete" else 3]
    first = int(rng.integers(ATLAS_ROWS))
    window = slice(first, first + ATLAS_ROWS)
    grey = textures.rock[which][window]
    roughness_m = {"rock": 0.13, "mesh": 0.10, "arches": 0.05, "shotcrete": 0.05}[style]
    relief = textures.height[which][window] * np.float32(roughness_m)
    if style == "shotcrete":
        grey = cv2.addWeighted(grey, 0.45, cv2.blur(grey, (9, 9)), 0.55, 0)
    if style == "arches" and rng.random() < 0.6:
        grey = _lagging(grey, rng)
        tint = _WOOD_TINT
    # Slow stains: damp is dark.
    grey = cv2.multiply(grey, _rolled(textures.smooth[rng.integers(4)], rng), scale=1 / 140.0)
    colour = _tinted(grey, tint * np.float32(rng.uniform(0.75, 1.05)))
    if style == "arches":
        _paint_arches(colour, relief, float(rng.choice([1.0, 1.6, 2.0])))
    elif style == "mesh":
        _paint_mesh(colour, rng)
    cols_per_m = ATLAS_COLS / perimeter_m
    half = int(half_width_m * cols_per_m)
    middle = ATLAS_COLS // 2
    ground, wet_ground = _floor(rng, 2 * half, rails, int(0.8 * cols_per_m))
    colour[:, middle - half : middle + half] = ground
    # Dust and mud climb the foot of the wall.
    for side in (
        slice(middle - half - 36, middle - half),
        slice(middle + half, middle + half + 36),
    ):
        ramp = np.linspace(0.95, 0.55, 36, dtype=np.float32)
        ramp = ramp if side.start < middle else ramp[::-1]
        colour[:, side] = (colour[:, side] * ramp[None, :, None]).astype(np.uint8)
    wet = np.zeros((ATLAS_ROWS, ATLAS_COLS), np.uint8)
    wet[:, middle - half : middle + half] = wet_ground
    relief[:, middle - half : middle + half] *= 0.25
    return Atlas(colour, relief, wet)
