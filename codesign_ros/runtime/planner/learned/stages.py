"""Corrections of the stages of one robot's plans: of its head, and of the tail that serves it."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto

from codesign_ros.planning.objective import Objective
from codesign_ros.runtime.device import Role, StageMedians
from codesign_ros.runtime.planner.learned.correction import Correction
from codesign_ros.types.plan import Plan


class _Stage(Enum):
    """What has a correction: the head as single frames find it, as frames in a row, and the tail.

    Under a quota of processor time the first takes less while the robot waits for the link or the
    server; the second is what the pace of the next plan depends on.
    """

    HEAD = auto()
    HEAD_IN_A_ROW = auto()
    TAIL = auto()


_OF = {Role.HEAD: (_Stage.HEAD, _Stage.HEAD_IN_A_ROW), Role.TAIL: (_Stage.TAIL,)}


class StageCorrections:
    """What was learned of each stage.

    Args:
        cuts: N+1, the number of cuts.
    """

    def __init__(self, cuts: int) -> None:
        self._cuts = cuts
        self._now = {stage: Correction(cuts) for stage in _Stage}
        # What was known of a device before it became throttled.
        self._before: dict[_Stage, Correction] = {}

    @property
    def tail(self) -> Correction:
        """Of the tail that serves."""
        return self._now[_Stage.TAIL]

    def of(self, objective: Objective) -> tuple[Correction, Correction]:
        """Those of head and tail that count for this objective."""
        head = self._now[_Stage.HEAD_IN_A_ROW]
        if objective is Objective.LATENCY or head.load is None:
            head = self._now[_Stage.HEAD]
        return head, self.tail

    def change_tail(self, known: Correction) -> Correction:
        """Go on with another tail, of which this is known; returns what is known of the last."""
        last = self._before.pop(_Stage.TAIL, self.tail)
        self._now[_Stage.TAIL] = known
        return last

    def forget(self, role: Role) -> None:
        """Begin anew with a device."""
        for stage in _OF[role]:
            self._now[stage] = Correction(self._cuts)
            if stage in self._before:
                self._before[stage] = Correction(self._cuts)

    def throttle(self, role: Role, throttled: bool, now_s: float) -> bool:
        """Note whether a device is throttled; returns whether that is news.

        What is learned while it is holds only as long: afterwards what was known before counts
        again.
        """
        stages = _OF[role]
        if throttled == (stages[0] in self._before):
            return False
        for stage in stages:
            if throttled:
                self._before[stage] = self._now[stage]
            known = self._before[stage] if throttled else self._before.pop(stage)
            self._now[stage] = known.since(now_s)
        return True

    def retimed(self, role: Role, cuts: Collection[int]) -> None:
        """Note that the model has other times for these cuts of a device now."""
        for stage in _OF[role]:
            self._now[stage].retimed(cuts)
            if stage in self._before:
                self._before[stage].retimed(cuts)

    def fade(self, now_s: float) -> None:
        """Let time pass, on any steady clock [s]."""
        for correction in self._now.values():
            correction.fade(now_s)

    def report(
        self, plan: Plan, running: StageMedians, head_s: float, tail_s: float, now_s: float
    ) -> bool:
        """Take what stages took under the plan in force.

        Args:
            plan: the plan.
            running: what was measured.
            head_s: what the model says of the head without correction [s].
            tail_s: likewise of the tail [s].
            now_s: the time on any steady clock [s].

        Returns:
            Whether something is not as it was believed to be, see ``Correction.report``.
        """
        seen = [(_Stage.HEAD, running.head_s, head_s)]
        if running.head_busy_s > 0:
            seen.append((_Stage.HEAD_IN_A_ROW, running.head_busy_s, head_s))
        if plan.served_by:
            seen.append((_Stage.TAIL, running.tail_s, tail_s))
        news = [
            self._now[stage].report(plan.epoch, plan.cut, measured_s, predicted_s, now_s)
            for stage, measured_s, predicted_s in seen
        ]
        return any(news)
