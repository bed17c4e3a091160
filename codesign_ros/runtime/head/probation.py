"""Frames to which the robot itself had the answer before the server, while it is on probation."""

from __future__ import annotations

from typing import NamedTuple

from codesign_ros.runtime.head.ledger import Frame

# Frames that are remembered at most: those of a few seconds.
_MOST = 64


class Beaten(NamedTuple):
    """A frame that is answered, and whose answer by the server may still come.

    Attributes:
        epoch: of its plan.
        tail: whom it was sent to.
        sent_s: when.
        deadline_s: from when on the server's answer is overdue.
    """

    epoch: int
    tail: str
    sent_s: float
    deadline_s: float


class BeatenFrames:
    """Frames that the robot answered first, so that the server is judged by them all the same.

    Times are of any one steady clock [s]. Not thread safe.
    """

    def __init__(self) -> None:
        self._frames: dict[int, Beaten] = {}

    def add(self, frame: Frame) -> None:
        """Note a frame that the server has, and that the robot answers now."""
        self._frames[frame.sequence] = Beaten(
            frame.epoch, frame.tail, frame.sent_s, frame.deadline_s
        )
        while len(self._frames) > _MOST:
            del self._frames[next(iter(self._frames))]

    def take(self, sequence: int) -> Beaten | None:
        """Take the frame to which the server's answer has come; None if it is none of these."""
        return self._frames.pop(sequence, None)

    def take_overdue(self, now_s: float) -> list[Beaten]:
        """Take those whose answer is overdue, oldest first."""
        overdue = [n for n, frame in self._frames.items() if frame.deadline_s <= now_s]
        return [self._frames.pop(number) for number in overdue]

    def clear(self) -> None:
        """Forget all."""
        self._frames.clear()
