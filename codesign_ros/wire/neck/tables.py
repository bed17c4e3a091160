"""What writer and reader of a neck's codes agree on: gains and frequencies of every code."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from codesign_ros.types.errors import CodesignError

TOTAL = 1 << 16
"""Sum of the frequencies of a channel's codes."""

# Counts are brought below this, so that their products with TOTAL are exact in int64.
_COUNT_BITS = 40
# How many counts the frequencies without a frame before stand for among those after one.
_OWN_COUNTS = 20.0


@dataclass(frozen=True, eq=False)
class CodeTables:
    """Tables of a neck whose latent is (1, C, H, W), for each of its rate levels.

    Args:
        gains: codes per unit of the latent, float32 (levels, C), above zero.
        frequencies: of the codes low, low + 1, ..., uint16 (levels, C, symbols); at least 1, of sum
            ``TOTAL``; see ``frequencies_of``.
        low: the lowest code.
        shape: (C, H, W).
        after: frequencies of codes whose place is known in a frame before, uint16 (levels, C,
            2 n + 1, symbols): after a code of at most -n, of -n + 1, ..., of at least n. None: all
            frames are written for themselves. See ``frequencies_after``.

    Raises:
        CodesignError: they do not fit each other, or are out of range.
    """

    gains: np.ndarray
    frequencies: np.ndarray
    low: int
    shape: tuple[int, int, int]
    after: np.ndarray | None = None

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
        if self.after is not None:
            self._check_after(self.after)
        tables = [self.frequencies] if self.after is None else [self.frequencies, self.after]
        if self.gains.dtype != np.float32 or any(each.dtype != np.uint16 for each in tables):
            raise CodesignError(
                f"a neck's gains must be float32 and its frequencies uint16, "
                f"not {self.gains.dtype} and {', '.join(str(each.dtype) for each in tables)}"
            )
        # Codes and the counts of a row fit into a byte, numbers of channels into two.
        if self.low < -128 or self.low > 0 or not 0 <= self.high <= 127 or channels >= 1 << 16:
            raise CodesignError(
                f"a neck's codes must be in -128..127 and hold 0, not {self.low}..{self.high}"
            )
        # The reciprocal must be finite too.
        if not ((self.gains >= 1e-30) & (self.gains <= 1e30)).all():
            raise CodesignError("a neck's gains must be above zero and finite")
        if any(not each.all() or (each.sum(-1, np.int64) != TOTAL).any() for each in tables):
            raise CodesignError(
                f"a neck's frequencies must be at least 1 and of sum {TOTAL} in every channel"
            )

    def _check_after(self, after: np.ndarray) -> None:
        levels, channels, symbols = self.frequencies.shape
        contexts = after.shape[2] if after.ndim == 4 else 0
        # Numbers of rows fit into two bytes.
        if (
            after.shape != (levels, channels, contexts, symbols)
            or contexts % 2 == 0
            or channels * contexts >= 1 << 16
        ):
            raise CodesignError(
                f"a neck's tables after a frame before do not fit the others: {after.shape} "
                f"beside {self.frequencies.shape}; train it anew"
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
        return _cumulative(self.frequencies)

    @cached_property
    def cumulative_after(self) -> np.ndarray | None:
        """The same of ``after``, uint32 (levels, C (2 n + 1), symbols + 1)."""
        if self.after is None:
            return None
        ends = _cumulative(self.after)
        return ends.reshape(self.levels, -1, ends.shape[-1])

    @cached_property
    def rows(self) -> np.ndarray:
        """The channel of each code of a frame, uint16 (elements,)."""
        return np.repeat(np.arange(self.shape[0], dtype=np.uint16), self.elements // self.shape[0])

    def rows_after(self, before: np.ndarray) -> np.ndarray:
        """The row of ``cumulative_after`` of each code of a frame.

        Args:
            before: int8 (C, H, W), codes of the frame before at this frame's level.

        Returns:
            uint16 (elements,).
        """
        assert self.after is not None
        contexts = self.after.shape[2]
        return self.rows * np.uint16(contexts) + _context(before, contexts).reshape(-1)

    @cached_property
    def digest(self) -> int:
        """A checksum of all that both ends must agree on."""
        head = repr((self.low, *self.shape, self.levels)).encode()
        crc = zlib.crc32(self.gains.astype("<f4").tobytes(), zlib.crc32(head))
        crc = zlib.crc32(self.frequencies.astype("<u2").tobytes(), crc)
        return crc if self.after is None else zlib.crc32(self.after.astype("<u2").tobytes(), crc)


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


def frequencies_after(
    before: np.ndarray, codes: np.ndarray, frequencies: np.ndarray, low: int, most: int = 4
) -> np.ndarray:
    """Count frequencies of codes whose place is known in a frame before, for one level.

    Args:
        before: codes of frames, whole numbers (frames, C, H, W).
        codes: of those that came after each of them, as late as they will in use.
        frequencies: of the level without a frame before, uint16 (C, symbols); a little of them is
            in all that is counted, so that rare codes cost no more than they must.
        low: the lowest code.
        most: n of ``CodeTables.after``: codes before are told apart up to this.

    Returns:
        uint16 (C, 2 n + 1, symbols).
    """
    channels, symbols = frequencies.shape
    contexts = 2 * most + 1
    channel = np.arange(channels)[:, np.newaxis, np.newaxis]
    place = (channel * contexts + _context(before, contexts)) * symbols + codes - low
    counts = np.bincount(place.reshape(-1), minlength=channels * contexts * symbols)
    own = _OWN_COUNTS * (frequencies / TOTAL)[:, np.newaxis]
    return frequencies_of(counts.reshape(channels, contexts, symbols) + own)


def _cumulative(frequencies: np.ndarray) -> np.ndarray:
    ends = np.cumsum(frequencies, axis=-1, dtype=np.uint32)
    return np.concatenate([np.zeros_like(ends[..., :1]), ends], axis=-1)


def _context(before: np.ndarray, contexts: int) -> np.ndarray:
    """Codes before as numbers from 0, uint16."""
    most = contexts // 2
    return (np.clip(before, -most, most) + most).astype(np.uint16)
