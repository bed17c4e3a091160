"""Numbers with a range, as types for argparse: what is outside is refused before any work."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass

_WHOLE = re.compile(r"[+-]?[0-9]+")
_PLAIN = re.compile(r"[\w.+-]+")
# Beyond it no count of frames, steps or bytes makes sense, and C's integers end.
_MOST_COUNT = 2**31 - 1
_LONGEST, _SAID = 30, 40


@dataclass(frozen=True)
class Whole:
    """Reads a whole number from ``least`` to ``most``."""

    least: int
    most: int = _MOST_COUNT

    def __call__(self, text: str) -> int:
        """Read the number; argparse tells of the error."""
        # int() does not take very long ones.
        if not _WHOLE.fullmatch(text) or len(text) > _LONGEST:
            bounds = f"from {self.least} to {self.most}"
            raise argparse.ArgumentTypeError(f"must be a whole number {bounds}, not {_said(text)}")
        number = int(text)
        if number < self.least:
            raise argparse.ArgumentTypeError(f"must be at least {self.least}, not {number}")
        if number > self.most:
            raise argparse.ArgumentTypeError(f"must be at most {self.most}, not {number}")
        return number


@dataclass(frozen=True)
class Real:
    """Reads a finite number from ``least`` to ``most``, or above ``least`` where that is left out.

    Attributes:
        least: the least number.
        most: the most.
        open: whether ``least`` itself is left out.
    """

    least: float
    most: float = math.inf
    open: bool = False

    def __call__(self, text: str) -> float:
        """Read the number; argparse tells of the error."""
        try:
            number = float(text) if "_" not in text else math.nan  # Python takes 1_000
        except ValueError:
            number = math.nan
        above = number > self.least if self.open else number >= self.least
        # A NaN is neither.
        if not (above and number <= self.most and math.isfinite(number)):
            raise argparse.ArgumentTypeError(f"must be {self._range()}, not {_said(text)}")
        return number

    def _range(self) -> str:
        if self.most < math.inf:
            return f"a number from {'above ' * self.open}{self.least:g} to {self.most:g}"
        if self.least == -math.inf:
            return "finite"
        return f"{'more than' if self.open else 'at least'} {self.least:g} and finite"


def _said(text: str) -> str:
    """What was given, for a message: it may be long."""
    if len(text) > _SAID:
        return repr(f"{text[:_SAID]}...")
    return text if _PLAIN.fullmatch(text) else repr(text)


COUNT = Whole(1)
"""A number of things, at least one."""

COUNT_OR_ALL = Whole(0)
"""A number of things, where 0 stands for all, or for none."""

CUT = Whole(0, 100_000)
"""Index of a cut; which of them a network has is known when it is opened."""

SEED = Whole(0, 2**32 - 1)
"""Of random numbers; all generators take these."""

THREADS = Whole(1, 1024)
"""Threads or processes."""

POSITIVE = Real(0.0, open=True)
"""A time, a rate, a power: above 0."""

NOT_NEGATIVE = Real(0.0)
"""A weight, a delay: 0 or more."""

SHARE = Real(0.0, 1.0)
"""A share, a score, an accuracy."""

WIDTH = Whole(1, 65_536)
"""Channels of a layer."""

_MOST_SIDE_PX = 16_384

SIDE = Whole(1, _MOST_SIDE_PX)
"""A side of a picture [px]."""


def image_size(text: str) -> tuple[int, int]:
    """Read ``HxW`` as height and width [px], for argparse."""
    found = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{_said(text)} is not a size such as 400x640")
    height, width = map(int, found.groups())
    if not (1 <= height <= _MOST_SIDE_PX and 1 <= width <= _MOST_SIDE_PX):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a size such as 400x640: a side has 1 to {_MOST_SIDE_PX} pixels"
        )
    return height, width
