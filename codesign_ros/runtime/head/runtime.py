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
from codesign_ros.runtime.head.exchange import Exchange
from codesign_ros.runtime.head.own_tail import OwnTail
from codesign_ros.runtime.head.plans import HeadPlans
from codesign_ros.runtime.head.server_watch import ServerWatch
from codesign_ros.runtime.head.settings import HeadSettings
from codesign_ros.runtime.head.stage_medians import RunningTimes
from codesign_ros.runtime.head.uplink import Uplink
from codesign_ros.runtime.messages import (
    DropReason,
    Embedding,
    Result,
    Stamp,
    TailAnswer,
)
from codesign_ros.runtime.stages.head import is_sendable
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

# Weight of the newest frame in the running mean of frame sizes.
_MEAN_WEIGHT = 0.1

_CLOSED = "the head is not active any more"
_PAUSED = "the head is paused (service enable)"


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
        self._bundle = bundle
        self._plans = HeadPlans(
            bundle, pool, lambda: settings.selection, lambda: self.uplink.bandwidth_bps
        )
        self._book = FrameBook(self._plans, send_result, clock_ns)
        self._server = ServerWatch(self._book)
        self._times = RunningTimes(settings.scarce_cores)
        self._exchange = Exchange(
            bundle,
            settings,
            self._book,
            self._plans,
            self._server,
            self._times,
            send_embedding,
            lambda: self._compute.forward(),
            emulated_bps,
        )
        self._own_tail = OwnTail(bundle, pool, self._plans, self._book)
        self._compute = HeadCompute(
            bundle,
            settings,
            self._book,
            self._plans,
            self._server,
            self._times,
            self._exchange.send,
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
    def session(self) -> int:
        """The number of this start, which embeddings and their answers carry."""
        return self._exchange.session

    @property
    def uplink(self) -> Uplink:
        """The way to the server."""
        return self._exchange.uplink

    @property
    def alone(self) -> str:
        """Why the robot does not rely on the server that its plan has; empty while it does."""
        with self._book.lock:
            return self._server.reason if self._plans.plan.server_available else ""

    @property
    def unreadable(self) -> str:
        """Why the newest frame could not be read, one line; empty where it could."""
        with self._book.lock:
            return self._book.unreadable

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
            elif self.settings.paused:
                book.drop(frame, DropReason.PAUSED, _PAUSED)
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

    # The server

    def on_answer(self, answer: TailAnswer) -> None:
        """Take what the tail says about a frame or a probe, if it answers what was sent."""
        self._exchange.on_answer(answer)

    def probe(self) -> None:
        """Send the probes of the link that are due; to be called four times a second."""
        self._exchange.probe()

    def deserted(self) -> None:
        """Note that the middleware knows of nobody who takes embeddings."""
        self._exchange.deserted()
