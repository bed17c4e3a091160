"""What the head knows of its server, and what it does by it with the frames in flight."""

from __future__ import annotations

import logging
import math

from codesign_ros.runtime.head.answer_times import AnswerTimes
from codesign_ros.runtime.head.book import FrameBook
from codesign_ros.runtime.head.judgement import Judgement

_log = logging.getLogger(__name__)

# A server that says nothing at all for so long is gone [s].
_SILENCE_S = 2.0
# While the robot relies on the server, probes are so far apart [s]; alone, it wants to know sooner.
_PROBES_S = 0.45


class ServerWatch:
    """Follows questions and answers; takes all frames back when the server is judged to be gone.

    A robot may be moved from one server to another: what was learned of the one says nothing of the
    other, nor do answers that still come from it.

    Times are of any one steady clock [s]. The lock of the book of frames is held at all calls.

    Args:
        book: the frames in flight.
    """

    def __init__(self, book: FrameBook) -> None:
        self._book = book
        self._tail = ""
        self._judgement = Judgement()
        self._answer_times = AnswerTimes()
        self._probed_s = -math.inf
        # The last reason for which the log says that the robot is alone.
        self._said = ""

    def follow(self, tail: str) -> None:
        """Note which tail the plan in force has, if any; another than before is a new beginning."""
        if not tail or tail == self._tail:
            return
        if self._tail:
            self._judgement = Judgement()
            self._answer_times = AnswerTimes()
            self._probed_s = -math.inf
            if self._said:
                _log.info("the robot has another server now: %s", tail)
            self._said = ""
        self._tail = tail

    @property
    def relies(self) -> bool:
        """Whether frames go to the server as the plan says."""
        return self._judgement.relies

    @property
    def reason(self) -> str:
        """Why the robot is on its own; empty while it relies on the server."""
        return self._judgement.reason

    @property
    def limit_s(self) -> float:
        """How long an answer may take by those that came before [s]; infinite before the first."""
        limit_s = self._answer_times.limit_s
        return math.inf if limit_s is None else limit_s

    def asked(self, now_s: float) -> None:
        """Note that something was sent to which an answer must come."""
        self._judgement.asked(now_s)

    def answered(self, tail: str, now_s: float) -> None:
        """Note an answer of any kind, and from whom."""
        if self._tail and tail != self._tail:
            return
        self._judgement.answered(now_s)
        self._follow()

    def took(self, tail: str, answer_s: float) -> None:
        """Note how long after its embedding was sent a frame's answer came, and from whom [s]."""
        if tail != self._tail:
            return
        self._answer_times.add(answer_s)

    def late(self) -> None:
        """Note the answer to a frame that was given up."""
        if self.relies:  # else it was an outage, and not given up too early
            self._answer_times.late()

    def deserted(self, now_s: float) -> None:
        """Note that the middleware knows of nobody who takes embeddings."""
        self._judgement.deserted(now_s)
        self._follow()

    def strand_overdue(self, now_s: float) -> None:
        """Take back what the server has had for too long."""
        overdue = self._book.ledger.strand_overdue(now_s)
        self._book.counts["overdue"] += len(overdue)
        for frame in overdue:
            if frame.tail == self._tail:
                self._judgement.overdue(now_s)
        self._follow()

    def is_probe_due(self, now_s: float) -> bool:
        """Whether it is time for the next probes; they are then taken to be sent."""
        if now_s < self._probed_s + _PROBES_S and self.relies:
            return False
        self._probed_s = now_s
        return True

    def check(self, now_s: float, on_link_s: float) -> None:
        """Look whether the server has been silent for too long.

        Args:
            now_s: the time [s].
            on_link_s: how long the link needs for what is on its way [s].
        """
        self._judgement.check(now_s, _SILENCE_S + 2 * on_link_s)
        self._follow()

    def _follow(self) -> None:
        reason = self.reason
        if reason == self._said:
            return
        self._said = reason
        if not reason:
            _log.info("the server answers again: frames go there as the plan says")
            return
        _log.warning("the robot computes alone: %s", reason)
        self._book.strand_all()
