"""The head's book of frames: one answer for each, released in frame order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from codesign_ros.runtime.messages import Result, Stamp


class Phase(Enum):
    """Where a frame is."""

    WAITING = auto()  # arrived, not started
    COMPUTING = auto()  # the head, or the whole network, runs on it
    SENDING = auto()  # its embedding waits for the link; a deadline runs
    REMOTE = auto()  # on the link or at the tail; a deadline runs
    STRANDED = auto()  # the tail will not answer; the robot must finish it
    DONE = auto()  # answered, held back until all frames before it are


@dataclass
class Frame:
    """One frame between arrival and answer. Times are on the head's monotonic clock [s].

    ``size`` is its (height, width) as the camera took it [px], known once its pixels were loaded;
    before that, a JPEG that is sent as it is has the size of the network's input. ``sent_bytes`` is
    what of it has been put on the link [bytes], ``sent_s`` when, and ``tail`` for whom.
    ``head_gap_s`` passed between the frame that was computed before and this one, where this one
    was there already [s].
    """

    sequence: int
    stamp: Stamp
    load: Callable[[], np.ndarray]
    jpeg: bytes | None = None
    phase: Phase = Phase.WAITING
    epoch: int = 0
    size: tuple[int, int] | None = None
    image: np.ndarray | None = None
    head_s: float = 0.0
    encode_s: float = 0.0
    head_gap_s: float | None = None
    sent_bytes: int = 0
    sent_s: float = 0.0
    tail: str = ""
    deadline_s: float = float("inf")
    result: Result | None = None


class FrameLedger:
    """Frames in flight, in order of arrival. Not thread safe: the runtime holds a lock."""

    def __init__(self) -> None:
        self._frames: dict[int, Frame] = {}
        self._next_sequence = 0

    def admit(
        self, stamp: Stamp, load: Callable[[], np.ndarray], jpeg: bytes | None = None
    ) -> Frame:
        """Enter a new frame.

        Args:
            stamp: its stamp.
            load: gives its pixels, (h, w, 3) uint8 RGB, when it starts.
            jpeg: the camera's JPEG, if cut 0 can send it as it is.
        """
        frame = Frame(self._next_sequence, stamp, load, jpeg)
        self._frames[frame.sequence] = frame
        self._next_sequence += 1
        return frame

    def find(self, sequence: int) -> Frame | None:
        """The frame of that number if it is still in flight and not answered."""
        frame = self._frames.get(sequence)
        return None if frame is None or frame.phase is Phase.DONE else frame

    def in_phase(self, phase: Phase) -> list[Frame]:
        """Frames in one phase, oldest first."""
        return [frame for frame in self._frames.values() if frame.phase is phase]

    def next_to_compute(self, max_sending: int, max_away: int) -> Frame | None:
        """What to compute next: stranded frames first, they are the oldest.

        Args:
            max_sending: so many frames that wait for the link keep new ones from starting.
            max_away: so many frames that wait for the link or the tail do so too.
        """
        sending = away = 0
        waiting = None
        for frame in self._frames.values():
            if frame.phase is Phase.STRANDED:
                return frame
            if frame.phase is Phase.WAITING:
                waiting = waiting or frame
            elif frame.phase is Phase.SENDING:
                sending += 1
                away += 1
            elif frame.phase is Phase.REMOTE:
                away += 1
        return None if sending >= max_sending or away >= max_away else waiting

    def unanswered(self) -> list[Frame]:
        """All frames that have no answer yet, oldest first."""
        return [frame for frame in self._frames.values() if frame.phase is not Phase.DONE]

    def finish(self, frame: Frame, result: Result) -> list[Frame]:
        """Answer a frame and take out, in order, all answered frames that nothing holds back now.

        Raises:
            ValueError: the frame has an answer already.
        """
        if self.find(frame.sequence) is not frame:
            raise ValueError(f"frame {frame.sequence} has its answer already")
        frame.phase, frame.result = Phase.DONE, result
        frame.image = None
        released: list[Frame] = []
        for sequence, oldest in list(self._frames.items()):
            if oldest.phase is not Phase.DONE:
                break
            released.append(oldest)
            del self._frames[sequence]
        return released

    def strand_overdue(self, now_s: float) -> list[Frame]:
        """Mark the frames whose deadline has passed as stranded and return them."""
        overdue = [frame for frame in self._away() if frame.deadline_s <= now_s]
        for frame in overdue:
            frame.phase = Phase.STRANDED
        return overdue

    def strand_all(self) -> list[Frame]:
        """Mark all frames that wait for the link or the tail as stranded and return them."""
        lost = self._away()
        for frame in lost:
            frame.phase = Phase.STRANDED
        return lost

    def next_deadline_s(self) -> float:
        """Earliest deadline of all frames that have one; infinity if there is none [s]."""
        return min((frame.deadline_s for frame in self._away()), default=float("inf"))

    def oldest_epoch(self, current: int) -> int:
        """Oldest epoch of a frame that has started; ``current`` if there is none."""
        started = (f.epoch for f in self._frames.values() if f.phase is not Phase.WAITING)
        return min(started, default=current)

    def _away(self) -> list[Frame]:
        """Frames that wait for the link or for the tail, oldest first."""
        return [f for f in self._frames.values() if f.phase in (Phase.SENDING, Phase.REMOTE)]

    def __len__(self) -> int:
        return len(self._frames)


class Outbox:
    """Hands answered frames on one by one, in the order in which they entered.

    They enter under the lock of whoever keeps the book of frames, and leave under a lock of their
    own, so that a slow receiver does not hold up new frames.

    Args:
        hand_on: takes one answered frame; it must not raise.
    """

    def __init__(self, hand_on: Callable[[Frame], None]) -> None:
        self._hand_on = hand_on
        self._waiting: deque[Frame] = deque()
        # Reentrant: what a receiver does with a frame may answer another.
        self._release = threading.RLock()
        self._handed_on = 0

    @property
    def handed_on(self) -> int:
        """How many frames have left."""
        return self._handed_on

    def put(self, frames: Iterable[Frame]) -> None:
        """Enter answered frames; ``flush`` must follow once the caller's lock is free."""
        self._waiting.extend(frames)

    def flush(self) -> None:
        """Hand on all that have entered."""
        with self._release:
            while self._waiting:
                self._hand_on(self._waiting.popleft())
                self._handed_on += 1
