"""The robot's side: frames in, exactly one answer for each out, in order, server or not."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.runtime.device import StageMedians
from codesign_ros.runtime.engines.pool import EnginePool
from codesign_ros.runtime.head.account import FrameAccount
from codesign_ros.runtime.head.book import FrameBook
from codesign_ros.runtime.head.compute import HeadCompute
from codesign_ros.runtime.head.ledger import Frame, Phase
from codesign_ros.runtime.head.own_tail import OwnTail
from codesign_ros.runtime.head.plans import HeadPlans
from codesign_ros.runtime.head.results import result_of
from codesign_ros.runtime.head.server_watch import ServerWatch
from codesign_ros.runtime.head.settings import HeadSettings
from codesign_ros.runtime.head.stage_medians import RunningTimes
from codesign_ros.runtime.head.uplink import Uplink
from codesign_ros.runtime.messages import (
    DropReason,
    Embedding,
    EmbeddingKind,
    Result,
    Stamp,
    TailAnswer,
    TailStatus,
)
from codesign_ros.runtime.sessions import new_session
from codesign_ros.runtime.stages import HeadOutput, is_sendable
from codesign_ros.types import CodesignError, Plan
from codesign_ros.wire.tensor import EncodedTensor

# Weight of the newest frame in the running mean of frame sizes.
_MEAN_WEIGHT = 0.1

_CLOSED = "the head is not active any more"


class HeadRuntime:
    """Runs heads by epoch and keeps the book of frames.

    Two threads work: one computes, one (the uplink) sends; a third gets the tail's half ready. The
    public methods may be called from any thread.

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
        # Sequences begin at 0 each time: answers to another head, or to this one before its last
        # start, are told from its own by this.
        self.session = new_session()
        self._bundle = bundle
        self._plans = HeadPlans(
            bundle, pool, lambda: settings.selection, lambda: self.uplink.bandwidth_bps
        )
        self._book = FrameBook(self._plans, send_result, clock_ns)
        self._server = ServerWatch(self._book)
        self._times = RunningTimes()
        self.uplink = Uplink(send_embedding, self._not_sent, emulated_bps)
        self._own_tail = OwnTail(bundle, pool, self._plans, self._book)
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
            CodesignError: the plan is for another network, its epoch is taken, or it cannot be
                built; or the head was closed meanwhile.
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
            self._server.follow(plan, time.monotonic())
            self._own_tail.follow(plan)
            if not plan.server_available:
                self._book.strand_all()
            self._plans.drop_before(self._book.oldest_epoch)
            self._book.wake()
        self._compute.forward()

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
    def account(self) -> FrameAccount:
        """What became of the frames, and whether it adds up."""
        return self._book.account

    # Frames

    def on_frame(
        self,
        stamp: Stamp,
        load: Callable[[], np.ndarray],
        jpeg: bytes | None = None,
        held_bytes: int = 0,
    ) -> None:
        """Take a frame.

        Args:
            stamp: its stamp.
            load: gives its pixels (h, w, 3) uint8 RGB, or raises CodesignError.
            jpeg: the frame as the camera compressed it, if it did.
            held_bytes: what it takes in memory until it is answered [bytes].
        """
        book = self._book
        sendable = jpeg is not None and is_sendable(jpeg, self._bundle.input)
        with book.lock:
            frame = book.admit(stamp, load, jpeg if sendable else None, held_bytes)
            # By its stamp, where that can be right.
            age_s = 0.0 if math.isnan(frame.age_s) else frame.age_s
            frame.due_s = frame.arrived_s - age_s + self.settings.deadline_s
            self._note_size(len(jpeg) if jpeg is not None and sendable else 0)
            if not book.is_open:
                book.drop(frame, DropReason.CLOSED, _CLOSED)
            book.keep_limits(self.settings.queue_depth, self.settings.queue_bytes)
        self._compute.forward()
        with book.lock:
            book.wake()
        book.flush()

    def close(self) -> None:
        """Stop; frames in flight, and those that still come, are answered as dropped."""
        book = self._book
        with book.lock:
            book.is_open = False
            book.wake()
        self._compute.join()
        self.uplink.close()
        self._own_tail.close()
        with book.lock:
            for frame in book.ledger.unanswered():
                book.drop(frame, DropReason.CLOSED, _CLOSED)
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
            frame.encoded = output.encoded
            if not (self._plans.plan.server_available and self._server.helps):
                self._book.counts["stranded"] += 1
                self._book.strand(frame)
                return
            embedding = self._embedding(frame.stamp, frame.sequence, plan, output.encoded)
            frame.phase, frame.tail = Phase.SENDING, embedding.tail
            on_link_s = self._on_link_s(embedding.payload_bytes)
            # What is late already has the usual time, or the server could never help it.
            due_s = max(frame.due_s, time.monotonic() + self._server.usual_s)
            frame.deadline_s = due_s + 2 * on_link_s
            self._book.wake()
        self.uplink.submit(embedding, lambda: self._may_send(frame, embedding.payload_bytes))

    def _may_send(self, frame: Frame, payload_bytes: int) -> bool:
        may_send = self._begin_to_send(frame, payload_bytes)
        self._compute.forward()  # there is room behind it
        return may_send

    def _begin_to_send(self, frame: Frame, payload_bytes: int) -> bool:
        with self._book.lock:
            if frame.phase is not Phase.SENDING:
                return False
            if not self._server.helps:
                self._book.strand(frame)
                return False
            frame.phase, frame.is_asked = Phase.REMOTE, True
            frame.sent_bytes, frame.sent_s = payload_bytes, time.monotonic()
            self._server.sent(frame)
            self._book.wake()
            return True

    def _not_sent(self, embedding: Embedding) -> None:
        with self._book.lock:
            self._book.counts["errors"] += 1
            frame = self._book.ledger.find(embedding.sequence)
            is_frame = embedding.kind is EmbeddingKind.FRAME
            if is_frame and frame is not None and frame.is_asked:
                frame.sent_bytes, frame.is_asked = 0, False
                if frame.phase is Phase.REMOTE:
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
            session=self.session,
            tail=plan.tail,
        )

    # From the server

    def on_answer(self, answer: TailAnswer) -> None:
        """Take what the tail says about a frame or a probe, if it answers what was sent."""
        if not self._is_ours(answer):
            return
        now_s = time.monotonic()
        if answer.status is TailStatus.LEAVING:
            with self._book.lock:
                if self._plans.plan.tail == answer.served_by:
                    self._server.left(f"{answer.served_by} is being stopped", now_s)
            return
        is_probe = answer.status is TailStatus.PROBE
        kind = EmbeddingKind.PROBE if is_probe else EmbeddingKind.FRAME
        remote_s = answer.queue_s + answer.decode_s + answer.tail_s
        link = self.uplink.answered(kind, answer.sequence, remote_s)
        book = self._book
        with book.lock:
            self._server.answered(now_s, answer.served_by)
            if is_probe:
                self._server.probe_answered(answer.sequence, now_s)
        if is_probe:
            self._send_trial()
            if self.uplink.learning:
                self._send_probes()
            return
        with book.lock:
            frame = book.ledger.find(answer.sequence)
            if frame is None or not frame.is_asked:
                book.counts["late"] += 1
                self._server.late(answer.sequence, now_s)
                return
            if answer.status is not TailStatus.OK:
                book.counts["refused"] += 1
                frame.is_asked = False
                if frame.phase is Phase.REMOTE:
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
            self._server.took(frame, now_s)
            book.settle(frame, result)
        book.flush()

    def _is_ours(self, answer: TailAnswer) -> bool:
        """Whether an answer is to an embedding of this start, and fits it; others are counted.

        ``foreign``: to another head, to this one before its last start, or by a tail that the plan
        does not have. ``mismatched``: a frame of that number was sent, of another plan or stamp.
        """
        with self._book.lock:
            tail = self._plans.tail_of(answer.epoch)
            if answer.session != self.session or (tail and answer.served_by != tail):
                self._book.counts["foreign"] += 1
                return False
            if answer.status in (TailStatus.PROBE, TailStatus.LEAVING):
                return True
            frame = self._book.ledger.find(answer.sequence)
            if frame and (frame.epoch, frame.stamp) != (answer.epoch, answer.stamp):
                self._book.counts["mismatched"] += 1
                return False
            return True

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
        self._send_trial()

    def _send_probes(self) -> None:
        with self._book.lock:
            plan = self._plans.plan
            template = self._embedding(Stamp(0), 0, plan, ())
            is_alone = not self._server.helps
        if plan.server_available and self.uplink.probe(template, is_urgent=is_alone):
            with self._book.lock:
                self._server.asked(time.monotonic())

    def _send_trial(self) -> None:
        """Send a probe as large as a frame where the answer decides on the return."""
        with self._book.lock:
            now_s, plan = time.monotonic(), self._plans.plan
            burst_bytes = self.uplink.burst_bytes
            size = self._server.trial_bytes(now_s, burst_bytes) if plan.server_available else 0
            if size:
                template = self._embedding(Stamp(0), 0, plan, ())
                self._server.tried(self.uplink.try_out(template, size), size, now_s)

    def deserted(self) -> None:
        """Note that the middleware knows of nobody who takes embeddings."""
        with self._book.lock:
            if self._plans.plan.server_available:
                self._server.left("nobody listens to the embeddings", time.monotonic())
