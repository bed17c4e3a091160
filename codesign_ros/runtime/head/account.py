"""What became of all frames that the head took, and whether it adds up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codesign_ros.runtime.messages import DropReason


@dataclass(frozen=True)
class FrameAccount:
    """Frames at one moment; each is in exactly one of the three if the head makes no mistake.

    Attributes:
        arrived: frames that the head took.
        results: those with the network's answer, by who finished them (``Result.finished_by``).
        drops: those without one, by the reason.
        in_flight: those whose result is not out yet.
    """

    arrived: int
    results: Mapping[str, int]
    drops: Mapping[DropReason, int]
    in_flight: int

    @property
    def answered(self) -> int:
        """Frames with the network's answer."""
        return sum(self.results.values())

    @property
    def dropped(self) -> int:
        """Frames without one."""
        return sum(self.drops.values())

    @property
    def unaccounted(self) -> int:
        """Frames of which nothing is known; below zero: frames that were counted twice."""
        return self.arrived - self.answered - self.dropped - self.in_flight

    @property
    def complaint(self) -> str:
        """What is wrong where ``unaccounted`` is not 0, in one line."""
        return (
            f"the book of frames does not add up: {self.arrived} arrived, {self.answered} "
            f"answered, {self.dropped} dropped, {self.in_flight} in flight; please report it"
        )
