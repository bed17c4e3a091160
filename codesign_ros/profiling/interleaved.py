"""Timing that predicts a typical run, on a machine that is never quite still.

The shortest of many runs ranks candidates well but promises what few frames get. Here every
candidate of a group runs once a round, so that whatever disturbs the machine disturbs all alike,
and the median over the rounds counts. A reference runs in every round of every group: where its
median in one group differs from that over all of them, the machine was slower or faster
meanwhile, and the group's times are set right by that ratio.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

Work = Callable[[int], object]
"""Something to time; it is told the number of the round, to vary its input by."""

Key = TypeVar("Key", bound=Hashable)


class InterleavedTimer(Generic[Key]):
    """Times groups of candidates.

    Args:
        reference: runs once a round of every group.
        rounds: timed rounds of a group; one more goes before them and is not counted, since the
            first run of an engine takes memory and kernels.
        clock: gives the time [s].
    """

    def __init__(
        self,
        reference: Work,
        rounds: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._reference = reference
        self._rounds = rounds
        self._clock = clock
        self._groups: list[tuple[dict[Key, float], list[float]]] = []

    def time(self, works: Mapping[Key, Work]) -> None:
        """Time a group; a key that was timed before is overwritten."""
        times: dict[Key, list[float]] = {key: [] for key in works}
        reference: list[float] = []
        for number in range(self._rounds + 1):
            reference.append(self._once(self._reference, number))
            for key, work in works.items():
                times[key].append(self._once(work, number))
        medians = {key: statistics.median(runs[1:]) for key, runs in times.items()}
        self._groups.append((medians, reference[1:]))

    def typical_s(self) -> dict[Key, float]:
        """Return the time of each candidate in the machine's typical state [s]."""
        everywhere = [run for _, runs in self._groups for run in runs]
        typical: dict[Key, float] = {}
        for medians, runs in self._groups:
            ratio = statistics.median(everywhere) / statistics.median(runs)
            typical.update({key: ratio * median for key, median in medians.items()})
        return typical

    def _once(self, work: Work, number: int) -> float:
        start = self._clock()
        work(number)
        return self._clock() - start
