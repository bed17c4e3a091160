"""The way of frames through robot, link and server, in simulated time.

What a frame asks for is asked of ``Stations`` when the robot begins with it; this module says when
what happens. As the head does (``runtime/head``): so many frames wait for the robot, and the oldest
gives way to one more; the robot computes no more while an embedding waits behind the one on the
link, or too many are away; a frame whose answer is overdue is finished on the robot, before those
that wait, unless the answer comes first; and while one is overdue the robot works alone.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import simpy

from codesign_ros.runtime.head.book import MAX_AWAY, MAX_SENDING
from codesign_ros.runtime.link.meter import LinkMeter
from codesign_ros.simulation.line import Line, Process
from codesign_ros.simulation.work import Work

# How often the head asks its meter which probes it wants, and as long as it knows no rate [s].
_PROBE_PERIOD_S, _LEARNING_PERIOD_S = 0.5, 0.1


class Finished(str, Enum):
    """Who finished a frame."""

    ROBOT = "robot"
    SERVER = "server"
    FALLBACK = "fallback"
    DROPPED = "dropped"


@dataclass(eq=False)
class Passage:
    """A frame on its way; times of the simulated clock [s].

    Attributes:
        number: of the frame.
        arrival_s: when it came.
        begin_s: when the robot began with it, the second time where it gave the answer after all;
            of a dropped frame when it was dropped.
        done_s: when its answer was there, or it was dropped; infinite before.
        finished: who finished it; None before.
        head_s, link_wait_s, link_s, tail_s: what it took at each station; the server's with the
            wait there.
        sent_bytes: what crossed the link for it, an answer that came too late included [bytes].
    """

    number: int
    arrival_s: float
    begin_s: float = 0.0
    done_s: float = math.inf
    finished: Finished | None = None
    head_s: float = 0.0
    link_wait_s: float = 0.0
    link_s: float = 0.0
    tail_s: float = 0.0
    sent_bytes: float = 0.0


class Stations(Protocol):
    """Tells what frames ask for, and is told what became of them."""

    def asks(self, number: int, now_s: float, *, alone: bool) -> Work:
        """What a frame asks for with which the robot begins now; ``alone``: all on the robot."""

    def settled(self, passage: Passage) -> None:
        """Told of a frame that has its answer, or was dropped."""


@dataclass(frozen=True)
class Way:
    """What the robot's frames use, and those of other robots may use too.

    Attributes:
        uplink, downlink: the link's two directions.
        server: its tail's processor.
    """

    uplink: Line
    downlink: Line
    server: simpy.Resource


class Pipeline:
    """A robot's queue, its one processor, and what it has away; see the module.

    Args:
        env: simulated time.
        stations: what frames ask for.
        way: link and server.
        queue_depth: frames that may wait for the robot.
        deadline_s: after so long, and twice the time on the link, an answer is overdue [s].
    """

    def __init__(
        self,
        env: simpy.Environment,
        stations: Stations,
        way: Way,
        queue_depth: int,
        deadline_s: float = math.inf,
    ) -> None:
        self.meter = LinkMeter()
        self.served_s = 0.0
        self._env, self._stations, self._way = env, stations, way
        self._depth, self._deadline_s = queue_depth, deadline_s
        self._waiting: deque[Passage] = deque()
        self._stranded: deque[Passage] = deque()
        # On the link or waiting for it; there or at the server; overdue and still to come.
        self._sending: set[Passage] = set()
        self._away: set[Passage] = set()
        self._silent: set[Passage] = set()
        self._probes = 0
        self._changed = env.event()
        env.process(self._compute())

    def take(self, number: int) -> None:
        """Take in a frame that comes now."""
        self._waiting.append(Passage(number, float(self._env.now)))
        if len(self._waiting) > self._depth:
            oldest = self._waiting.popleft()
            oldest.begin_s = float(self._env.now)
            self._settle(oldest, Finished.DROPPED)
        self._wake()

    def probe(self) -> None:
        """Send the probes that the meter wants, from now on, as the head does while it idles."""
        self._env.process(self._probed())

    def _probed(self) -> Process:
        while True:
            learning = self.meter.learning
            yield self._env.timeout(_LEARNING_PERIOD_S if learning else _PROBE_PERIOD_S)
            # Behind a frame a probe shows little.
            if not self._sending:
                for size_bytes in self.meter.probes(float(self._env.now)):
                    self._probes += 1
                    self._env.process(self._send_probe(("probe", self._probes), size_bytes))

    def _send_probe(self, key: tuple[str, int], size_bytes: int) -> Process:
        self.meter.probe_sent(key, size_bytes, float(self._env.now))
        with self._way.uplink.turn() as turn:
            yield turn
            self.meter.sent(key, size_bytes, float(self._env.now), False)
            yield from self._way.uplink.passes(size_bytes)
        yield self._env.timeout(self._way.uplink.delay_s + self._way.downlink.delay_s)
        self.meter.answered(key, float(self._env.now), 0.0)

    def _compute(self) -> Process:
        while True:
            has_room = len(self._sending) <= MAX_SENDING and len(self._away) < MAX_AWAY
            if self._stranded:
                passage, alone = self._stranded.popleft(), True
            elif self._waiting and (has_room or self._silent):
                passage, alone = self._waiting.popleft(), bool(self._silent)
            else:
                yield self._changed
                continue
            begin_s = float(self._env.now)
            work = self._stations.asks(passage.number, begin_s, alone=alone)
            yield self._env.timeout(work.head_s)
            if passage.finished is not None:  # its late answer came first: it has the first times
                continue
            passage.begin_s, passage.head_s = begin_s, work.head_s
            if alone:
                passage.link_wait_s = passage.link_s = passage.tail_s = 0.0
                self._settle(passage, Finished.FALLBACK)
            elif work.is_sent:
                self._sending.add(passage)
                self._away.add(passage)
                self._env.process(self._serve(passage, work))
            else:
                self._settle(passage, Finished.ROBOT)

    def _serve(self, passage: Passage, work: Work) -> Process:
        env, way, ready_s = self._env, self._way, float(self._env.now)
        due_s = max(passage.arrival_s + self._deadline_s, ready_s) + 2 * work.on_link_s
        if due_s < math.inf:
            env.process(self._watch(passage, due_s))
        with way.uplink.turn() as turn:
            yield turn
            sent_s = float(env.now)
            if passage not in self._away:  # overdue before it had the link: it stays here
                return
            passage.link_wait_s = sent_s - ready_s
            passage.sent_bytes = work.payload_bytes
            self.meter.sent(passage.number, math.ceil(work.payload_bytes), sent_s, True)
            yield from way.uplink.passes(work.payload_bytes)
        self._sending.discard(passage)
        self._wake()
        yield env.timeout(way.uplink.delay_s)
        came_s = float(env.now)
        with way.server.request() as turn:
            yield turn
            self.served_s += work.tail_s
            yield env.timeout(work.tail_s)
        left_s = float(env.now)
        yield from way.downlink.cross(work.answer_bytes)
        yield env.timeout(way.downlink.delay_s)
        answered_s = float(env.now)
        self.meter.answered(passage.number, answered_s, left_s - came_s)
        self._away.discard(passage)
        self._silent.discard(passage)
        if passage.finished is None:
            if passage in self._stranded:
                self._stranded.remove(passage)
            passage.tail_s = left_s - came_s
            passage.link_s = answered_s - sent_s - passage.tail_s
            self._settle(passage, Finished.SERVER)
        self._wake()

    def _watch(self, passage: Passage, due_s: float) -> Process:
        """Leave to the robot what has no answer in time."""
        yield self._env.timeout(due_s - float(self._env.now))
        if passage.finished is None:
            self._away.discard(passage)
            self._sending.discard(passage)
            if passage.sent_bytes:
                self._silent.add(passage)
            self._stranded.append(passage)
            self._wake()

    def _settle(self, passage: Passage, how: Finished) -> None:
        passage.done_s, passage.finished = float(self._env.now), how
        self._stations.settled(passage)

    def _wake(self) -> None:
        changed, self._changed = self._changed, self._env.event()
        changed.succeed()
