"""The simulated way of frames through robot, link and server: queues, and nothing else.

What a frame needs at each station is asked of ``Stations``, when the robot begins with it; this
module says when what happens. Anything that takes frames as ``Pipeline`` does may stand in its
place.

As the head does (``runtime/head``): so many frames wait for the robot, and the oldest gives way to
one more; frames leave in order, one at a time on the link; a frame whose answer is overdue is
finished on the robot, before those that wait; and while an answer is overdue the robot works alone.
Results come out in the order of the frames.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from codesign_ros.runtime.head.settings import HeadSettings
from codesign_ros.runtime.link.estimate import OVERHEAD_BYTES
from codesign_ros.simulation.link_rate import LinkRate


class Finished(str, Enum):
    """Who finished a frame."""

    ROBOT = "robot"
    SERVER = "server"
    FALLBACK = "fallback"
    DROPPED = "dropped"


@dataclass(frozen=True)
class Work:
    """What a frame needs.

    Attributes:
        head_s: time of the robot [s].
        payload_bytes: what crosses the link; None = nothing, the robot has the answer [bytes].
        tail_s: time of the server [s].
        on_link_s: time on the link that the robot expects, by which an answer is overdue [s].
    """

    head_s: float
    payload_bytes: int | None = None
    tail_s: float = 0.0
    on_link_s: float = 0.0


@dataclass(frozen=True)
class Passage:
    """What became of a frame; times of the simulated clock [s].

    Attributes:
        number: of the frame.
        arrival_s: when it came.
        begin_s: when the robot began with it, at last; of a dropped frame when it was dropped.
        done_s: when its answer was there, or it was dropped.
        finished: who finished it.
        head_s, link_wait_s, link_s, tail_s: what it took at each station; the server's with the
            wait there.
        sent_bytes: what crossed the link for it, an answer that came too late included [bytes].
    """

    number: int
    arrival_s: float
    begin_s: float
    done_s: float
    finished: Finished
    head_s: float = 0.0
    link_wait_s: float = 0.0
    link_s: float = 0.0
    tail_s: float = 0.0
    sent_bytes: int = 0


class Stations(Protocol):
    """Tells what frames need, and is told what crossed the link."""

    def work(self, number: int, now_s: float, *, alone: bool) -> Work:
        """What a frame needs with which the robot begins now; ``alone``: all on the robot."""

    def crossed(self, size_bytes: int, sent_s: float, answered_s: float, remote_s: float) -> None:
        """Told of a transfer; the robot itself knows of it when the answer is there.

        Args:
            size_bytes: the payload [bytes].
            sent_s: when it had the link [s].
            answered_s: when the answer was there [s].
            remote_s: what the server spent on it [s].
        """


@dataclass(frozen=True)
class Way:
    """The link.

    Attributes:
        rate: of the uplink over time.
        delay_s: from the robot to the server [s].
        back_s: an answer's way back [s].
    """

    rate: LinkRate
    delay_s: float = 0.0
    back_s: float = 0.0


class Pipeline:
    """Takes frames in the order of their arrival; see the module.

    Args:
        stations: what frames need; they are numbered from 0 as they come.
        way: the link.
        queue_depth: frames that may wait for the robot.
        deadline_s: after so long, and twice the time on the link, an answer is overdue [s].
    """

    def __init__(
        self,
        stations: Stations,
        way: Way,
        queue_depth: int = HeadSettings().queue_depth,
        deadline_s: float = HeadSettings().deadline_s,
    ) -> None:
        self._stations = stations
        self._way = way
        self._depth = queue_depth
        self._deadline_s = deadline_s
        self._waiting: deque[tuple[int, float]] = deque()
        # Overdue ones: when they became so, number, arrival, payload that crossed all the same.
        self._stranded: list[tuple[float, int, float, int]] = []
        # While an answer is overdue: from when to when.
        self._silences_s: list[tuple[float, float]] = []
        self._robot_s = self._link_s = self._server_s = 0.0
        self._passages: dict[int, Passage] = {}
        # Frames that have their results, as all before them, and when they had [s].
        self._settled, self._settled_s = 0, 0.0
        self._offered = 0

    def offer(self, number: int, arrival_s: float) -> None:
        """Take in the next frame."""
        self._work_until(arrival_s)
        self._offered = number + 1
        self._waiting.append((number, arrival_s))
        if len(self._waiting) > self._depth and self._robot_s > arrival_s:
            oldest, came_s = self._waiting.popleft()
            dropped = Passage(oldest, came_s, arrival_s, arrival_s, Finished.DROPPED)
            self._passages[oldest] = dropped

    def settled_s(self, number: int) -> float:
        """Work on until a frame has its result, and return when all up to it have theirs [s].

        Args:
            number: of the frame; not before that of an earlier call.
        """
        while self._settled <= number:
            while self._settled not in self._passages:
                self._begin_next()
            self._settled_s = max(self._settled_s, self._passages[self._settled].done_s)
            self._settled += 1
        return self._settled_s

    @property
    def oldest(self) -> int:
        """The first frame that has no result yet."""
        numbers = [number for _, number, *_ in self._stranded]
        numbers += [number for number, _ in self._waiting]
        return min(numbers, default=self._offered)

    def finish(self) -> list[Passage]:
        """Work off what is there; return all passages in the order of the frames."""
        self._work_until(float("inf"))
        return [self._passages[number] for number in sorted(self._passages)]

    def _work_until(self, time_s: float) -> None:
        while self._next_s() < time_s:
            self._begin_next()

    def _next_s(self) -> float:
        """When the robot begins with its next frame [s]."""
        ready_s = [self._stranded[0][0]] if self._stranded else []
        ready_s += [self._waiting[0][1]] if self._waiting else []
        return max(self._robot_s, min(ready_s)) if ready_s else float("inf")

    def _begin_next(self) -> None:
        now_s = self._next_s()
        if self._stranded and self._stranded[0][0] <= now_s:
            _, number, arrival_s, sent_bytes = heapq.heappop(self._stranded)
            self._compute_alone(number, arrival_s, now_s, sent_bytes, Finished.FALLBACK)
            return
        number, arrival_s = self._waiting.popleft()
        self._silences_s = [each for each in self._silences_s if each[1] > now_s]
        if any(start_s <= now_s for start_s, _ in self._silences_s):
            self._compute_alone(number, arrival_s, now_s, 0, Finished.FALLBACK)
            return
        work = self._stations.work(number, now_s, alone=False)
        self._robot_s = now_s + work.head_s
        if work.payload_bytes is None:
            self._passages[number] = Passage(
                *(number, arrival_s, now_s, self._robot_s, Finished.ROBOT), head_s=work.head_s
            )
            return
        self._send(number, arrival_s, now_s, work, work.payload_bytes)

    def _compute_alone(
        self, number: int, arrival_s: float, now_s: float, sent_bytes: int, how: Finished
    ) -> None:
        work = self._stations.work(number, now_s, alone=True)
        self._robot_s = now_s + work.head_s
        self._passages[number] = Passage(
            *(number, arrival_s, now_s, self._robot_s, how),
            head_s=work.head_s,
            sent_bytes=sent_bytes,
        )

    def _send(
        self, number: int, arrival_s: float, begin_s: float, work: Work, payload_bytes: int
    ) -> None:
        ready_s, way = self._robot_s, self._way
        sent_s = max(ready_s, self._link_s)
        due_s = max(arrival_s + self._deadline_s, ready_s)
        if sent_s > due_s:  # it never leaves the robot
            heapq.heappush(self._stranded, (due_s, number, arrival_s, 0))
            return
        self._link_s = way.rate.across_s(sent_s, payload_bytes + OVERHEAD_BYTES)
        there_s = self._link_s + way.delay_s
        self._server_s = max(there_s, self._server_s) + work.tail_s
        answered_s = self._server_s + way.back_s
        self._stations.crossed(payload_bytes, sent_s, answered_s, self._server_s - there_s)
        overdue_s = due_s + 2 * work.on_link_s
        if answered_s > overdue_s:
            heapq.heappush(self._stranded, (overdue_s, number, arrival_s, payload_bytes))
            self._silences_s.append((overdue_s, answered_s))
            return
        self._passages[number] = Passage(
            *(number, arrival_s, begin_s, answered_s, Finished.SERVER),
            head_s=work.head_s,
            link_wait_s=sent_s - ready_s,
            link_s=self._link_s - sent_s + way.delay_s + way.back_s,
            tail_s=self._server_s - there_s,
            sent_bytes=payload_bytes,
        )
