"""The robot's side: frames in, exactly one answer for each out, in order, server or not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.runtime.device import StageMedians
from codesign_ros.runtime.engines.pool import EnginePool
from codesign_ros.runtime.head.book import FrameBook
from codesign_ros.runtime.head.compute import HeadCompute
from codesign_ros.runtime.head.ledger import Frame, Phase
from codesign_ros.runtime.head.plans import HeadPlans
from codesign_ros.runtime.head.results import result_of
from codesign_ros.runtime.head.server_watch import ServerWatch
from codesign_ros.runtime.head.settings import HeadSettings
from codesign_ros.runtime.head.stage_medians import RunningTimes
from codesign_ros.runtime.head.uplink import Uplink
from codesign_ros.runtime.messages import (
    Embedding,
    EmbeddingKind,
    Result,
    Stamp,
    TailAnswer,
    TailStatus,
)
from codesign_ros.runtime.stages import HeadOutput, is_sendable
from codesign_ros.types import CodesignError, Plan
from codesign_ros.wire.tensor import EncodedTensor

# Weight of the newest frame in the running mean of frame sizes.
_MEAN_WEIGHT = 0.1

_CLOSED = "the head is not active any more"


class HeadRuntime:
    """Runs heads by epoch and keeps the book of frames.

    Two threads work: one computes, one (the uplink) sends. The public methods may be called from
    any thread.

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
        # Mean size of the camera's frames where cut 0 can send them as they are [bytes]; else 0.
        self.sendable_bytes = 0.0
        self._bundle = bundle
        self._plans = HeadPlans(bundle, pool, lambda: settings.selection)
        self._book = FrameBook(self._plans, send_result, clock_ns)
        self._server = ServerWatch(self._book)
        self._times = RunningTimes()
        self.uplink = Uplink(send_embedding, self._not_sent, emulated_bps)
        self._compute = HeadCompute(
            bundle, settings, self._book, self._plans, self._server, self._times, self._send
        )

    # Plans

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        with self._book.lock:
            return self._plans.plan

    def prepare(self, plan: Plan) -> None:
        """Build and warm the head of a plan beside the running one.

        Raises:
            CodesignError: the plan is for another network, not newer, or cannot be built; or the
                head was closed meanwhile.
        """
        stages = self._plans.build(plan)
        try:
            with self._book.lock:
                if not self._book.is_open:
                    raise CodesignError(_CLOSED)
                self._plans.add(plan, stages)
        except CodesignError:
            stages.release()
            raise

    def commit(self, epoch: int) -> None:
        """Put a prepared plan in force for every frame that starts from now on.

        Raises:
            CodesignError: the epoch was not prepared.
        """
        with self._book.lock:
            plan = self._plans.commit(epoch)
            self._server.follow(plan.tail)
            if not plan.server_available:
                self._book.strand_all()
            self._plans.drop_before(self._book.oldest_epoch)
            self._book.wake()

    # What is known of it

    @property
    def alone(self) -> str:
        """Why the robot does not rely on the server that its plan has; empty while it does."""
        with self._book.lock:
            return self._server.reason if self._plans.plan.server_available else ""

    @property
    def running(self) -> StageMedians:
        """What the plan in force takes, measured."""
        with self._book.lock:
            return self._times.running

    @property
    def counts(self) -> Counter[str]:
        """What happened how often."""
        return self._book.counts

    @property
    def in_flight(self) -> int:
        """Frames that have arrived and whose answer is not out yet."""
        return self._book.in_flight

    # Frames

    def on_frame(
        self, stamp: Stamp, load: Callable[[], np.ndarray], jpeg: bytes | None = None
    ) -> None:
        """Take a frame.

        Args:
            stamp: its stamp.
            load: gives its pixels (h, w, 3) uint8 RGB, or raises CodesignError.
            jpeg: the frame as the camera compressed it, if it did.
        """
        book = self._book
        sendable = jpeg is not None and is_sendable(jpeg, self._bundle.input)
        with book.lock:
            frame = book.ledger.admit(stamp, load, jpeg if sendable else None)
            self._note_size(len(jpeg) if jpeg is not None and sendable else 0)
            book.counts["frames"] += 1
            if not book.is_open:
                book.drop(frame, _CLOSED)
            waiting = book.ledger.in_phase(Phase.WAITING)
            for late in waiting[: max(0, len(waiting) - self.settings.queue_depth)]:
                book.drop(late, "the robot is busy: newer frames are waiting")
            leased = self._compute.forward(frame)
            book.wake()
        if leased is not None:
            self._compute.work_on(frame, leased)
        book.flush()

    def close(self) -> None:
        """Stop; frames in flight, and those that still come, are answered as dropped."""
        book = self._book
        with book.lock:
            book.is_open = False
            book.wake()
        self._compute.join()
        self.uplink.close()
        with book.lock:
            for frame in book.ledger.unanswered():
                book.drop(frame, _CLOSED)
            self._plans.close()
        book.flush()

    def _note_size(self, sendable_bytes: int) -> None:
        """Keep the running mean of sendable JPEGs; a frame that is not sendable ends it."""
        mean = self.sendable_bytes or sendable_bytes
        change = _MEAN_WEIGHT * (sendable_bytes - mean)
        self.sendable_bytes = mean + change if sendable_bytes else 0.0

    # To the server

    def _send(self, frame: Frame, plan: Plan, output: HeadOutput) -> None:
        """Queue what was computed for the link, unless the server was lost meanwhile."""
        with self._book.lock:
            if frame.phase is not Phase.COMPUTING:  # closed meanwhile
                return
            if not (self._plans.plan.server_available and self._server.relies):
                self._book.counts["stranded"] += 1
                self._book.strand(frame)
                return
            embedding = self._embedding(frame.stamp, frame.sequence, plan, output.encoded)
            frame.phase, frame.tail = Phase.SENDING, embedding.tail
            limit_s = self.settings.deadline_s + 2 * self._on_link_s(embedding.payload_bytes)
            frame.deadline_s = time.monotonic() + limit_s
            self._book.wake()
        self.uplink.submit(embedding, lambda: self._may_send(frame, embedding.payload_bytes))

    def _may_send(self, frame: Frame, payload_bytes: int) -> bool:
        with self._book.lock:
            if frame.phase is not Phase.SENDING:
                return False
            frame.phase = Phase.REMOTE
            frame.sent_bytes, frame.sent_s = payload_bytes, time.monotonic()
            frame.deadline_s = min(frame.deadline_s, frame.sent_s + self._server.limit_s)
            self._server.asked(frame.sent_s)
            self._book.wake()
            return True

    def _not_sent(self, embedding: Embedding) -> None:
        with self._book.lock:
            self._book.counts["errors"] += 1
            frame = self._book.ledger.find(embedding.sequence)
            is_frame = embedding.kind is EmbeddingKind.FRAME
            if is_frame and frame is not None and frame.phase is Phase.REMOTE:
                frame.sent_bytes = 0
                self._book.strand(frame)

    def _on_link_s(self, payload_bytes: int) -> float:
        """How long the link needs for so much by its measured rate [s]; 0 = not known."""
        rate_bps = self.uplink.bandwidth_bps
        return 8 * payload_bytes / rate_bps if rate_bps else 0.0

    def _embedding(
        self, stamp: Stamp, sequence: int, plan: Plan, tensors: tuple[EncodedTensor, ...]
    ) -> Embedding:
        return Embedding(
            stamp=stamp,
            sequence=sequence,
            epoch=plan.epoch,
            oldest_epoch=self._book.oldest_epoch,
            model_id=self._bundle.model_id,
            cut=plan.cut,
            tensors=tensors,
            tail=plan.tail,
        )

    # From the server

    def on_answer(self, answer: TailAnswer) -> None:
        """Take what the tail says about a frame or a probe."""
        now_s = time.monotonic()
        is_probe = answer.status is TailStatus.PROBE
        kind = EmbeddingKind.PROBE if is_probe else EmbeddingKind.FRAME
        remote_s = answer.queue_s + answer.decode_s + answer.tail_s
        link = self.uplink.answered(kind, answer.sequence, remote_s)
        book = self._book
        with book.lock:
            self._server.answered(answer.served_by, now_s)
        if is_probe:
            if self.uplink.learning:
                self._send_probes()
            return
        with book.lock:
            frame = book.ledger.find(answer.sequence)
            if frame is None or frame.phase is not Phase.REMOTE or frame.epoch != answer.epoch:
                book.counts["late"] += 1
                self._server.late()
                return
            if answer.status is not TailStatus.OK:
                book.counts["refused"] += 1
                book.strand(frame)
                return
            result = result_of(
                frame,
                answer,
                self._bundle.input,
                self.settings.selection.max_detections,
                finished_by="server",
                served_by=answer.served_by,
                link_s=link.total_s,
                queue_s=answer.queue_s,
                decode_s=answer.decode_s,
                tail_s=answer.tail_s,
            )
            if link.total_s > 0:  # else it is not known when it was sent
                self._times.add(result, frame.head_gap_s, now_s, link.waited_s)
                self._server.took(frame.tail, now_s - frame.sent_s)
            book.settle(frame, result)
        book.flush()

    def probe(self) -> None:
        """Send the probes of the link that are due if a server is there to answer them.

        To be called four times a second. Here the head judges, too, whether the server is still
        there.
        """
        now_s = time.monotonic()
        with self._book.lock:
            if not (self._plans.plan.server_available and self._server.is_probe_due(now_s)):
                return
            away = self._book.ledger.in_phase(Phase.REMOTE)
            self._server.check(now_s, self._on_link_s(sum(frame.sent_bytes for frame in away)))
        self._send_probes()

    def _send_probes(self) -> None:
        with self._book.lock:
            plan = self._plans.plan
            template = self._embedding(Stamp(0), 0, plan, ())
        if plan.server_available and self.uplink.probe(template):
            with self._book.lock:
                self._server.asked(time.monotonic())

    def deserted(self) -> None:
        """Note that the middleware knows of nobody who takes embeddings."""
        with self._book.lock:
            if self._plans.plan.server_available:
                self._server.deserted(time.monotonic())
