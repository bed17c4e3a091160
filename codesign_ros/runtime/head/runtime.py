"""The robot's side: frames in, exactly one answer for each out, in order, server or not."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.pixels.boxes import Selection, to_frame
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.runtime.answers import Answer, answer_of
from codesign_ros.runtime.device import StageMedians
from codesign_ros.runtime.emulation import stretched
from codesign_ros.runtime.engines.pool import EnginePool
from codesign_ros.runtime.epochs import EpochTable
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

_CLOSED = "the head is not active any more"


@dataclass
class HeadSettings:
    """What can be set on a head while it runs.

    Attributes:
        queue_depth: frames that may wait for the head; when one more comes, the oldest is dropped.
        deadline_s: how long an embedding may wait for the link, and then how long the answer may
            take, each on top of twice the time that the link needs for it by its measured rate [s].
        slowdown: emulated: the device is so many times slower than this machine; 0 or 1 = off.
        selection: which boxes of a detector are answers.
    """

    queue_depth: int = 3
    deadline_s: float = 1.0
    slowdown: float = 0.0
    selection: Selection = field(default_factory=Selection)


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
        alone = Plan(cut=bundle.last_cut, model_id=bundle.model_id, reason="no plan yet")
        # Never dropped: with it every frame can be finished on the robot.
        self._whole = self._stage(alone)
        self._epochs: EpochTable[LeasedStage[HeadStage]] = EpochTable(
            alone, self._whole.again(), lambda leased: leased.release()
        )
        self._ledger = FrameLedger()
        self._times = RunningTimes()
        self._work = threading.Condition()
        # When the last frame was computed; None = there was none to go on with [s].
        self._computed_s: float | None = None
        self._outbox = Outbox(self._hand_on)
        self._running = True
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
        leased = self._stage(plan)
        try:
            with self._work:
                if not self._running:
                    raise CodesignError(_CLOSED)
                self._epochs.prepare(plan, leased)
        except CodesignError:
            leased.release()
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
            self._work.notify_all()

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
            self._work.notify_all()
        self._outbox.flush()

    def on_answer(self, answer: TailAnswer) -> None:
        """Take what the tail says about a frame or a probe."""
        is_probe = answer.status is TailStatus.PROBE
        kind = EmbeddingKind.PROBE if is_probe else EmbeddingKind.FRAME
        remote_s = answer.queue_s + answer.decode_s + answer.tail_s
        link = self.uplink.answered(kind, answer.sequence, remote_s)
        if is_probe:
            if self.uplink.learning:
                self.probe()
            return
        with self._work:
            frame = self._ledger.find(answer.sequence)
            if frame is None or frame.phase is not Phase.REMOTE or frame.epoch != answer.epoch:
                self.counts["late"] += 1
                return
            if answer.status is not TailStatus.OK:
                self.counts["refused"] += 1
                frame.phase = Phase.STRANDED
                self._work.notify_all()
                return
            result = replace(
                self._result(frame, answer_of(answer), "server"),
                served_by=answer.served_by,
                link_s=link.total_s,
                queue_s=answer.queue_s,
                decode_s=answer.decode_s,
                tail_s=answer.tail_s,
            )
            if link.total_s > 0:  # else it is not known when it was sent
                alone = replace(result, link_s=link.total_s - link.waited_s)
                self._times.add(alone, frame.head_gap_s, time.monotonic())
            self._settle(frame, result)
        self._outbox.flush()

    def probe(self) -> None:
        """Send a probe of the link if a server is there to answer it."""
        with self._work:
            plan = self._epochs.plan
            if not plan.server_available:
                return
            template = self._embedding(Stamp(0), 0, plan, ())
        self.uplink.probe(template)

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
        self._whole.release()
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
            while self._running and (frame := self._next_frame()) is None:
                self._work.wait(self._patience_s())
                self._computed_s = None
            if not self._running:
                return False
            assert frame is not None
            stranded = frame.phase is Phase.STRANDED
            # Its own lease: the epoch may be dropped while this frame is computed.
            leased = (self._whole if stranded else self._epochs.stage).again()
            if not stranded:
                frame.epoch = leased.stage.plan.epoch
            frame.phase = Phase.COMPUTING
        try:
            self._run(frame, leased.stage, stranded)
        except CodesignError as error:
            self._finish(frame, _dropped(frame, str(error)))
        except Exception as error:
            self._error(f"frame {frame.sequence} could not be computed")
            self._finish(frame, _dropped(frame, unexpected(error)))
        finally:
            leased.release()
        return True

    def _next_frame(self) -> Frame | None:
        """What to compute next: stranded frames first, they are the oldest."""
        self.counts["overdue"] += len(self._ledger.strand_overdue(time.monotonic()))
        if stranded := self._ledger.in_phase(Phase.STRANDED):
            return stranded[0]
        sending = len(self._ledger.in_phase(Phase.SENDING))
        away = sending + len(self._ledger.in_phase(Phase.REMOTE))
        if sending >= _MAX_SENDING or away >= _MAX_AWAY:
            return None
        return next(iter(self._ledger.in_phase(Phase.WAITING)), None)

    def _patience_s(self) -> float | None:
        wait_s = self._ledger.next_deadline_s() - time.monotonic()
        return None if wait_s == float("inf") else max(0.0, wait_s)

    def _run(self, frame: Frame, stage: HeadStage, stranded: bool) -> None:
        start = time.perf_counter()
        frame.head_gap_s = None if self._computed_s is None else start - self._computed_s

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
            finished_by = "fallback" if stranded else "robot"
            result = self._result(frame, output.answer, finished_by, head_s)
            if not stranded:
                with self._work:
                    self._times.add(result, frame.head_gap_s, time.monotonic())
            self._finish(frame, result)
            return
        with self._work:
            embedding = self._embedding(frame.stamp, frame.sequence, stage.plan, output.encoded)
            payload_bytes = embedding.payload_bytes
            frame.image, frame.head_s, frame.encode_s = image, head_s, encode_s
            if not self._epochs.plan.server_available:  # lost while this frame was computed
                frame.phase = Phase.STRANDED
                self.counts["stranded"] += 1
                return
            frame.phase = Phase.SENDING
            frame.deadline_s = self._deadline_s(payload_bytes)
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
            frame.sent_bytes = payload_bytes
            frame.deadline_s = self._deadline_s(payload_bytes)
            self._work.notify_all()
            return True

    def _not_sent(self, embedding: Embedding) -> None:
        with self._work:
            self.counts["errors"] += 1
            frame = self._ledger.find(embedding.sequence)
            is_frame = embedding.kind is EmbeddingKind.FRAME
            if is_frame and frame is not None and frame.phase is Phase.REMOTE:
                frame.phase = Phase.STRANDED
                frame.sent_bytes = 0
                self._work.notify_all()

    def _deadline_s(self, payload_bytes: int) -> float:
        rate_bps = self.uplink.bandwidth_bps
        on_link_s = 8 * payload_bytes / rate_bps if rate_bps else 0.0
        return time.monotonic() + self.settings.deadline_s + 2 * on_link_s

    # Answers

    def _result(
        self, frame: Frame, answer: Answer, finished_by: str, more_head_s: float = 0.0
    ) -> Result:
        """What users get: whoever computed it, its boxes are in the network's input until here."""
        height, width = frame.size or (self._bundle.input.height, self._bundle.input.width)
        boxes = answer.detections[: self.settings.selection.max_detections]
        boxes = tuple(to_frame(boxes, height, width, self._bundle.input))
        return Result(
            stamp=frame.stamp,
            sequence=frame.sequence,
            epoch=frame.epoch,
            finished_by=finished_by,
            **vars(replace(answer, detections=boxes)),
            payload_bytes=frame.sent_bytes,
            head_s=frame.head_s + more_head_s,
            encode_s=frame.encode_s,
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
        self._work.notify_all()  # there is room for one more on the link
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
