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

from codesign_ros.runtime.head.ledger import Frame, FrameLedger, Outbox, Phase
from codesign_ros.runtime.head.plans import HeadPlans
from codesign_ros.runtime.messages import Result, Stamp, Status

_log = logging.getLogger(__name__)

# Embeddings that wait behind the one on the link before the head stops computing more: one keeps
# the link busy, others would only grow old there.
_MAX_SENDING = 1

# Frames on the link or at the tail before the head stops computing more: as many as the middleware
# keeps for the link (nodes/interface/qos.py); one more would push out the oldest, half sent.
_MAX_AWAY = 4

# A frame whose stamp is older than this was stamped by another clock, or replayed [s].
_OLDEST_S = 10.0


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
        self._plans = plans
        self._send_result = send_result
        self._clock_ns = clock_ns
        self._outbox = Outbox(self._hand_on)
        # When the compute thread looks by itself what there is to do; earlier it must be woken [s].
        self._looks_at_s = 0.0

    @property
    def in_flight(self) -> int:
        """Frames that have arrived and whose answer is not out yet."""
        # In this order: between the two, more may arrive.
        handed_on = self._outbox.handed_on
        with self.lock:
            return self.counts["frames"] - handed_on

    @property
    def oldest_epoch(self) -> int:
        """The oldest epoch that a frame still needs; ``lock`` is held."""
        return self.ledger.oldest_epoch(self._plans.plan.epoch)

    def due_s(self, stamp: Stamp, deadline_s: float) -> float:
        """When the answer to a frame that has just come is due, on the monotonic clock [s].

        Its age counts where the stamp may be right: it is not from the future, nor so old that
        another clock must have made it.

        Args:
            stamp: the frame's.
            deadline_s: how long after its stamp the answer may come [s].
        """
        age_s = (self._clock_ns() - stamp.stamp_ns) / 1e9
        is_likely = 0 <= age_s <= _OLDEST_S
        return time.monotonic() - (age_s if is_likely else 0.0) + deadline_s

    def next_frame(self) -> Frame | None:
        """What to compute next, if anything; ``lock`` is held."""
        if self.is_alone:
            return self.ledger.next_to_finish()
        return self.ledger.next_to_compute(_MAX_SENDING, _MAX_AWAY)

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

    def drop(self, frame: Frame, reason: str) -> None:
        """Answer a frame with nothing but the reason for it; as ``settle``."""
        self.settle(
            frame,
            Result(frame.stamp, frame.sequence, frame.epoch, status=Status.DROPPED, reason=reason),
        )

    def flush(self) -> None:
        """Hand on, in order, what has its answer; ``lock`` is not held."""
        self._outbox.flush()

    def error(self, what: str) -> None:
        """Log and count the exception that is being handled; ``lock`` is not held."""
        _log.exception(what)
        with self.lock:
            self.counts["errors"] += 1

    def _hand_on(self, frame: Frame) -> None:
        answer = frame.result
        assert answer is not None
        with self.lock:
            self.counts["dropped" if answer.status is Status.DROPPED else answer.finished_by] += 1
        try:
            response_s = (self._clock_ns() - answer.stamp.stamp_ns) / 1e9
            self._send_result(replace(answer, response_s=response_s), frame.load)
        except Exception:
            self.error(f"the result of frame {answer.sequence} could not be handed on")
