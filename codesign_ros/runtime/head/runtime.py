"""The robot's side: frames in, exactly one answer for each out, in order, server or not."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.pixels.boxes import Selection, to_frame
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.runtime.answers import Answer
from codesign_ros.runtime.device import StageMedians
from codesign_ros.runtime.emulation import stretched
from codesign_ros.runtime.engines.pool import EnginePool
from codesign_ros.runtime.epochs import EpochTable
from codesign_ros.runtime.head.answer_times import AnswerTimes
from codesign_ros.runtime.head.judgement import Judgement
from codesign_ros.runtime.head.ledger import Frame, FrameLedger, Outbox, Phase
from codesign_ros.runtime.head.stage_medians import RunningTimes
from codesign_ros.runtime.head.uplink import Uplink
from codesign_ros.runtime.messages import (
    Embedding,
    EmbeddingKind,
    Result,
    Stamp,
    Status,
    TailAnswer,
    TailStatus,
)
from codesign_ros.runtime.stages import (
    HeadOutput,
    HeadStage,
    LeasedStage,
    check_plan,
    head_key,
    is_sendable,
)
from codesign_ros.types import CodesignError, Plan, unexpected

_log = logging.getLogger(__name__)

# Embeddings that wait behind the one on the link before the head stops computing more: one keeps
# the link busy, others would only grow old there.
_MAX_SENDING = 1

# Frames on the link or at the tail before the head stops computing more: as many as the middleware
# keeps for the link (nodes/interface/qos.py); one more would push out the oldest, half sent.
_MAX_AWAY = 4

# Weight of the newest frame in the running mean of frame sizes.
_MEAN_WEIGHT = 0.1

# A server that says nothing at all for so long is gone [s].
_SILENCE_S = 2.0
# While the robot relies on the server, probes are so far apart [s]; alone, it wants to know sooner.
_PROBES_S = 0.45

_CLOSED = "the head is not active any more"


@dataclass
class HeadSettings:
    """What can be set on a head while it runs.

    Attributes:
        queue_depth: frames that may wait for the head; when one more comes, the oldest is dropped.
        deadline_s: how long an answer may take at most, from when its embedding is ready, on top of
            twice the time that the link needs for it by its measured rate [s]. The usual time of
            answers sets a shorter one.
        slowdown: emulated: the device is so many times slower than this machine; 0 or 1 = off.
        selection: which boxes of a detector are answers.
    """

    queue_depth: int = 3
    deadline_s: float = 1.0
    slowdown: float = 0.0
    selection: Selection = field(default_factory=Selection)


@dataclass(frozen=True)
class _Stages:
    """What runs under a plan: its head, and the whole network where the server does not answer."""

    following: LeasedStage[HeadStage]
    standby: LeasedStage[HeadStage]

    def release(self) -> None:
        self.following.release()
        self.standby.release()


class HeadRuntime:
    """Runs heads by epoch and keeps the book of frames.

    Two threads work: one computes, one (the uplink) sends. The public methods may be called from
    any thread. What nobody foresaw costs one frame, never a thread: it is logged, counted under
    ``errors``, and named as the reason for which the frame was dropped.

    Args:
        bundle: the network.
        pool: leases its engines.
        settings: see ``HeadSettings``; may be changed while running.
        send_embedding: hands an embedding to the middleware.
        send_result: hands a frame's answer to the users, and what gives the frame's pixels, (h, w,
            3) uint8 RGB, to whoever wants to see them; called once a frame, in frame order, from
            one thread at a time.
        clock_ns: the robot's clock, on which frames are stamped [ns].
        emulated_bps: see ``Uplink``.
    """

    def __init__(
        self,
        bundle: Bundle,
        pool: EnginePool,
        settings: HeadSettings,
        *,
        send_embedding: Callable[[Embedding], None],
        send_result: Callable[[Result, Callable[[], np.ndarray]], None],
        clock_ns: Callable[[], int],
        emulated_bps: float = 0.0,
    ) -> None:
        self.settings = settings
        self.counts: Counter[str] = Counter()
        # Mean size of the camera's frames where cut 0 can send them as they are [bytes]; else 0.
        self.sendable_bytes = 0.0
        self._bundle = bundle
        self._send_result = send_result
        self._clock_ns = clock_ns
        self._pool = pool
        nothing = Plan(cut=bundle.last_cut, model_id=bundle.model_id, reason="no plan yet")
        self._epochs: EpochTable[_Stages] = EpochTable(
            nothing, self._stages(nothing), lambda stages: stages.release()
        )
        self._ledger = FrameLedger()
        self._judgement = Judgement()
        self._answer_times = AnswerTimes()
        self._probed_s = -math.inf
        # The last reason for which the log says that the robot is alone.
        self._said = ""
        self._times = RunningTimes()
        self._work = threading.Condition()
        # When the last frame was computed; None = there was none to go on with [s].
        self._computed_s: float | None = None
        self._outbox = Outbox(self._hand_on)
        self._running = True
        # When the compute thread looks by itself what there is to do; earlier it must be woken.
        self._looks_at_s = 0.0
        self.uplink = Uplink(send_embedding, self._not_sent, emulated_bps)
        self._thread = threading.Thread(target=self._compute, name="head-compute", daemon=True)
        self._thread.start()

    # Plans

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        with self._work:
            return self._epochs.plan

    def prepare(self, plan: Plan) -> None:
        """Build and warm the head of a plan beside the running one.

        Raises:
            CodesignError: the plan is for another network, not newer, or cannot be built; or the
                head was closed meanwhile.
        """
        check_plan(plan, self._bundle)
        stages = self._stages(plan)
        try:
            with self._work:
                if not self._running:
                    raise CodesignError(_CLOSED)
                self._epochs.prepare(plan, stages)
        except CodesignError:
            stages.release()
            raise

    def _stages(self, plan: Plan) -> _Stages:
        following = self._stage(plan)
        try:
            return _Stages(following, self._stage(plan.standby(self._bundle.last_cut)))
        except CodesignError:
            following.release()
            raise

    def _stage(self, plan: Plan) -> LeasedStage[HeadStage]:
        lease = self._pool.lease(head_key(plan)) if plan.cut > 0 else None
        engine = lease.thing if lease else None
        stage = HeadStage(self._bundle, plan, engine, lambda: self.settings.selection)
        return LeasedStage(stage, lease)

    def commit(self, epoch: int) -> None:
        """Put a prepared plan in force for every frame that starts from now on.

        Raises:
            CodesignError: the epoch was not prepared.
        """
        with self._work:
            plan = self._epochs.commit(epoch)
            if not plan.server_available:
                self.counts["stranded"] += len(self._ledger.strand_all())
            self._epochs.drop_before(self._ledger.oldest_epoch(epoch))
            self._wake()

    @property
    def alone(self) -> str:
        """Why the robot does not rely on the server that its plan has; empty while it does."""
        with self._work:
            return self._judgement.reason if self._epochs.plan.server_available else ""

    @property
    def running(self) -> StageMedians:
        """What the plan in force takes, measured."""
        with self._work:
            return self._times.running

    # Frames and answers

    def on_frame(
        self, stamp: Stamp, load: Callable[[], np.ndarray], jpeg: bytes | None = None
    ) -> None:
        """Take a frame.

        Args:
            stamp: its stamp.
            load: gives its pixels (h, w, 3) uint8 RGB, or raises CodesignError.
            jpeg: the frame as the camera compressed it, if it did.
        """
        sendable = jpeg is not None and is_sendable(jpeg, self._bundle.input)
        with self._work:
            frame = self._ledger.admit(stamp, load, jpeg if sendable else None)
            self._note_size(len(jpeg) if jpeg is not None and sendable else 0)
            self.counts["frames"] += 1
            if not self._running:
                self._settle(frame, _dropped(frame, _CLOSED))
            waiting = self._ledger.in_phase(Phase.WAITING)
            for late in waiting[: max(0, len(waiting) - self.settings.queue_depth)]:
                self._settle(late, _dropped(late, "the robot is busy: newer frames are waiting"))
            leased = self._start(frame) if self._can_forward(frame) else None
            self._wake()
        if leased is not None:
            self._work_on(frame, leased)
        self._outbox.flush()

    def on_answer(self, answer: TailAnswer) -> None:
        """Take what the tail says about a frame or a probe."""
        now_s = time.monotonic()
        is_probe = answer.status is TailStatus.PROBE
        kind = EmbeddingKind.PROBE if is_probe else EmbeddingKind.FRAME
        remote_s = answer.queue_s + answer.decode_s + answer.tail_s
        link = self.uplink.answered(kind, answer.sequence, remote_s)
        with self._work:
            self._judgement.answered(now_s)
            self._follow_judgement()
        if is_probe:
            if self.uplink.learning:
                self._send_probes()
            return
        with self._work:
            frame = self._ledger.find(answer.sequence)
            if frame is None or frame.phase is not Phase.REMOTE or frame.epoch != answer.epoch:
                self.counts["late"] += 1
                if self._judgement.relies:  # else it was an outage, and not given up too early
                    self._answer_times.late()
                return
            if answer.status is not TailStatus.OK:
                self.counts["refused"] += 1
                frame.phase = Phase.STRANDED
                self._wake()
                return
            result = self._result(
                frame,
                answer,
                finished_by="server",
                served_by=answer.served_by,
                link_s=link.total_s,
                queue_s=answer.queue_s,
                decode_s=answer.decode_s,
                tail_s=answer.tail_s,
            )
            if link.total_s > 0:  # else it is not known when it was sent
                self._times.add(result, frame.head_gap_s, now_s, link.waited_s)
                self._answer_times.add(now_s - frame.sent_s)
            self._settle(frame, result)
        self._outbox.flush()

    def probe(self) -> None:
        """Send the probes of the link that are due if a server is there to answer them.

        To be called four times a second. Here the head judges, too, whether the server is still
        there.
        """
        now_s = time.monotonic()
        with self._work:
            plan = self._epochs.plan
            is_soon = now_s < self._probed_s + _PROBES_S
            if not plan.server_available or (is_soon and self._judgement.relies):
                return
            self._probed_s = now_s
            sent_bytes = sum(each.sent_bytes for each in self._ledger.in_phase(Phase.REMOTE))
            self._judgement.check(now_s, _SILENCE_S + 2 * self._on_link_s(sent_bytes))
            self._follow_judgement()
        self._send_probes()

    def _send_probes(self) -> None:
        with self._work:
            plan = self._epochs.plan
            template = self._embedding(Stamp(0), 0, plan, ())
        if plan.server_available and self.uplink.probe(template):
            with self._work:
                self._judgement.asked(time.monotonic())

    def deserted(self) -> None:
        """Note that the middleware knows of nobody who takes embeddings."""
        with self._work:
            if self._epochs.plan.server_available:
                self._judgement.deserted(time.monotonic())
                self._follow_judgement()

    def _follow_judgement(self) -> None:
        """Do as is judged by now; ``_work`` is held."""
        reason = self._judgement.reason
        if reason == self._said:
            return
        self._said = reason
        if not reason:
            _log.info("the server answers again: frames go there as the plan says")
            return
        _log.warning("the robot computes alone: %s", reason)
        self.counts["stranded"] += len(self._ledger.strand_all())
        self._wake()

    @property
    def in_flight(self) -> int:
        """Frames that have arrived and whose answer is not out yet."""
        # In this order: between the two, more may arrive.
        handed_on = self._outbox.handed_on
        with self._work:
            return self.counts["frames"] - handed_on

    def close(self) -> None:
        """Stop; frames in flight, and those that still come, are answered as dropped."""
        with self._work:
            self._running = False
            self._work.notify_all()
        self._thread.join()
        self.uplink.close()
        with self._work:
            for frame in self._ledger.unanswered():
                self._settle(frame, _dropped(frame, _CLOSED))
            self._epochs.close()
        self._outbox.flush()

    # The compute thread

    def _compute(self) -> None:
        # Nothing is kept in a variable here: it would hold on to an old frame until the next one
        # comes.
        while self._compute_next():
            pass

    def _compute_next(self) -> bool:
        """Wait for a frame and compute it; False when the head is closed."""
        with self._work:
            self._strand_overdue()
            while self._running and (frame := self._next_frame()) is None:
                self._looks_at_s = self._ledger.next_deadline_s()
                self._work.wait(self._patience_s())
                self._strand_overdue()
                self._computed_s = None
            if not self._running:
                return False
            assert frame is not None
            falls_back = frame.phase is Phase.STRANDED or self._is_alone
            leased = self._start(frame, falls_back)
        if self._computed_s is not None:
            frame.head_gap_s = time.perf_counter() - self._computed_s
        self._work_on(frame, leased, falls_back)
        return True

    def _strand_overdue(self) -> None:
        """Take back what the server has had for too long; ``_work`` is held."""
        now_s = time.monotonic()
        overdue = self._ledger.strand_overdue(now_s)
        self.counts["overdue"] += len(overdue)
        for _ in overdue:
            self._judgement.overdue(now_s)
        self._follow_judgement()

    @property
    def _is_alone(self) -> bool:
        """Whether the plan is split and not followed, for the server is not relied on."""
        return self._epochs.plan.cut < self._bundle.last_cut and not self._judgement.relies

    def _start(self, frame: Frame, falls_back: bool = False) -> LeasedStage[HeadStage]:
        """Begin with a frame; returns what runs it. ``_work`` is held."""
        if frame.phase is not Phase.STRANDED:
            frame.epoch = self._epochs.plan.epoch
        frame.phase = Phase.COMPUTING
        stages = self._epochs.find(frame.epoch) or self._epochs.stage
        # Its own lease: the epoch may be dropped while this frame is computed.
        return (stages.standby if falls_back else stages.following).again()

    def _work_on(
        self, frame: Frame, leased: LeasedStage[HeadStage], falls_back: bool = False
    ) -> None:
        try:
            self._run(frame, leased.stage, falls_back)
        except CodesignError as error:
            self._finish(frame, _dropped(frame, str(error)))
        except Exception as error:
            self._error(f"frame {frame.sequence} could not be computed")
            self._finish(frame, _dropped(frame, unexpected(error)))
        finally:
            leased.release()

    def _next_frame(self) -> Frame | None:
        return self._ledger.next_to_compute(_MAX_SENDING, _MAX_AWAY)

    def _can_forward(self, frame: Frame) -> bool:
        """Whether a new frame goes to the uplink as it is, at once and in order.

        Nothing is computed then, and waking the compute thread would cost more than the work.
        """
        return (
            self._running
            and frame.jpeg is not None
            and self._epochs.stage.following.stage.sends_jpeg
            and not self._is_alone
            and self.settings.slowdown <= 1
            and self._next_frame() is frame
            and not self._ledger.in_phase(Phase.COMPUTING)
        )

    def _wake(self) -> None:
        """Wake the compute thread if there is something for it to do; ``_work`` is held."""
        due = self._ledger.next_deadline_s() < self._looks_at_s
        if due or not self._running or self._next_frame() is not None:
            self._work.notify_all()

    def _patience_s(self) -> float | None:
        wait_s = self._ledger.next_deadline_s() - time.monotonic()
        return None if wait_s == float("inf") else max(0.0, wait_s)

    def _run(self, frame: Frame, stage: HeadStage, falls_back: bool) -> None:
        start = time.perf_counter()

        def work() -> tuple[np.ndarray | None, HeadOutput]:
            image = frame.image
            if frame.jpeg is not None and stage.sends_jpeg:
                return image, stage.forward(frame.jpeg)
            if image is None:
                pixels = frame.load()
                image = letterbox(pixels, self._bundle.input)
                frame.size = pixels.shape[0], pixels.shape[1]
            return image, stage.run(image)

        image, output = stretched(work, self.settings.slowdown)
        encode_s = output.encode_s * max(1.0, self.settings.slowdown)
        self._computed_s = time.perf_counter()
        head_s = self._computed_s - start - encode_s
        if output.answer is not None:
            finished_by = "fallback" if falls_back else "robot"
            result = self._result(
                frame, output.answer, finished_by=finished_by, head_s=frame.head_s + head_s
            )
            if not falls_back:
                with self._work:
                    self._times.add(result, frame.head_gap_s, time.monotonic())
            self._finish(frame, result)
            return
        with self._work:
            if frame.phase is not Phase.COMPUTING:  # closed meanwhile
                return
            embedding = self._embedding(frame.stamp, frame.sequence, stage.plan, output.encoded)
            payload_bytes = embedding.payload_bytes
            frame.image, frame.head_s, frame.encode_s = image, head_s, encode_s
            # Lost while this frame was computed.
            if not (self._epochs.plan.server_available and self._judgement.relies):
                frame.phase = Phase.STRANDED
                self.counts["stranded"] += 1
                self._wake()
                return
            frame.phase = Phase.SENDING
            limit_s = self.settings.deadline_s + 2 * self._on_link_s(payload_bytes)
            frame.deadline_s = time.monotonic() + limit_s
            self._wake()
        self.uplink.submit(embedding, lambda: self._may_send(frame, payload_bytes))

    def _note_size(self, sendable_bytes: int) -> None:
        """Keep the running mean of sendable JPEGs; a frame that is not sendable ends it."""
        mean = self.sendable_bytes or sendable_bytes
        change = _MEAN_WEIGHT * (sendable_bytes - mean)
        self.sendable_bytes = mean + change if sendable_bytes else 0.0

    def _may_send(self, frame: Frame, payload_bytes: int) -> bool:
        with self._work:
            if frame.phase is not Phase.SENDING:
                return False
            frame.phase = Phase.REMOTE
            frame.sent_bytes, frame.sent_s = payload_bytes, time.monotonic()
            if (limit_s := self._answer_times.limit_s) is not None:
                frame.deadline_s = min(frame.deadline_s, frame.sent_s + limit_s)
            self._judgement.asked(frame.sent_s)
            self._wake()
            return True

    def _not_sent(self, embedding: Embedding) -> None:
        with self._work:
            self.counts["errors"] += 1
            frame = self._ledger.find(embedding.sequence)
            is_frame = embedding.kind is EmbeddingKind.FRAME
            if is_frame and frame is not None and frame.phase is Phase.REMOTE:
                frame.phase = Phase.STRANDED
                frame.sent_bytes = 0
                self._wake()

    def _on_link_s(self, payload_bytes: int) -> float:
        """How long the link needs for so much by its measured rate [s]; 0 = not known."""
        rate_bps = self.uplink.bandwidth_bps
        return 8 * payload_bytes / rate_bps if rate_bps else 0.0

    # Answers

    def _result(
        self, frame: Frame, answer: Answer, *, head_s: float | None = None, **said: Any
    ) -> Result:
        """What users get: whoever computed it, its boxes are in the network's input until here.

        Args:
            frame: what it is about.
            answer: what the network says of it.
            head_s: where more was computed than is noted in the frame [s].
            said: more fields of the result.
        """
        height, width = frame.size or (self._bundle.input.height, self._bundle.input.width)
        boxes = answer.detections[: self.settings.selection.max_detections]
        return Result(
            stamp=frame.stamp,
            sequence=frame.sequence,
            epoch=frame.epoch,
            label=answer.label,
            score=answer.score,
            class_names=answer.class_names,
            class_scores=answer.class_scores,
            detections=tuple(to_frame(boxes, height, width, self._bundle.input)),
            payload_bytes=frame.sent_bytes,
            head_s=frame.head_s if head_s is None else head_s,
            encode_s=frame.encode_s,
            **said,
        )

    def _embedding(self, stamp: Stamp, sequence: int, plan: Plan, encoded: tuple) -> Embedding:
        return Embedding(
            stamp=stamp,
            sequence=sequence,
            epoch=plan.epoch,
            oldest_epoch=self._ledger.oldest_epoch(plan.epoch),
            model_id=self._bundle.model_id,
            cut=plan.cut,
            tensors=encoded,
        )

    def _finish(self, frame: Frame, result: Result) -> None:
        """Answer a frame that a thread of our own has in hand."""
        with self._work:
            self._settle(frame, result)
        self._outbox.flush()

    def _settle(self, frame: Frame, result: Result) -> None:
        """Enter a frame's answer; ``_work`` is held, and the outbox is flushed once it is not."""
        self._outbox.put(self._ledger.finish(frame, result))
        self._wake()  # there is room for one more on the link
        self._epochs.drop_before(self._ledger.oldest_epoch(self._epochs.plan.epoch))

    def _hand_on(self, frame: Frame) -> None:
        answer = frame.result
        assert answer is not None
        with self._work:
            self.counts["dropped" if answer.status is Status.DROPPED else answer.finished_by] += 1
        try:
            response_s = (self._clock_ns() - answer.stamp.stamp_ns) / 1e9
            self._send_result(replace(answer, response_s=response_s), frame.load)
        except Exception:
            self._error(f"the result of frame {answer.sequence} could not be handed on")

    def _error(self, what: str) -> None:
        """Note the exception that is being handled."""
        _log.exception(what)
        with self._work:
            self.counts["errors"] += 1


def _dropped(frame: Frame, reason: str) -> Result:
    return Result(frame.stamp, frame.sequence, frame.epoch, status=Status.DROPPED, reason=reason)
