"""What writer and reader of a neck's codes agree on: gains and frequencies of every code."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from codesign_ros.types import CodesignError

TOTAL = 1 << 16
"""Sum of the frequencies of a channel's codes."""

# Counts are brought below this, so that their products with TOTAL are exact in int64.
_COUNT_BITS = 40


@dataclass(frozen=True, eq=False)
class CodeTables:
    """Tables of a neck whose latent is (1, C, H, W), for each of its rate levels.

    Args:
        gains: codes per unit of the latent, float32 (levels, C), above zero.
        frequencies: of the codes low, low + 1, ..., uint16 (levels, C, symbols); at least 1, of sum
            ``TOTAL``; see ``frequencies_of``.
        low: the lowest code.
        shape: (C, H, W).

    Raises:
        CodesignError: they do not fit each other, or are out of range.
    """

    gains: np.ndarray
    frequencies: np.ndarray
    low: int
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        """Check all of it: tables come from a bundle, which anyone may have written."""
        levels, channels = self.gains.shape if self.gains.ndim == 2 else (0, 0)
        symbols = self.frequencies.shape[-1] if self.frequencies.ndim == 3 else 0
        sound_shapes = (
            len(self.shape) == 3
            and min(self.shape) >= 1
            and self.shape[0] == channels
            and 1 <= levels <= 256
            and symbols >= 2
            and self.frequencies.shape == (levels, channels, symbols)
        )
        if not sound_shapes:
            raise CodesignError(
                f"a neck's tables do not fit each other: gains {self.gains.shape}, "
                f"frequencies {self.frequencies.shape}, codes {self.shape}; train it anew"
            )
        if self.gains.dtype != np.float32 or self.frequencies.dtype != np.uint16:
            raise CodesignError(
                f"a neck's gains must be float32 and its frequencies uint16, "
                f"not {self.gains.dtype} and {self.frequencies.dtype}"
            )
        # Codes and the counts of a row fit into a byte, numbers of channels into two.
        if self.low < -128 or self.low > 0 or not 0 <= self.high <= 127 or channels >= 1 << 16:
            raise CodesignError(
                f"a neck's codes must be in -128..127 and hold 0, not {self.low}..{self.high}"
            )
        # The reciprocal must be finite too.
        if not ((self.gains >= 1e-30) & (self.gains <= 1e30)).all():
            raise CodesignError("a neck's gains must be above zero and finite")
        if not self.frequencies.all() or (self.frequencies.sum(-1, np.int64) != TOTAL).any():
            raise CodesignError(
                f"a neck's frequencies must be at least 1 and of sum {TOTAL} in every channel"
            )

    @property
    def levels(self) -> int:
        """How many rate levels there are."""
        return self.gains.shape[0]

    @property
    def high(self) -> int:
        """The highest code."""
        return self.low + self.frequencies.shape[-1] - 1

    @property
    def elements(self) -> int:
        """Codes of a frame."""
        return math.prod(self.shape)

    @cached_property
    def steps(self) -> np.ndarray:
        """Units of the latent per code, float32 (levels, C)."""
        return np.float32(1) / self.gains

    @cached_property
    def cumulative(self) -> np.ndarray:
        """Sums of the frequencies below each code, uint32 (levels, C, symbols + 1)."""
        sums = np.cumsum(self.frequencies, axis=-1, dtype=np.uint32)
        return np.concatenate([np.zeros_like(sums[..., :1]), sums], axis=-1)

    @cached_property
    def rows(self) -> np.ndarray:
        """The channel of each code of a frame, uint16 (elements,)."""
        return np.repeat(np.arange(self.shape[0], dtype=np.uint16), self.elements // self.shape[0])

    @cached_property
    def digest(self) -> int:
        """A checksum of all that both ends must agree on."""
        head = repr((self.low, *self.shape, self.levels)).encode()
        crc = zlib.crc32(self.gains.astype("<f4").tobytes(), zlib.crc32(head))
        return zlib.crc32(self.frequencies.astype("<u2").tobytes(), crc)


def frequencies_of(weights: np.ndarray) -> np.ndarray:
    """Make frequencies in proportion to counts or probabilities, the same on every machine.

    Args:
        weights: how often each code comes, (..., symbols): whole numbers or floats of any scale.

    Returns:
        uint16 (..., symbols), at least 1, of sum ``TOTAL``.

    Raises:
        CodesignError: a weight is negative or no number, a row has none above zero, or a row has
            fewer than two symbols or more than 256.
    """
    weights = np.asarray(weights)
    symbols = weights.shape[-1] if weights.ndim else 0
    if not 2 <= symbols <= 256:
        raise CodesignError(f"frequencies are of 2 to 256 symbols, not of {symbols}")
    largest = weights.max(-1, keepdims=True)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and (largest > 0).all()):
        raise CodesignError(
            "weights of codes must be finite and not negative, and one of each row above zero"
        )
    # Only steps that round alike everywhere: a quotient, a power of two; the rest is whole numbers.
    counts = np.rint(weights / largest.astype(np.float64) * 2.0**_COUNT_BITS).astype(np.int64)
    spare = TOTAL - symbols
    total = counts.sum(-1, keepdims=True)
    frequencies, rest = np.divmod(counts * spare, total)
    frequencies += 1
    missing = TOTAL - frequencies.sum(-1, keepdims=True)
    # What rounding down left goes to those that lost most, the lower code first.
    rank = np.argsort(np.argsort(-rest, axis=-1, kind="stable"), axis=-1, kind="stable")
    return (frequencies + (rank < missing)).astype(np.uint16)
