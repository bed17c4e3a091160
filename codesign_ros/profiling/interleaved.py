"""Timing that predicts a typical run, on a machine that is never quite still.

The shortest of many runs ranks candidates well but promises what few frames get. Here every
candidate of a group runs once a round, so that whatever disturbs the machine disturbs all alike,
and the median over the rounds counts. A reference runs in every round of every group: where its
median in one group differs from that over all of them, the machine was slower or faster
meanwhile, and the group's times are set right by that ratio.

Under a quota of processor time what counts is what runs in a row would take, see ``sustained_s``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

from codesign_ros.hardware.sustained import Run, sustained_s

Work = Callable[[int], object]
"""Something to time; it is told the number of the round, to vary its input by."""

Key = TypeVar("Key", bound=Hashable)


class InterleavedTimer(Generic[Key]):
    """Times groups of candidates.

    Args:
        reference: runs once a round of every group.
        rounds: timed rounds of a group; one more goes before them and is not counted, since the
            first run of an engine takes memory and kernels.
        quota: see ``sustained_s``.
        clock: gives the time [s].
        cpu_clock: gives this process's processor time [s].
    """

    def __init__(
        self,
        reference: Work,
        rounds: int,
        quota: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._reference = reference
        self._rounds = rounds
        self._quota = quota
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._groups: list[tuple[dict[Key, float], list[Run]]] = []

    def time(self, works: Mapping[Key, Work]) -> None:
        """Time a group; a key that was timed before is overwritten."""
        runs: dict[Key, list[Run]] = {key: [] for key in works}
        reference: list[Run] = []
        for number in range(self._rounds + 1):
            reference.append(self._once(self._reference, number))
            for key, work in works.items():
                runs[key].append(self._once(work, number))
        times = {key: sustained_s(each[1:], self._quota) for key, each in runs.items()}
        self._groups.append((times, reference[1:]))

    def typical_s(self) -> dict[Key, float]:
        """Return the time of each candidate in the machine's typical state [s]."""
        everywhere = sustained_s([run for _, runs in self._groups for run in runs], self._quota)
        typical: dict[Key, float] = {}
        for times, runs in self._groups:
            ratio = everywhere / sustained_s(runs, self._quota)
            typical.update({key: ratio * time_s for key, time_s in times.items()})
        return typical

    def _once(self, work: Work, number: int) -> Run:
        start_s, start_cpu_s = self._clock(), self._cpu_clock()
        work(number)
        return Run(self._clock() - start_s, self._cpu_clock() - start_cpu_s)
