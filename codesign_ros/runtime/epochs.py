"""Plans by epoch, with the stage that runs each: prepare beside the running one, commit, drop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

Stage = TypeVar("Stage")

MOST_EPOCH = 2**32 - 1
"""Epochs have 32 bits; after this one comes 1 again, for 0 means that there is no plan yet."""


def next_epoch(epoch: int) -> int:
    """The number after ``epoch``."""
    return epoch % MOST_EPOCH + 1


def is_newer(epoch: int, other: int) -> bool:
    """Whether an epoch was counted after another, by the shorter way round (RFC 1982)."""
    return 0 < (epoch - other) % 2**32 < 2**31


class EpochTable(Generic[Stage]):
    """The stages of every epoch that is in force, prepared, or may still be needed.

    An epoch is a name here and no quantity: older is what was put in force before. So it is no harm
    where the numbers begin anew, with another planner or after 32 bits.

    Args:
        plan: the plan in force from the start (epoch 0).
        stage: what runs it.
        on_drop: called with every stage that the table forgets.
    """

    def __init__(self, plan: Plan, stage: Stage, on_drop: Callable[[Stage], None]) -> None:
        # Those that were in force, oldest first; the one in force; those that are prepared.
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
            CodesignError: the epoch is in force, was before, or is prepared for another planner.
        """
        epoch = plan.epoch
        if epoch in self._entries:
            if epoch not in self._prepared():
                raise CodesignError(f"epoch {epoch} is in force here, or was; take another number")
            if self._entries[epoch][0].planner != plan.planner:
                raise CodesignError(
                    f"epoch {epoch} is prepared here for another planner; take another number"
                )
        self._drop([epoch])  # of a plan that was prepared before and not put in force
        self._entries[epoch] = (plan, stage)

    def commit(self, epoch: int) -> Plan:
        """Put a prepared epoch in force and forget those that were prepared before it.

        Raises:
            CodesignError: the epoch was not prepared.
        """
        if epoch == self._current:
            return self.plan
        prepared = self._prepared()
        if epoch not in prepared:
            raise CodesignError(f"epoch {epoch} was not prepared here; prepare it first")
        self._drop(prepared[: prepared.index(epoch)])
        self._current = epoch
        return self.plan

    def find(self, epoch: int) -> Stage | None:
        """What runs ``epoch``, or None if that epoch is not known (any more)."""
        entry = self._entries.get(epoch)
        return entry[1] if entry else None

    def plan_of(self, epoch: int) -> Plan | None:
        """The plan of ``epoch``, or None if that epoch is not known (any more)."""
        entry = self._entries.get(epoch)
        return entry[0] if entry else None

    def drop_before(self, *needed: int) -> None:
        """Forget epochs older than all of these, never the one in force.

        One that is not known counts as older than all.
        """
        order = self.epochs
        oldest = min((order.index(epoch) if epoch in order else 0 for epoch in needed), default=0)
        self._drop(list(order[: min(oldest, order.index(self._current))]))

    def close(self) -> None:
        """Let go of all stages; of the table, only ``plan`` and ``epochs`` may be asked then."""
        for _, stage in self._entries.values():
            self._on_drop(stage)

    @property
    def epochs(self) -> tuple[int, ...]:
        """All epochs that are kept, oldest first."""
        return tuple(self._entries)

    def _prepared(self) -> list[int]:
        order = list(self._entries)
        return order[order.index(self._current) + 1 :]

    def _drop(self, epochs: list[int]) -> None:
        for epoch in epochs:
            if epoch in self._entries:
                _, stage = self._entries.pop(epoch)
                self._on_drop(stage)
