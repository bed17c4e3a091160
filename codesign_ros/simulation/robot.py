"""A robot in simulated time: its queue, its one processor, its plan, what its link is measured."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import simpy

from codesign_ros.runtime.link.meter import LinkMeter
from codesign_ros.simulation.line import Line, Process
from codesign_ros.simulation.work import STEADY, Varies, Work
from codesign_ros.types import CodesignError

# As the head's (runtime/head/book.py): it computes no more while so many embeddings wait behind the
# one on the link, or so many frames are away.
_MAX_SENDING = 1
_MAX_AWAY = 4
# How often the head asks its meter which probes it wants [s].
_PROBE_PERIOD_S = 0.5


@dataclass
class Seen:
    """What became of a robot's frames.

    Attributes:
        dropped_s: when frames gave way to newer ones [s].
        answered_s: when answers came [s].
        responses_s: time from a frame's stamp to its answer, likewise [s].
        plans: how often another plan came in force.
    """

    dropped_s: list[float] = field(default_factory=list)
    answered_s: list[float] = field(default_factory=list)
    responses_s: list[float] = field(default_factory=list)
    plans: int = 0

    def since(self, start_s: float) -> Seen:
        """The same from a time on; plans stay those of all."""
        kept = [i for i, at_s in enumerate(self.answered_s) if at_s >= start_s]
        return replace(
            self,
            dropped_s=[at_s for at_s in self.dropped_s if at_s >= start_s],
            answered_s=[self.answered_s[i] for i in kept],
            responses_s=[self.responses_s[i] for i in kept],
        )


class Robot:
    """Computes heads, sends, and waits for answers.

    Args:
        env: simulated time.
        work: what a frame asks for under the first plan.
        uplink, downlink: the link's two directions, which others may share.
        server: its tail's processor, likewise.
        rng: for what varies.
        spread: how far it varies.
        queue_depth: frames that may wait; one more drops the oldest.
    """

    def __init__(
        self,
        env: simpy.Environment,
        work: Work,
        uplink: Line,
        downlink: Line,
        server: simpy.Resource,
        rng: np.random.Generator,
        spread: Varies = STEADY,
        queue_depth: int = 3,
    ) -> None:
        self.work = work
        self.meter = LinkMeter()
        self.seen = Seen()
        self.served_s = 0.0
        self._env, self._uplink, self._downlink, self._server = env, uplink, downlink, server
        self._rng, self._spread, self._depth = rng, spread, queue_depth
        self._waiting: deque[float] = deque()
        self._sending = self._away = self._number = 0
        self._changed = env.event()
        self._done: list[Callable[[], None]] = []
        env.process(self._compute())

    def play(self, gaps_s: Iterable[float]) -> None:
        """Let frames come at times of their own, whatever becomes of them."""
        self._env.process(self._played(gaps_s))

    def play_window(self, frames: int) -> None:
        """Let a frame come whenever one was answered or dropped, with so many in flight.

        Raises:
            CodesignError: the queue holds fewer, so that frames would drop each other.
        """
        if frames > self._depth:
            raise CodesignError(
                f"a window of {frames} frames does not fit into a queue of {self._depth}"
            )
        self._done.append(self.frame)
        for _ in range(frames):
            self.frame()

    def frame(self) -> None:
        """Take a frame from the camera."""
        self._waiting.append(float(self._env.now))
        if len(self._waiting) > self._depth:
            self._waiting.popleft()
            self.seen.dropped_s.append(float(self._env.now))
            self._tell_done()
        self._wake()

    def follow(self, work: Work) -> None:
        """Let another plan hold for the frames whose head is not computed yet."""
        self.work = work
        self.seen.plans += 1

    def probe(self) -> None:
        """Send the probes that the meter wants, from now on, as the head does while it idles."""
        self._env.process(self._probed())

    def _probed(self) -> Process:
        while True:
            yield self._env.timeout(_PROBE_PERIOD_S)
            # Behind a frame a probe shows little.
            if self._sending == 0:
                for size in self.meter.probes(float(self._env.now)):
                    self._env.process(self._send_probe(size))

    def _send_probe(self, size_bytes: int) -> Process:
        key, started_s = self._take_number(), float(self._env.now)
        self.meter.probe_sent(key, size_bytes, started_s)
        self.meter.sent(key, size_bytes, started_s, False)
        yield from self._uplink.cross(size_bytes)
        yield self._env.timeout(self._uplink.delay_s + self._downlink.delay_s)
        self.meter.answered(key, float(self._env.now), 0.0)

    def _take_number(self) -> int:
        self._number += 1
        return self._number

    def _played(self, gaps_s: Iterable[float]) -> Process:
        for gap_s in gaps_s:
            yield self._env.timeout(gap_s)
            self.frame()

    def _compute(self) -> Process:
        while True:
            while not self._waiting or self._sending > _MAX_SENDING or self._away >= _MAX_AWAY:
                yield self._changed
            stamp_s = self._waiting.popleft()
            work = self._spread.draw(self.work, self._rng)
            yield self._env.timeout(work.head_s)
            if work.is_sent:
                self._env.process(self._serve(stamp_s, work))
            else:
                self._answer(stamp_s)

    def _serve(self, stamp_s: float, work: Work) -> Process:
        env, number = self._env, self._take_number()
        self._sending += 1
        self._away += 1
        self.meter.sent(number, math.ceil(work.payload_bytes), float(env.now), True)
        yield from self._uplink.cross(work.payload_bytes)
        self._sending -= 1
        self._wake()
        yield env.timeout(self._uplink.delay_s)
        came_s = float(env.now)
        with self._server.request() as turn:
            yield turn
            self.served_s += work.tail_s
            yield env.timeout(work.tail_s)
        remote_s = float(env.now) - came_s
        yield from self._downlink.cross(work.answer_bytes)
        yield env.timeout(self._downlink.delay_s)
        self.meter.answered(number, float(env.now), remote_s)
        self._away -= 1
        self._answer(stamp_s)
        self._wake()

    def _answer(self, stamp_s: float) -> None:
        now_s = float(self._env.now)
        self.seen.answered_s.append(now_s)
        self.seen.responses_s.append(now_s - stamp_s)
        self._tell_done()

    def _tell_done(self) -> None:
        for tell in self._done:
            tell()

    def _wake(self) -> None:
        changed, self._changed = self._changed, self._env.event()
        changed.succeed()
