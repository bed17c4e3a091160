"""When the frames of a recording reach the robot."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.data.pacing import LONGEST_PAUSE_S
from codesign_ros.runtime.head.settings import HeadSettings
from codesign_ros.types.errors import CodesignError

RECORDED, FAST = "recorded", "fast"
# Rates of frames, as slow as a camera's and as fast as makes sense [Hz].
_SLOWEST_HZ, _FASTEST_HZ = 0.01, 1e6
_RATES = {"hz": "at a fixed rate", "poisson": "exponential gaps"}


@dataclass(frozen=True)
class Arrivals:
    """How far apart frames come.

    Attributes:
        kind: ``recorded`` (as their stamps), ``hz`` (fixed rate), ``poisson`` (exponential gaps,
            the co-design paper's), or ``fast`` (a new one as soon as the window has room).
        rate_hz: mean rate of ``hz`` and ``poisson`` [Hz].
        window: frames in flight of ``fast``.
        seed: of ``poisson``.
    """

    kind: str = RECORDED
    rate_hz: float = 0.0
    window: int = 0
    seed: int = 0

    @classmethod
    def parse(cls, text: str, *, window: int, seed: int) -> Arrivals:
        """Read ``recorded``, ``fast``, ``10hz`` or ``poisson:10hz``.

        Raises:
            CodesignError: it is none of them, or the rate is out of range.
        """
        if text in (RECORDED, FAST):
            return cls(text, window=window if text == FAST else 0)
        process, _, rate = text.rpartition(":")
        number = rate.removesuffix("hz")
        try:
            rate_hz = float(number) if number != rate else 0.0
        except ValueError:
            rate_hz = 0.0
        if process not in ("", "poisson") or not _SLOWEST_HZ <= rate_hz < _FASTEST_HZ:
            raise CodesignError(
                f"--arrivals {text!r} is not known; give {RECORDED}, {FAST}, a rate as 10hz (from "
                f"{_SLOWEST_HZ:g}hz to below {_FASTEST_HZ:.0f}hz), or poisson:10hz"
            )
        return cls(process or "hz", rate_hz, seed=seed if process else 0)

    @property
    def queue_depth(self) -> int:
        """Frames that may wait for the robot: all in flight, so that they drop none of their own.

        At least as many as wait for a head by default.
        """
        return max(HeadSettings().queue_depth, self.window)

    @property
    def words(self) -> str:
        """What it is, in a few words."""
        if self.kind == RECORDED:
            return "as recorded"
        if self.kind == FAST:
            return f"as fast as results come, {self.window} in flight"
        seed = f", seed {self.seed}" if self.kind == "poisson" else ""
        return f"{self.rate_hz:g} Hz, {_RATES[self.kind]}{seed}"

    def notes(self, stamps_ns: Sequence[int]) -> tuple[str, ...]:
        """What is not as recorded, a line each."""
        pairs = itertools.pairwise(stamps_ns)
        count = sum(abs(after - before) * 1e-9 > LONGEST_PAUSE_S for before, after in pairs)
        if self.kind != RECORDED or not count:
            return ()
        return (
            f"jumps of the stamps by more than {LONGEST_PAUSE_S:g} s: {count}, each counted as a "
            f"pause of {LONGEST_PAUSE_S:g} s, or of none where it goes back",
        )

    def times_s(self, stamps_ns: Iterable[int]) -> Iterator[float | None]:
        """Yield when each frame comes, from 0 [s]; None where the window decides.

        Stamps that go back, as where a recording starts again, come at the time of the one before.
        Where they jump by more than ``LONGEST_PAUSE_S``, so do all after them, back to the time of
        the one before, or on by that long.

        Args:
            stamps_ns: the frames' stamps, in order [ns].
        """
        random = np.random.default_rng(self.seed)
        first_ns, last_s = None, 0.0
        for number, stamp_ns in enumerate(stamps_ns):
            first_ns = stamp_ns if first_ns is None else first_ns
            if self.kind == FAST:
                yield None
            elif self.kind == RECORDED:
                at_s = (stamp_ns - first_ns) * 1e-9
                if abs(at_s - last_s) > LONGEST_PAUSE_S:
                    at_s = last_s + (LONGEST_PAUSE_S if at_s > last_s else 0.0)
                    first_ns = stamp_ns - round(at_s * 1e9)
                last_s = max(last_s, at_s)
                yield last_s
            elif self.kind == "hz":
                yield number / self.rate_hz
            else:
                # A Poisson process: the first frame waits too.
                last_s += float(random.exponential(1.0 / self.rate_hz))
                yield last_s
