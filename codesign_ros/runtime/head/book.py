"""The book of frames under its lock: what there is to do, what was counted, what goes out."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from codesign_ros.runtime.head.account import FrameAccount
from codesign_ros.runtime.head.ledger import Frame, FrameLedger, Outbox, Phase
from codesign_ros.runtime.head.plans import HeadPlans
from codesign_ros.runtime.messages import DropReason, Result, Stamp, Status
from codesign_ros.runtime.stamps import age_s

_log = logging.getLogger(__name__)

MAX_SENDING = 1
"""Embeddings that wait behind the one on the link before the head stops computing more: one keeps
the link busy, others would only grow old there."""

MAX_AWAY = 4
"""Frames on the link or at the tail before the head stops computing more: as many as the middleware
keeps for the link (nodes/interface/qos.py); one more would push out the oldest, half sent."""

# Who finishes frames: ``Result.finished_by``.
_WAYS = ("server", "robot", "fallback")


class FrameBook:
    """Frames in flight; ``lock`` guards them and all that the head knows beside.

    Args:
        plans: the head's plans; those that no frame needs any more are dropped.
        send_result: see ``HeadRuntime``.
        clock_ns: see ``HeadRuntime``.
    """

    def __init__(
        self,
        plans: HeadPlans,
        send_result: Callable[[Result, Callable[[], np.ndarray]], None],
        clock_ns: Callable[[], int],
    ) -> None:
        self.lock = threading.Condition()
        self.counts: Counter[str] = Counter()
        self.ledger = FrameLedger()
        self.is_open = True
        # Nothing is left to the server: the robot computes whatever has no answer yet.
        self.is_alone = False
        # The server is on probation: what it has is computed too, where the robot is idle.
        self.hedges = False
        # Why the newest frame could not be read; empty where it could.
        self.unreadable = ""
        self._plans = plans
        self._send_result = send_result
        self._clock_ns = clock_ns
        self._drops: Counter[DropReason] = Counter()
        self._outbox = Outbox(self.lock, self._count, self._hand_on)
        # When the compute thread looks by itself what there is to do; earlier it must be woken [s].
        self._looks_at_s = 0.0

    @property
    def account(self) -> FrameAccount:
        """What became of all frames until now."""
        with self.lock:
            return FrameAccount(
                arrived=self.counts["frames"],
                results={way: self.counts[way] for way in _WAYS},
                drops=dict(self._drops),
                in_flight=len(self.ledger) + len(self._outbox),
            )

    def admit(
        self,
        stamp: Stamp,
        load: Callable[[], np.ndarray],
        jpeg: bytes | None = None,
        held_bytes: int = 0,
    ) -> Frame:
        """Enter a new frame; ``lock`` is held.

        Args:
            stamp: its stamp.
            load: gives its pixels.
            jpeg: the camera's JPEG, if cut 0 can send it as it is.
            held_bytes: what it takes in memory [bytes].
        """
        self.counts["frames"] += 1
        return self.ledger.admit(
            stamp,
            load,
            jpeg,
            arrived_s=time.monotonic(),
            age_s=age_s(stamp.stamp_ns, self._clock_ns()),
            held_bytes=held_bytes,
        )

    def keep_limits(self, depth: int, most_bytes: int) -> None:
        """Drop the oldest waiting frames where more wait than may; as ``settle``."""
        for frame in self.ledger.too_many(depth, most_bytes):
            self.drop(frame, DropReason.BUSY, "the robot is busy: newer frames are waiting")

    @property
    def oldest_epoch(self) -> int:
        """The oldest epoch that a frame still needs; ``lock`` is held."""
        return self.ledger.oldest_epoch(self._plans.plan.epoch)

    def next_frame(self) -> Frame | None:
        """What to compute next, if anything; ``lock`` is held."""
        if self.is_alone:
            return self.ledger.next_to_finish()
        return self.ledger.next_to_compute(MAX_SENDING, MAX_AWAY, hedges=self.hedges)

    def wait(self) -> None:
        """Wait until something may be to be computed, or is overdue; ``lock`` is held."""
        self._looks_at_s = self.ledger.next_deadline_s()
        wait_s = self._looks_at_s - time.monotonic()
        self.lock.wait(None if wait_s == math.inf else max(0.0, wait_s))

    def wake(self) -> None:
        """Wake the compute thread if there is something for it to do; ``lock`` is held."""
        due = self.ledger.next_deadline_s() < self._looks_at_s
        if due or not self.is_open or self.next_frame() is not None:
            self.lock.notify_all()

    def strand(self, frame: Frame) -> None:
        """Leave to the robot what was to be the server's; ``lock`` is held."""
        frame.phase = Phase.STRANDED
        self.wake()

    def strand_all(self) -> None:
        """Take back everything that the server has; ``lock`` is held."""
        self.counts["stranded"] += len(self.ledger.strand_all())
        self.wake()

    def settle(self, frame: Frame, result: Result) -> None:
        """Enter a frame's answer; ``lock`` is held, and ``flush`` must follow once it is not."""
        self._outbox.put(self.ledger.finish(frame, result))
        self.wake()  # there is room for one more on the link
        self._plans.drop_before(self.oldest_epoch)

    def drop(self, frame: Frame, why: DropReason, reason: str) -> None:
        """Answer a frame with nothing but the reason for it; as ``settle``.

        Args:
            frame: in flight.
            why: the kind of reason.
            reason: in one line.
        """
        self.settle(
            frame,
            Result(
                frame.stamp,
                frame.sequence,
                frame.epoch,
                status=Status.DROPPED,
                drop_reason=why,
                reason=reason,
            ),
        )

    def flush(self) -> None:
        """Hand on, in order, what has its answer; ``lock`` is not held."""
        self._outbox.flush()

    def error(self, what: str) -> None:
        """Log and count the exception that is being handled; ``lock`` is not held."""
        _log.exception(what)
        with self.lock:
            self.counts["errors"] += 1

    def _count(self, frame: Frame) -> None:
        answer = frame.result
        assert answer is not None
        if answer.status is Status.DROPPED:
            self.counts["dropped"] += 1
            self._drops[answer.drop_reason] += 1
            if answer.drop_reason is DropReason.UNREADABLE:
                self.unreadable = answer.reason
        else:
            self.counts[answer.finished_by] += 1
            self.unreadable = ""

    def _hand_on(self, frame: Frame) -> None:
        answer = frame.result
        assert answer is not None
        response_s = frame.age_s + time.monotonic() - frame.arrived_s
        try:
            self._send_result(replace(answer, age_s=frame.age_s, response_s=response_s), frame.load)
        except Exception:
            self.error(f"the result of frame {answer.sequence} could not be handed on")
            self._count_unpublished(answer)

    def _count_unpublished(self, answer: Result) -> None:
        with self.lock:
            if answer.status is Status.DROPPED:
                self._drops[answer.drop_reason] -= 1
            else:
                self.counts[answer.finished_by] -= 1
                self.counts["dropped"] += 1
            self._drops[DropReason.UNPUBLISHED] += 1
