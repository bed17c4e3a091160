"""A robot of a fleet in simulated time: when its frames come, its plan, what was seen of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import simpy

from codesign_ros.simulation.line import Line, Process
from codesign_ros.simulation.pipeline import Finished, Passage, Pipeline, Way
from codesign_ros.simulation.work import STEADY, Varies, Work
from codesign_ros.types.errors import CodesignError


@dataclass
class Seen:
    """What became of a robot's frames.

    Attributes:
        dropped_s: when frames gave way to newer ones [s].
        answered_s: when answers came [s].
        responses_s: time from a frame's stamp to its answer, likewise [s].
    """

    dropped_s: list[float] = field(default_factory=list)
    answered_s: list[float] = field(default_factory=list)
    responses_s: list[float] = field(default_factory=list)

    def since(self, start_s: float) -> Seen:
        """The same from a time on."""
        kept = [i for i, at_s in enumerate(self.answered_s) if at_s >= start_s]
        return replace(
            self,
            dropped_s=[at_s for at_s in self.dropped_s if at_s >= start_s],
            answered_s=[self.answered_s[i] for i in kept],
            responses_s=[self.responses_s[i] for i in kept],
        )


class Robot:
    """Takes frames under one plan; ``Stations`` of its pipeline.

    Args:
        env: simulated time.
        work: what a frame asks for.
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
        self.seen = Seen()
        self._env, self._rng, self._spread, self._depth = env, rng, spread, queue_depth
        self._number = 0
        self._done: list[Callable[[], None]] = []
        self._pipeline = Pipeline(env, self, Way(uplink, downlink, server), queue_depth)

    @property
    def served_s(self) -> float:
        """For how long the server has worked for it [s]."""
        return self._pipeline.served_s

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
        self._number += 1
        self._pipeline.take(self._number)

    def asks(self, number: int, now_s: float, *, alone: bool) -> Work:
        """See ``Stations``."""
        return self._spread.draw(self.work, self._rng)

    def settled(self, passage: Passage) -> None:
        """See ``Stations``."""
        if passage.finished is Finished.DROPPED:
            self.seen.dropped_s.append(passage.done_s)
        else:
            self.seen.answered_s.append(passage.done_s)
            self.seen.responses_s.append(passage.done_s - passage.arrival_s)
        self._tell_done()

    def _played(self, gaps_s: Iterable[float]) -> Process:
        for gap_s in gaps_s:
            yield self._env.timeout(gap_s)
            self.frame()

    def _tell_done(self) -> None:
        for tell in self._done:
            tell()
