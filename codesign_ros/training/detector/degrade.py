"""What cameras and links do to pictures, for the detector's training: blur, noise, JPEG, colour."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Degradation:
    """How often pictures lose quality, and how much. Ranges are (low, high); shares are 0 to 1.

    Attributes:
        blur: share of pictures out of focus.
        blur_px: deviation of that blur.
        smear: share of pictures with motion blur.
        smear_px: how far it goes.
        coarse: share of pictures that were made smaller and larger again.
        coarse_by: by how much.
        noise: share of pictures with sensor noise.
        noise_levels: its deviation in grey levels.
        shade: share of pictures that are darker on one side.
        cast: share of pictures with a colour cast.
        cast_gain: factor on each channel.
        grey: share of pictures without colour.
        jpeg: share of pictures that went through a JPEG.
        jpeg_quality: of that JPEG.
    """

    blur: float = 0.12
    blur_px: tuple[float, float] = (0.5, 2.0)
    smear: float = 0.08
    smear_px: tuple[float, float] = (3.0, 9.0)
    coarse: float = 0.12
    coarse_by: tuple[float, float] = (1.3, 3.0)
    noise: float = 0.3
    noise_levels: tuple[float, float] = (2.0, 14.0)
    shade: float = 0.2
    cast: float = 0.3
    cast_gain: tuple[float, float] = (0.75, 1.3)
    grey: float = 0.1
    jpeg: float = 0.6
    jpeg_quality: tuple[int, int] = (30, 95)


def degrade(image: np.ndarray, rng: np.random.Generator, how: Degradation) -> np.ndarray:
    """Spoil a picture, uint8 (H, W, 3) RGB, at random; returns one of the same size."""
    if rng.random() < how.shade:
        image = _shaded(image, rng)
    if rng.random() < how.cast:
        gains = rng.uniform(*how.cast_gain, 3)
        tables = np.clip(np.arange(256)[:, None] * gains, 0, 255).astype(np.uint8)
        image = cv2.LUT(image, tables[None])
    if rng.random() < how.grey:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < how.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(*how.blur_px))
    if rng.random() < how.smear:
        image = cv2.filter2D(image, -1, _line(rng.uniform(*how.smear_px), rng.uniform(0, np.pi)))
    if rng.random() < how.coarse:
        height, width = image.shape[:2]
        factor = rng.uniform(*how.coarse_by)
        side = (max(8, round(width / factor)), max(8, round(height / factor)))
        small = cv2.resize(image, side, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < how.noise:
        image = _noisy(image, rng, rng.uniform(*how.noise_levels))
    if rng.random() < how.jpeg:
        quality = int(rng.integers(how.jpeg_quality[0], how.jpeg_quality[1] + 1))
        _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return image


def _noisy(image: np.ndarray, rng: np.random.Generator, levels: float) -> np.ndarray:
    """Add noise, some of it the same in all channels."""
    grain = (levels * rng.standard_normal(image.shape, np.float32)).astype(np.int16)
    if rng.random() < 0.5:
        grain = np.repeat(grain[..., :1], 3, axis=2)
    noisy: np.ndarray = cv2.add(image, grain, dtype=cv2.CV_8U)
    return noisy


def _shaded(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darken one side and brighten the other."""
    height, width = image.shape[:2]
    across, down = rng.uniform(-0.45, 0.45, 2)
    level = (
        1 + across * np.linspace(-1, 1, width)[None] + down * np.linspace(-1, 1, height)[:, None]
    )
    shaded: np.ndarray = np.clip(image * level[..., None].astype(np.float32), 0, 255)
    return shaded.astype(np.uint8)


def _line(length_px: float, angle: float) -> np.ndarray:
    """A straight motion as a kernel."""
    half = int(np.ceil(length_px / 2)) + 1
    kernel: np.ndarray = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    x, y = (length_px / 2 * float(f(angle)) for f in (np.cos, np.sin))
    start, end = (
        (round((half + sign * x) * 16), round((half + sign * y) * 16)) for sign in (-1, 1)
    )
    cv2.line(kernel, start, end, (1.0,), 1, cv2.LINE_AA, 4)
    return kernel / kernel.sum()
