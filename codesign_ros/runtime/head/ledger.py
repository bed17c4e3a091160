"""The head's book of frames: one answer for each, released in frame order."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np

from codesign_ros.hardware.sustained import Run
from codesign_ros.runtime.messages import Result, Stamp
from codesign_ros.wire.tensor import EncodedTensor


class Phase(Enum):
    """Where a frame is."""

    WAITING = auto()  # arrived, not started
    COMPUTING = auto()  # the robot works on it
    SENDING = auto()  # its embedding waits for the link; a deadline runs
    REMOTE = auto()  # on the link or at the tail; a deadline runs
    STRANDED = auto()  # the robot must finish it, unless the tail's answer comes before it does
    DONE = auto()  # answered, held back until all frames before it are


_IN_HAND = (Phase.COMPUTING, Phase.DONE)


@dataclass
class Frame:
    """One frame between arrival and answer. Times are on the head's monotonic clock [s].

    ``arrived_s`` is when the head took it, and ``age_s`` how old it was by its stamp then; NaN
    where the stamp cannot be right. ``held_bytes`` is what its pixels or its JPEG take in memory.

    ``size`` is its (height, width) as the camera took it [px], known once its pixels were loaded;
    before that, a JPEG that is sent as it is has the size of the network's input. ``due_s`` is when
    its answer is due. ``encoded`` is its embedding, from when that is ready, ``codec`` with which
    it was written, see ``HeadOutput``, and ``tail`` for whom; ``sent_bytes`` is what of it has been
    put on the link [bytes], and ``sent_s`` when. ``goes_on``: what is computed of it is to be sent;
    ``is_asked``: the tail has it, and may answer. ``head_gap_s`` passed between the frame that was
    computed before and this one, where this one was there already, or had to pass, see
    ``ProcessorUse`` [s]; ``head_run`` is what its stage took.
    """

    sequence: int
    stamp: Stamp
    load: Callable[[], np.ndarray]
    jpeg: bytes | None = None
    arrived_s: float = 0.0
    age_s: float = math.nan
    held_bytes: int = 0
    phase: Phase = Phase.WAITING
    epoch: int = 0
    size: tuple[int, int] | None = None
    image: np.ndarray | None = None
    head_s: float = 0.0
    encode_s: float = 0.0
    head_gap_s: float | None = None
    head_run: Run | None = None
    due_s: float = float("inf")
    encoded: tuple[EncodedTensor, ...] = ()
    codec: str = ""
    goes_on: bool = False
    is_asked: bool = False
    sent_bytes: int = 0
    sent_s: float = 0.0
    tail: str = ""
    deadline_s: float = float("inf")
    result: Result | None = None


def _let_go() -> np.ndarray:
    raise RuntimeError("a dropped frame has no pixels any more")


class FrameLedger:
    """Frames in flight, in order of arrival. Not thread safe: the runtime holds a lock."""

    def __init__(self) -> None:
        self._frames: dict[int, Frame] = {}
        self._next_sequence = 0

    def admit(
        self,
        stamp: Stamp,
        load: Callable[[], np.ndarray],
        jpeg: bytes | None = None,
        *,
        arrived_s: float = 0.0,
        age_s: float = math.nan,
        held_bytes: int = 0,
    ) -> Frame:
        """Enter a new frame.

        Args:
            stamp: its stamp.
            load: gives its pixels, (h, w, 3) uint8 RGB, when it starts.
            jpeg: the camera's JPEG, if cut 0 can send it as it is.
            arrived_s: see ``Frame``, as the others.
            age_s: of its stamp.
            held_bytes: in memory.
        """
        frame = Frame(self._next_sequence, stamp, load, jpeg, arrived_s, age_s, held_bytes)
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

    def too_many(self, depth: int, most_bytes: int) -> list[Frame]:
        """The oldest of the waiting frames, so many that the others keep the limits.

        The newest may wait however large it is.
        """
        waiting = self.in_phase(Phase.WAITING)
        held_bytes = sum(frame.held_bytes for frame in waiting)
        for count, frame in enumerate(waiting):
            left = len(waiting) - count
            if left <= 1 or (left <= depth and held_bytes <= most_bytes):
                return waiting[:count]
            held_bytes -= frame.held_bytes
        return []

    def next_to_compute(
        self, max_sending: int, max_away: int, *, hedges: bool = False
    ) -> Frame | None:
        """What to compute next: stranded frames first, they are the oldest.

        Args:
            max_sending: so many frames that wait for the link keep new ones from starting.
            max_away: so many frames that wait for the link or the tail do so too.
            hedges: what the tail has is computed too, where there is nothing else to do.
        """
        sending = away = 0
        waiting = remote = None
        for frame in self._frames.values():
            if frame.phase is Phase.STRANDED:
                return frame
            if frame.phase is Phase.WAITING:
                waiting = waiting or frame
            elif frame.phase is Phase.SENDING:
                sending += 1
                away += 1
            elif frame.phase is Phase.REMOTE:
                remote = remote or frame
                away += 1
        has_room = sending < max_sending and away < max_away
        return (waiting if has_room else None) or (remote if hedges else None)

    def next_to_finish(self) -> Frame | None:
        """What to compute next where nothing is left to the tail: the oldest without an answer."""
        unfinished = (f for f in self._frames.values() if f.phase not in _IN_HAND)
        return next(unfinished, None)

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
        if frame.phase is Phase.WAITING:
            # An older one may hold it back for long, and all that come meanwhile with it.
            frame.load, frame.jpeg = _let_go, None
        frame.phase, frame.result = Phase.DONE, result
        frame.image, frame.encoded = None, ()
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
        """Epoch of the oldest frame that has started; ``current`` if there is none."""
        started = (f.epoch for f in self._frames.values() if f.phase is not Phase.WAITING)
        return next(started, current)

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
        lock: that of the book of frames.
        leaves: told of each frame that leaves, with ``lock`` held.
        hand_on: takes it then, with ``lock`` free; it must not raise.
    """

    def __init__(
        self,
        lock: AbstractContextManager[Any],
        leaves: Callable[[Frame], None],
        hand_on: Callable[[Frame], None],
    ) -> None:
        self._lock = lock
        self._leaves = leaves
        self._hand_on = hand_on
        self._waiting: deque[Frame] = deque()
        # Reentrant: what a receiver does with a frame may answer another.
        self._release = threading.RLock()

    def put(self, frames: Iterable[Frame]) -> None:
        """Enter answered frames; ``lock`` is held, and ``flush`` must follow once it is not."""
        self._waiting.extend(frames)

    def flush(self) -> None:
        """Hand on all that have entered."""
        with self._release:
            while (frame := self._next()) is not None:
                self._hand_on(frame)

    def _next(self) -> Frame | None:
        with self._lock:
            if not self._waiting:
                return None
            frame = self._waiting.popleft()
            self._leaves(frame)
            return frame

    def __len__(self) -> int:
        return len(self._waiting)
