"""What the head knows of its server, and what it does by it with the frames in flight."""

from __future__ import annotations

import logging
import math

from codesign_ros.runtime.head.answer_times import AnswerTimes
from codesign_ros.runtime.head.book import FrameBook
from codesign_ros.runtime.head.judgement import Judgement
from codesign_ros.runtime.head.ledger import Frame
from codesign_ros.runtime.head.probation import Beaten, BeatenFrames
from codesign_ros.runtime.head.trials import PATIENCE_S, Trials
from codesign_ros.runtime.stalls import Stalls
from codesign_ros.types.plan import Plan

_log = logging.getLogger(__name__)

# A server that says nothing at all for so long is gone [s]; sooner where an answer is overdue: then
# it is so long at least, or twice what an answer may take.
_SILENCE_S, _DOUBT_S = 2.0, 0.5
# While the robot relies on the server, probes are so far apart [s]; alone, it wants to know sooner.
_PROBES_S = 0.45
# Without a look at the server for so long the robot stood still itself [s].
_STALL_S = 1.0
# When a server that was left is back, the rate of the link is learned anew before the first trial,
# for so long at most. Where it says that a frame takes so many times what it may, the planner has
# so long for another plan before a trial takes what little there is [s].
_LEARN_S, _HOPELESS, _NEW_PLAN_S = 1.5, 2.0, 2.0
# Weight of the newest frame in the mean of what the robot takes for one.
_OWN_WEIGHT = 1 / 8


class ServerWatch:
    """Follows questions and answers, and has the robot compute alone where the server is no help.

    That is while an answer is overdue and nothing else comes, and from when the server is judged to
    be gone. What the robot computes then may still be answered by the server first.

    A server that was left must answer small probes for a while, and then one as large as a few
    frames in hardly more time than one has: where the link has become thin, only that one shows it,
    for a small one passes in the burst that a link lets through after a pause.

    Where its first answer shows that it has started anew, it was gone for that, whatever the link
    is like: then the first answer is enough for a trial.

    One that was returned to is on probation for a while: what it has is computed on the robot as
    well, where that has nothing else to do, so that on a link that comes and goes no frame waits
    for an answer that does not come.

    A robot may be moved from one server to another: what was learned of the one says nothing of the
    other, nor do answers that still come from it.

    Times are of any one steady clock [s]. The lock of the book of frames is held at all calls.

    Args:
        book: the frames in flight.
    """

    def __init__(self, book: FrameBook) -> None:
        self._book = book
        # Who it is, and the number of its start as its answers have it.
        self._tail, self._session = "", 0
        self._judgement = Judgement()
        self._answer_times = AnswerTimes()
        self._beaten = BeatenFrames()
        self._epoch = 0
        # What the server does for a frame; as long as it is the same, so is the time of answers.
        self._work: tuple[object, ...] = ()
        self._probed_s = -math.inf
        # Size of the newest frame on the link [bytes].
        self._frame_bytes = 0
        self._trials = Trials()
        # The link may be another since the server was left; its rate is learned, until when [s].
        self._is_link_new = self._learns = False
        # It was spared that, for the server had started anew; a trial that fails says otherwise.
        self._is_spared = False
        self._learn_until_s = -math.inf
        self._stalls = Stalls(_STALL_S)
        # The last reason for which the log says that the robot is alone.
        self._said = ""

    @property
    def helps(self) -> bool:
        """Whether new frames go to the server as the plan says."""
        return not self._book.is_alone

    @property
    def relies(self) -> bool:
        """Whether they do, or it is only in doubt since a moment ago."""
        return self._judgement.relies

    @property
    def reason(self) -> str:
        """Why the robot is on its own; empty while it relies on the server."""
        return self._judgement.reason

    @property
    def usual_s(self) -> float:
        """How long answers usually take [s]."""
        return self._answer_times.usual_s

    def follow(self, plan: Plan, now_s: float) -> None:
        """Note the plan in force: its answers take as long as it says until they show.

        Where there is a server in it, that has just got it ready. One that had gone, as it or the
        middleware had said, is relied on at once, any other as soon as its answers show that it is
        there, however often it had gone before.
        """
        if plan.tail and self._tail not in ("", plan.tail):
            self._begin(plan.tail, now_s)
        self._tail = plan.tail or self._tail
        self._epoch = plan.epoch
        work = plan.cut, plan.codec, plan.tail_structure, plan.precision, plan.served_by
        if plan.server_available and work != self._work:
            self._work = work
            self._answer_times.begin(plan.link_s + plan.tail_s)
            # What its frames need shows with a trial of their size, not of those before.
            self._frame_bytes = round(plan.payload_bytes) or self._frame_bytes
            self._trials = Trials()
        if plan.server_available:
            self._judgement.renew()
        if plan.server_available and self._judgement.is_certain:
            self._judgement.return_(now_s)
            self._follow(now_s)

    def _begin(self, tail: str, now_s: float) -> None:
        """Begin anew with another server."""
        if self._said:
            _log.info("the robot has another server now: %s", tail)
        self._judgement, self._session = Judgement(), 0
        self._probed_s = -math.inf
        self._trials, self._said = Trials(), ""
        self._beaten.clear()
        self._follow(now_s)

    def asked(self, now_s: float) -> None:
        """Note that something was sent to which an answer must come."""
        self._judgement.asked(now_s)

    def sent(self, frame: Frame) -> None:
        """Note that a frame was sent, and set from when on its answer is overdue."""
        self._judgement.asked(frame.sent_s)
        self._frame_bytes = frame.sent_bytes
        times = self._answer_times
        limit_s = math.inf if times.limit_s is None else times.limit_s
        due_s = max(frame.deadline_s, frame.sent_s + times.usual_s)
        frame.deadline_s = min(due_s, frame.sent_s + limit_s)

    def answered(self, now_s: float, tail: str, session: int = 0) -> None:
        """Note an answer of any kind, from whom, and the number of that one's start."""
        if self._tail not in ("", tail):
            return
        if session != self._session and self._session and not self.relies:
            self._judgement.explain()
            self._is_link_new, self._is_spared = False, True
        self._session = session
        self._judgement.answered(now_s, is_link_busy=self._trials.is_out)
        if self._judgement.is_back(now_s) and not self._frame_bytes:
            self._judgement.return_(now_s)
        self._follow(now_s)

    def took(self, frame: Frame, now_s: float) -> None:
        """Note the answer to a frame that has none yet."""
        self._took(frame, now_s)

    def late(self, sequence: int, now_s: float) -> None:
        """Note the answer to a frame that the robot has answered, or given up, before."""
        beaten = self._beaten.take(sequence)
        if beaten is not None:
            self._took(beaten, now_s)
        else:
            self._late()

    def _took(self, frame: Frame | Beaten, now_s: float) -> None:
        if frame.tail != self._tail:
            return
        is_late = now_s > frame.deadline_s
        if not is_late:
            self._judgement.in_time()
        if frame.epoch != self._epoch:
            return
        if is_late:
            self._late()
        else:
            self._answer_times.add(now_s - frame.sent_s)

    def _late(self) -> None:
        """Note an answer that was overdue."""
        if self.relies:  # else it was an outage, and not given up too early
            self._answer_times.late()

    def beaten(self, frame: Frame) -> None:
        """Note that the robot has answered a frame which the server has, and may answer too."""
        if self._book.hedges:
            self._beaten.add(frame)

    def own_time(self, own_s: float) -> None:
        """Note what the robot takes to compute a frame alone [s]."""
        known_s = self._answer_times.own_s or own_s
        self._answer_times.own_s = known_s + _OWN_WEIGHT * (own_s - known_s)

    def left(self, reason: str, now_s: float) -> None:
        """Note that there is no server to rely on, for a reason that is certain, one line."""
        self._judgement.leave(reason)
        self._follow(now_s)

    def strand_overdue(self, now_s: float) -> None:
        """Leave to the robot what the server has had for too long."""
        overdue = self._book.ledger.strand_overdue(now_s)
        self._book.counts["overdue"] += len(overdue)
        for frame in overdue:
            if frame.is_asked and frame.tail == self._tail:
                self._judgement.overdue(now_s, frame.sent_s)
        for beaten in self._beaten.take_overdue(now_s):
            if beaten.tail == self._tail:
                self._judgement.overdue(now_s, beaten.sent_s)
        self._follow(now_s)

    def is_probe_due(self, now_s: float) -> bool:
        """Whether it is time for the next probes; they are then taken to be sent."""
        if now_s < self._probed_s + _PROBES_S and self.helps:
            return False
        self._probed_s = now_s
        return True

    def check(self, now_s: float, on_link_s: float) -> None:
        """Look whether an answer is overdue, or the server has been silent for too long.

        To be called at least twice a second; where it was not, the robot stood still itself.

        Args:
            now_s: the time [s].
            on_link_s: how long the link needs for what is on its way [s].
        """
        if missed_s := self._stalls.missed_s(now_s):
            self._judgement.excuse(missed_s, now_s)
        self._stalls.done(now_s)
        self.strand_overdue(now_s)
        limit_s = PATIENCE_S if self._trials.is_out else _SILENCE_S
        if self._judgement.doubts and (usual_s := self._answer_times.limit_s) is not None:
            limit_s = min(limit_s, max(_DOUBT_S, 2 * usual_s))
        self._judgement.check(now_s, limit_s + 2 * on_link_s)
        self._follow(now_s)

    # Trials

    def begins_to_return(self, now_s: float) -> bool:
        """Whether the rate of the link should be learned anew now; once after each outage."""
        if not (self._is_link_new and self._judgement.is_back(now_s)):
            return False
        self._is_link_new, self._learns = False, True
        self._learn_until_s = now_s + _LEARN_S
        return True

    def learned(self, now_s: float, rate_bps: float, *, is_sure: bool) -> bool:
        """Note what is known of the rate that is being learned anew.

        Args:
            now_s: the time [s].
            rate_bps: the rate [bit/s].
            is_sure: it needs no more probes.

        Returns:
            Whether that is enough now.
        """
        if not self._learns or not (is_sure or now_s >= self._learn_until_s):
            return False
        self._learns = False
        limit_s = self._answer_times.limit_s
        if limit_s is not None and 8 * self._frame_bytes > _HOPELESS * limit_s * rate_bps:
            self._trials.hold(now_s + _NEW_PLAN_S)
        return True

    def trial_bytes(self, now_s: float, burst_bytes: float = 0.0) -> int:
        """Payload of the trial that should be sent now [bytes]; 0 = none.

        Args:
            now_s: the time [s].
            burst_bytes: what the link lets through at once after a pause [bytes]; 0 = not known.
        """
        if self._learns or not self._judgement.is_back(now_s):
            return 0
        was_out = self._trials.is_out
        size = self._trials.payload_bytes(now_s, self._frame_bytes, burst_bytes)
        if was_out and not self._trials.is_out and self._failed():
            return 0
        return size

    def tried(self, number: int, payload_bytes: int, now_s: float) -> None:
        """Note that a trial of that number is sent."""
        self._trials.sent(number, payload_bytes, now_s)

    def probe_answered(self, number: int, now_s: float) -> None:
        """Note the answer to a probe, which may be the trial."""
        times, was_out = self._answer_times, self._trials.is_out
        if self._trials.passes(number, now_s, self._frame_bytes, times.usual_s, times.limit_s):
            if self._judgement.is_back(now_s):
                self._judgement.return_(now_s)
        elif was_out and not self._trials.is_out:
            self._failed()
        self._follow(now_s)

    def _failed(self) -> bool:
        """Note that a trial failed; whether the link's rate, not learned anew yet, is now."""
        is_new, self._is_spared = self._is_spared, False
        self._is_link_new |= is_new
        return is_new

    def _follow(self, now_s: float) -> None:
        self._book.is_alone = self._judgement.doubts or not self.relies
        self._book.hedges = self._judgement.is_on_probation(now_s)
        if self._book.is_alone:
            self._book.wake()
        reason = self.reason
        if reason == self._said:
            return
        self._said, self._is_spared = reason, False
        if not reason:
            _log.info("the server answers again: frames go there as the plan says")
            return
        _log.warning("the robot computes alone: %s", reason)
        self._is_link_new = not self._judgement.is_certain
        self._book.strand_all()
