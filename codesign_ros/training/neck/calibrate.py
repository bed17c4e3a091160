"""Gains that make frames take what was asked for, once the weights are what they are.

Prices steer the bytes while a neck is trained, by a model of its codes and on pictures that are
changed; what frames then really take is some percent off. A level's gains, all by one factor,
move its bytes and leave the shares of its channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from codesign_ros.training.neck.measure import gains_of
from codesign_ros.training.neck.rate import LARGEST_CODE, RatedNeck

# Codes that differ more are not what the decoder learned from.
_MOST_FACTOR = 1.3
_HALVINGS = 10
# Levels that were not there begin so far beyond those that were, at most: by a factor of e, since
# much larger codes would be clipped.
_MOST_BEYOND, _PLACE_HALVINGS = 1.0, 14


def meet_bytes(
    rated: RatedNeck, latents: Sequence[np.ndarray], asked: Sequence[int]
) -> list[float]:
    """Scale each level's gains so that frames take on average what was asked for, if they can.

    Args:
        rated: the neck; its gains are changed.
        latents: of frames, float32 (1, C, h, w) each.
        asked: bytes a frame at each level.

    Returns:
        The factor of each level, between 1 / 1.3 and 1.3.
    """
    gains, frames = gains_of(rated), np.concatenate(latents)
    factors = []
    for level, wanted in enumerate(asked):
        low, high = -math.log(_MOST_FACTOR), math.log(_MOST_FACTOR)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if ideal_bytes(frames, gains[level] * math.exp(middle)) < wanted:
                low = middle
            else:
                high = middle
        factors.append(math.exp((low + high) / 2))
    rated.scale_gains(factors)
    return factors


def gains_between(latents: np.ndarray, gains: np.ndarray, asked: Sequence[int]) -> np.ndarray:
    """Gains of other levels than those that there are.

    They lie on the way from level to level, beyond the first and the last at the shares of these.

    Args:
        latents: of frames, float32 (n, C, h, w).
        gains: of the levels that there are, the most bytes first, (levels, C).
        asked: bytes a frame at each new level.

    Returns:
        (new levels, C), float32.
    """
    logarithms, last = np.log(gains), len(gains) - 1

    def on_the_way(place: float) -> np.ndarray:
        inside = min(max(place, 0.0), float(last))
        before = min(int(inside), max(last - 1, 0))
        part = inside - before
        after = min(before + 1, last)
        between = (1 - part) * logarithms[before] + part * logarithms[after]
        return np.exp(between + inside - place).astype(np.float32)

    found = []
    for wanted in asked:
        low, high = -_MOST_BEYOND, last + _MOST_BEYOND
        for _ in range(_PLACE_HALVINGS):
            middle = (low + high) / 2
            if ideal_bytes(latents, on_the_way(middle)) > wanted:
                low = middle
            else:
                high = middle
        found.append(on_the_way((low + high) / 2))
    return np.stack(found)


def ideal_bytes(latents: np.ndarray, gains: np.ndarray) -> float:
    """Return what codes take a frame with tables of their own and an ideal coder [bytes].

    Args:
        latents: float32 (n, C, h, w).
        gains: (C,).
    """
    symbols, channels = 2 * LARGEST_CODE + 1, len(gains)
    codes = np.rint(latents * gains[:, np.newaxis, np.newaxis].astype(np.float32))
    places = codes.clip(-LARGEST_CODE, LARGEST_CODE).astype(np.int64) + LARGEST_CODE
    places += symbols * np.arange(channels)[:, np.newaxis, np.newaxis]
    counts = np.bincount(places.ravel(), minlength=channels * symbols).reshape(channels, symbols)
    shares = counts / counts.sum(1, keepdims=True)
    bits = -(counts * np.log2(shares, where=counts > 0, out=np.zeros_like(shares))).sum()
    return float(bits / 8 / len(latents))
