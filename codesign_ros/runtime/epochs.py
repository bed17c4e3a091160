"""Plans by epoch, with the stage that runs each: prepare beside the running one, commit, drop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from codesign_ros.types import CodesignError, Plan

Stage = TypeVar("Stage")


class EpochTable(Generic[Stage]):
    """The stages of every epoch that is in force, prepared, or may still be needed.

    Args:
        plan: the plan in force from the start (epoch 0).
        stage: what runs it.
        on_drop: called with every stage that the table forgets.
    """

    def __init__(self, plan: Plan, stage: Stage, on_drop: Callable[[Stage], None]) -> None:
        self._entries: dict[int, tuple[Plan, Stage]] = {plan.epoch: (plan, stage)}
        self._current = plan.epoch
        self._on_drop = on_drop

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._entries[self._current][0]

    @property
    def stage(self) -> Stage:
        """What runs the plan in force."""
        return self._entries[self._current][1]

    def prepare(self, plan: Plan, stage: Stage) -> None:
        """Keep ``stage`` ready for ``plan``; nothing that runs changes.

        Raises:
            CodesignError: the epoch is not newer than the one in force.
        """
        if plan.epoch <= self._current:
            raise CodesignError(
                f"epoch {plan.epoch} is not newer than epoch {self._current}, which is in force"
            )
        self._drop([plan.epoch])  # of a plan that was prepared before and not put in force
        self._entries[plan.epoch] = (plan, stage)

    def commit(self, epoch: int) -> Plan:
        """Put a prepared epoch in force and forget prepared ones that it overtook.

        Raises:
            CodesignError: the epoch was not prepared.
        """
        if epoch not in self._entries or epoch < self._current:
            raise CodesignError(f"epoch {epoch} was not prepared here; prepare it first")
        self._drop([e for e in self._entries if self._current < e < epoch])
        self._current = epoch
        return self.plan

    def find(self, epoch: int) -> Stage | None:
        """What runs ``epoch``, or None if that epoch is not known (any more)."""
        entry = self._entries.get(epoch)
        return entry[1] if entry else None

    def drop_before(self, epoch: int) -> None:
        """Forget epochs older than ``epoch``, never the one in force."""
        self._drop([e for e in self._entries if e < epoch and e != self._current])

    def close(self) -> None:
        """Let go of all stages; of the table, only ``plan`` and ``epochs`` may be asked then."""
        for _, stage in self._entries.values():
            self._on_drop(stage)

    @property
    def epochs(self) -> tuple[int, ...]:
        """All epochs that are kept, oldest first."""
        return tuple(sorted(self._entries))

    def _drop(self, epochs: list[int]) -> None:
        for epoch in epochs:
            if epoch in self._entries:
                _, stage = self._entries.pop(epoch)
                self._on_drop(stage)
