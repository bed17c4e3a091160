"""What goes between one robot and its server: embeddings and probes there, answers back."""

from __future__ import annotations

import time
from collections.abc import Callable

from codesign_ros.bundle import Bundle
from codesign_ros.runtime.head.book import FrameBook
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
    Stamp,
    TailAnswer,
    TailStatus,
)
from codesign_ros.runtime.sessions import new_session
from codesign_ros.runtime.stages.head import HeadOutput
from codesign_ros.types.plan import Plan
from codesign_ros.wire.tensor import EncodedTensor


class Exchange:
    """Sends what was computed, takes the answers, and asks whether the server is there.

    The methods may be called from any thread.

    Args:
        bundle: the network.
        settings: see ``HeadSettings``; may be changed while running.
        book: the frames in flight.
        plans: the plans by epoch.
        server: what is known of the server.
        times: takes what frames took.
        send_embedding: hands an embedding to the middleware.
        forward: has frames computed where there is room behind what was sent.
        emulated_bps: see ``Uplink``.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: HeadSettings,
        book: FrameBook,
        plans: HeadPlans,
        server: ServerWatch,
        times: RunningTimes,
        send_embedding: Callable[[Embedding], None],
        forward: Callable[[], None],
        emulated_bps: float = 0.0,
    ) -> None:
        # Sequences begin at 0 each time: answers to another head, or to this one before its last
        # start, are told from its own by this.
        self.session = new_session()
        self._bundle = bundle
        self._settings = settings
        self._book = book
        self._plans = plans
        self._server = server
        self._times = times
        self._forward = forward
        self.uplink = Uplink(send_embedding, self._not_sent, emulated_bps)

    # To the server

    def send(self, frame: Frame, plan: Plan, output: HeadOutput) -> None:
        """Queue what was computed for the link, unless the server was lost meanwhile."""
        with self._book.lock:
            if frame.phase is not Phase.COMPUTING:  # closed meanwhile
                return
            frame.encoded, frame.codec = output.kept, output.codec
            if not (self._plans.plan.server_available and self._server.helps):
                self._book.counts["stranded"] += 1
                self._plans.not_sent(frame.epoch, frame.sequence)
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
        self._forward()  # there is room behind it
        return may_send

    def _begin_to_send(self, frame: Frame, payload_bytes: int) -> bool:
        with self._book.lock:
            if frame.phase is not Phase.SENDING or not self._server.helps:
                self._plans.not_sent(frame.epoch, frame.sequence)
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
            if is_frame:
                self._plans.not_sent(embedding.epoch, embedding.sequence)
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
            self._server.answered(now_s, answer.served_by, answer.tail_session)
            if is_probe:
                self._server.probe_answered(answer.sequence, now_s)
        if is_probe:
            self._send_trial()
            if self.uplink.learning:
                self._send_probes()
            return
        with book.lock:
            self._plans.answered(answer.epoch, answer.sequence, answer.status is TailStatus.OK)
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
                self._settings.selection.max_detections,
                finished_by="server",
                served_by=answer.served_by,
                link_s=link.total_s,
                queue_s=answer.queue_s,
                decode_s=answer.decode_s,
                tail_s=answer.tail_s,
            )
            if link.total_s > 0:  # else it is not known when it was sent
                waited_s, run = link.waited_s, frame.head_run
                self._times.add(result, frame.head_gap_s, now_s, waited_s, frame.codec, run)
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
        """Send a probe as large as a frame where the answer decides on the return.

        Before the first one the rate of the link is learned anew.
        """
        with self._book.lock:
            now_s, plan, server = time.monotonic(), self._plans.plan, self._server
            if not plan.server_available:
                return
            if server.begins_to_return(now_s):
                self.uplink.doubt()
            elif server.learned(now_s, self.uplink.bandwidth_bps, is_sure=not self.uplink.doubts):
                self.uplink.believe()
            if size := server.trial_bytes(now_s, self.uplink.burst_bytes):
                template = self._embedding(Stamp(0), 0, plan, ())
                self._server.tried(self.uplink.try_out(template, size), size, now_s)

    def deserted(self) -> None:
        """Note that the middleware knows of nobody who takes embeddings."""
        with self._book.lock:
            if self._plans.plan.server_available:
                self._server.left("nobody listens to the embeddings", time.monotonic())
