"""The robot's side: frames in, exactly one answer for each out, in order, server or not."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.preprocess import letterbox
from codesign_ros.runtime.emulation import stretched
from codesign_ros.runtime.engine_pool import EnginePool
from codesign_ros.runtime.epochs import EpochTable
from codesign_ros.runtime.ledger import Frame, FrameLedger, Phase
from codesign_ros.runtime.stages import HeadStage, Scores, head_key
from codesign_ros.runtime.uplink import Uplink
from codesign_ros.runtime.values import Embedding, EmbeddingKind, Result, Stamp, Status
from codesign_ros.types import CodesignError, Plan

# Embeddings that wait for the link while the head already computes the next frame: one on the link
# and one behind it keep the link busy; more would only grow old there.
_MAX_SENDING = 2


@dataclass
class HeadSettings:
    """What can be set on a head while it runs.

    Attributes:
        queue_depth: frames that may wait for the head; when one more comes, the oldest is dropped.
        deadline_s: how long an answer may take after the embedding left, on top of twice the time
            that the link needs for it by its measured rate [s].
        slowdown: emulated: the device is so many times slower than this machine; 0 or 1 = off.
    """

    queue_depth: int = 3
    deadline_s: float = 1.0
    slowdown: float = 0.0


class HeadRuntime:
    """Runs heads by epoch and keeps the book of frames.

    Two threads work: one computes, one (the uplink) sends. The public methods may be called from
    any thread.

    Args:
        bundle: the network.
        factory: makes its engines.
        settings: see ``HeadSettings``; may be changed while running.
        send_embedding: hands an embedding to the middleware.
        send_result: hands a frame's answer to the users; called once a frame, in frame order.
        clock_ns: the robot's clock, on which frames are stamped [ns].
        emulated_bps: see ``Uplink``.
    """

    def __init__(
        self,
        bundle: Bundle,
        factory: EngineFactory,
        settings: HeadSettings,
        *,
        send_embedding: Callable[[Embedding], None],
        send_result: Callable[[Result], None],
        clock_ns: Callable[[], int],
        emulated_bps: float = 0.0,
    ) -> None:
        self.settings = settings
        self.counts: Counter[str] = Counter()
        self._bundle = bundle
        self._send_result = send_result
        self._clock_ns = clock_ns
        self._pool = EnginePool(factory)
        alone = Plan(cut=len(bundle.segments), model_id=bundle.model_id, reason="no plan yet")
        # Never dropped: with it every frame can be finished on the robot.
        self._whole = HeadStage(bundle, alone, self._pool.get(head_key(alone)))
        self._epochs: EpochTable[HeadStage] = EpochTable(alone, self._whole)
        self._ledger = FrameLedger()
        self._work = threading.Condition()
        # Keeps answers in order between taking them out of the ledger and handing them on.
        self._release = threading.RLock()
        self._running = True
        self.uplink = Uplink(send_embedding, emulated_bps)
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
            CodesignError: the plan is for another network, not newer, or cannot be built.
        """
        check_plan(plan, self._bundle)
        engine = self._pool.get(head_key(plan)) if plan.cut > 0 else None
        with self._work:
            self._epochs.prepare(plan, HeadStage(self._bundle, plan, engine))

    def commit(self, epoch: int) -> None:
        """Put a prepared plan in force for every frame that starts from now on.

        Raises:
            CodesignError: the epoch was not prepared.
        """
        with self._work:
            plan = self._epochs.commit(epoch)
            if not plan.server_available:
                self.counts["stranded"] += len(self._ledger.strand_all())
            self._work.notify_all()

    # Frames and answers

    def on_frame(self, stamp: Stamp, load: Callable[[], np.ndarray]) -> None:
        """Take a frame; ``load`` gives its pixels (h, w, 3) uint8 RGB or raises CodesignError."""
        with self._work:
            self._ledger.admit(stamp, load)
            self.counts["frames"] += 1
            waiting = self._ledger.in_phase(Phase.WAITING)
            overflow = waiting[: max(0, len(waiting) - self.settings.queue_depth)]
            self._work.notify_all()
        for frame in overflow:
            self._drop(frame, "the robot is busy: newer frames are waiting")

    def on_answer(self, answer: Result) -> None:
        """Take what the tail says about a frame or a probe."""
        kind = EmbeddingKind.PROBE if answer.status is Status.PROBE else EmbeddingKind.FRAME
        remote_s = answer.queue_s + answer.decode_s + answer.tail_s
        link_s = self.uplink.answered(kind, answer.sequence, remote_s)
        if answer.status is Status.PROBE:
            return
        with self._work:
            frame = self._ledger.find(answer.sequence)
            if frame is None or frame.phase is not Phase.REMOTE or frame.epoch != answer.epoch:
                self.counts["late"] += 1
                return
            if answer.status is not Status.OK:
                self.counts["refused"] += 1
                frame.phase = Phase.STRANDED
                self._work.notify_all()
                return
            payload_bytes = frame.embedding.payload_bytes if frame.embedding else 0
        self._finish(
            frame,
            replace(
                answer,
                served_by="server",
                payload_bytes=payload_bytes,
                head_s=frame.head_s,
                encode_s=frame.encode_s,
                link_s=link_s,
            ),
        )

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
        with self._work:
            return len(self._ledger)

    def close(self) -> None:
        """Stop; frames in flight are answered as dropped."""
        with self._work:
            self._running = False
            self._work.notify_all()
        self._thread.join()
        self.uplink.close()
        with self._work:
            left = [f for phase in Phase for f in self._ledger.in_phase(phase)]
        for frame in left:
            self._drop(frame, "the head was deactivated")

    # The compute thread

    def _compute(self) -> None:
        while True:
            with self._work:
                frame = self._next_frame()
                while frame is None and self._running:
                    self._work.wait(self._patience_s())
                    frame = self._next_frame()
                if not self._running:
                    return
                assert frame is not None
                stranded = frame.phase is Phase.STRANDED
                stage = self._whole if stranded else self._epochs.stage
                if not stranded:
                    frame.epoch = self._epochs.plan.epoch
                frame.phase = Phase.COMPUTING
            self._run(frame, stage, stranded)

    def _next_frame(self) -> Frame | None:
        """What to compute next: stranded frames first, they are the oldest."""
        self.counts["overdue"] += len(self._ledger.strand_overdue(time.monotonic()))
        if stranded := self._ledger.in_phase(Phase.STRANDED):
            return stranded[0]
        if len(self._ledger.in_phase(Phase.SENDING)) >= _MAX_SENDING:
            return None
        return next(iter(self._ledger.in_phase(Phase.WAITING)), None)

    def _patience_s(self) -> float | None:
        wait_s = self._ledger.next_deadline_s() - time.monotonic()
        return None if wait_s == float("inf") else max(0.0, wait_s)

    def _run(self, frame: Frame, stage: HeadStage, stranded: bool) -> None:
        start = time.perf_counter()

        def work() -> tuple[np.ndarray, tuple[Scores | None, float, float], tuple]:
            image = frame.image
            if image is None:
                image = letterbox(frame.load(), self._bundle.input)
            output = stage.run(image)
            return image, (output.scores, output.head_s, output.encode_s), output.encoded

        try:
            image, (scores, _, encode_s), encoded = stretched(work, self.settings.slowdown)
        except CodesignError as error:
            self._drop(frame, str(error))
            return
        encode_s *= max(1.0, self.settings.slowdown)
        head_s = time.perf_counter() - start - encode_s
        if scores is not None:
            served_by = "fallback" if stranded else "robot"
            self._finish(frame, self._answer(frame, scores, served_by, head_s))
            return
        with self._work:
            embedding = self._embedding(frame.stamp, frame.sequence, stage.plan, encoded)
            frame.image, frame.embedding = image, embedding
            frame.head_s, frame.encode_s = head_s, encode_s
            frame.phase = Phase.SENDING
            if not self._epochs.plan.server_available:  # lost while this frame was computed
                frame.phase = Phase.STRANDED
                self.counts["stranded"] += 1
                return
        self.uplink.submit(embedding, lambda: self._about_to_send(frame, embedding.payload_bytes))

    def _about_to_send(self, frame: Frame, payload_bytes: int) -> bool:
        with self._work:
            self._work.notify_all()
            if frame.phase is not Phase.SENDING:
                return False
            rate_bps = self.uplink.bandwidth_bps
            on_link_s = 8 * payload_bytes / rate_bps if rate_bps else 0.0
            frame.deadline_s = time.monotonic() + self.settings.deadline_s + 2 * on_link_s
            frame.phase = Phase.REMOTE
            return True

    # Answers

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

    def _answer(self, frame: Frame, scores: Scores, served_by: str, head_s: float) -> Result:
        return Result(
            stamp=frame.stamp,
            sequence=frame.sequence,
            epoch=frame.epoch,
            served_by=served_by,
            label=scores.label,
            score=scores.score,
            class_names=scores.class_names,
            class_scores=scores.class_scores,
            head_s=frame.head_s + head_s,
        )

    def _drop(self, frame: Frame, reason: str) -> None:
        dropped = Result(
            frame.stamp, frame.sequence, frame.epoch, status=Status.DROPPED, reason=reason
        )
        self._finish(frame, dropped)

    def _finish(self, frame: Frame, result: Result) -> None:
        with self._release:
            with self._work:
                if self._ledger.find(frame.sequence) is not frame:
                    return  # dropped meanwhile
                released = self._ledger.finish(frame, result)
                self._epochs.drop_before(self._ledger.oldest_epoch(self._epochs.plan.epoch))
            for answer in released:
                self.counts["dropped" if answer.status is Status.DROPPED else answer.served_by] += 1
                response_s = (self._clock_ns() - answer.stamp.stamp_ns) / 1e9
                self._send_result(replace(answer, response_s=response_s))


def check_plan(plan: Plan, bundle: Bundle) -> None:
    """Refuse a plan that this bundle cannot follow.

    Raises:
        CodesignError: the plan is for another network or has a cut that this one does not have.
    """
    if plan.model_id != bundle.model_id:
        raise CodesignError(
            f"the plan is for network {plan.model_id!r}, this node has {bundle.model_id!r} "
            f"({bundle.name}); start head, tail and planner with the same bundle"
        )
    if not 0 <= plan.cut <= len(bundle.segments):
        raise CodesignError(f"cut {plan.cut} does not exist; cuts are 0 to {len(bundle.segments)}")
