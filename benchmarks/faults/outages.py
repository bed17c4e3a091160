"""Outages: each fault once, and what became of the frames around it."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from right_answers import RightAnswers

from codesign_ros.msg import DeviceProfile
from codesign_ros.nodes.interface import qos
from codesign_ros.runtime.messages import Result, Status
from codesign_ros.testbed.bed import LinkShape
from codesign_ros.testbed.session import Session
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

# Answers that begin so long after the outage did may take so many times the robot's own time.
_NOTICED_S, _MOST_TIMES = 1.0, 1.5
# Frames must go to the server again so soon after it is back [s]; it is given up after so long.
_RETURN_S, _GIVE_UP_S = 2.0, 40.0
STEADY_FRAMES = 28


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and comes right.

    Attributes:
        name: what, in a few words.
        begin, end: do it, and undo it.
        duration_s: how long it lasts [s].
        is_distrusted: when it ends, the robot has learned not to trust the link.
        restarts: it ends with a new tail, which is there once it is active.
    """

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]
    duration_s: float
    is_distrusted: bool = False
    restarts: bool = False


@dataclass(frozen=True)
class Outcome:
    """What was seen of one fault; see the module's text.

    Attributes:
        fault: its name.
        duration_s: how long it lasted [s].
        own_s: what the robot alone takes to compute a frame [s].
        worst_s: longest time of an answer in the outage, from its first second on [s].
        worst_times: the same in times of what the robot alone takes; of that frame, or of the last
            one before that it computed, where it took longer than usual, for the machine is not
            always as fast.
        return_s: from its end, or from when the tail is active again, to the result of the first
            frame that went to the server, whoever was first with the answer: for a while the robot
            computes such a frame as well [s]; None = none did.
        plans: plans that were made from its beginning on.
        returns: how often frames began to go to the server again.
        frames, lost, doubled, unordered, dropped, wrong: frames seen, and those that went wrong.
        is_distrusted: as the fault's.
    """

    fault: str
    duration_s: float
    own_s: float
    worst_s: float
    worst_times: float
    return_s: float | None
    plans: int
    returns: int
    frames: int
    lost: int
    doubled: int
    unordered: int
    dropped: int
    wrong: int
    is_distrusted: bool

    @property
    def faults(self) -> list[str]:
        """What is not as it must be."""
        wrong = []
        if self.worst_times > _MOST_TIMES:
            wrong.append(f"answers took {self.worst_times:.1f} x the robot's own time")
        if self.return_s is None:
            wrong.append("the server was not used again")
        elif self.return_s > _RETURN_S and not self.is_distrusted:
            wrong.append(f"back after {self.return_s:.1f} s")
        if self.lost or self.doubled or self.unordered or self.wrong:
            wrong.append("frames lost, doubled, out of order or wrong")
        return wrong


def faults(session: Session, link: LinkShape, short: bool) -> Iterator[Fault]:
    """All that is tried."""
    bed, nodes = session.bed, session.processes

    def mend() -> None:
        bed.shape(link)

    def send(number: signal.Signals, *names: str) -> Callable[[], None]:
        return lambda: [nodes.send(name, number) for name in names] and None

    def start(*names: str) -> Callable[[], None]:
        return lambda: [nodes.start(name) for name in names] and None

    def blink() -> None:
        for _ in range(4):
            bed.cut()
            session.wait(2.0)
            bed.shape(link)
            session.wait(2.0)
        bed.cut()

    yield Fault("link cut", bed.cut, mend, 1.0)
    yield Fault("link cut", bed.cut, mend, 5.0)
    if not short:
        yield Fault("link cut", bed.cut, mend, 60.0)
    thin = LinkShape(0.2e6, link.burst_bytes)
    yield Fault("20 to 0.2 Mbit/s", lambda: bed.shape(thin), mend, 10.0)
    yield Fault("server frozen", send(signal.SIGSTOP, "tail"), send(signal.SIGCONT, "tail"), 5.0)
    yield Fault("server killed", send(signal.SIGKILL, "tail"), start("tail"), 5.0, restarts=True)
    yield Fault("server stopped", send(signal.SIGINT, "tail"), start("tail"), 5.0, restarts=True)
    both = "tail", "planner"
    kill = send(signal.SIGKILL, *both)
    yield Fault("server and planner killed", kill, start(*both), 5.0, restarts=True)
    yield Fault("link 2 s off, 2 s on", blink, mend, 2.0, True)


class Watch:
    """What is looked at around a fault.

    Args:
        session: the nodes.
        answers: what each frame's answer must be.
        own_s: what the robot alone takes to compute a frame [s].
        trace: takes a line for each answer and each plan.
    """

    def __init__(
        self, session: Session, answers: RightAnswers, own_s: float, trace: TextIO
    ) -> None:
        self._session = session
        self._answers = answers
        self._own_s = own_s
        self._trace = trace
        # When the tail said that it is active [s].
        self._active_s: list[float] = []
        session.observer.node.listen(
            DeviceProfile, "/codesign/devices", self._on_device, qos.state(depth=64)
        )

    def _on_device(self, msg: DeviceProfile) -> None:
        if msg.role == DeviceProfile.ROLE_TAIL and msg.state == "active":
            self._active_s.append(time.monotonic())

    def measure(self, fault: Fault) -> Outcome:
        """Let one thing go wrong and come right.

        Raises:
            CodesignError: frames did not go to the server before.
        """
        session, observer = self._session, self._session.observer
        session.wait_for_server(STEADY_FRAMES)
        first, plans = len(observer.results), len(observer.plans)
        begun_s = time.monotonic()
        fault.begin()
        session.wait(fault.duration_s)
        fault.end()
        ended_s = time.monotonic()
        try:
            session.wait_for_server(STEADY_FRAMES, _GIVE_UP_S)
            is_back = True
        except CodesignError:
            is_back = False
        results, made = observer.results[first:], observer.plans[plans:]
        self._write(fault, begun_s, results, made)
        active_s = (at_s for at_s in self._active_s if fault.restarts and at_s > ended_s)
        there_s = next(active_s, ended_s)
        back_s = (
            at_s - there_s
            for at_s, result in results
            if at_s > ended_s and result.payload_bytes > 0
        )
        during = [
            result
            for at_s, result in results
            if begun_s + _NOTICED_S < at_s - result.response_s < ended_s
        ]
        return outcome(
            fault,
            self._own_s,
            during,
            max(0.0, next(back_s)) if is_back else None,
            [result for _, result in results],
            plans=len(made),
            wrong=self._answers.wrong(result for _, result in results),
        )

    def _write(
        self,
        fault: Fault,
        begun_s: float,
        results: Sequence[tuple[float, Result]],
        plans: Sequence[tuple[float, Plan]],
    ) -> None:
        lines = [
            (
                at_s,
                f"frame {r.sequence} after {r.response_s:.3f} s, {r.finished_by or r.reason}, "
                f"head {r.head_s:.3f} s, {r.payload_bytes} bytes sent, link {r.link_s:.3f} s",
            )
            for at_s, r in results
        ] + [(at_s, f"plan {plan.epoch}: cut {plan.cut}, {plan.reason}") for at_s, plan in plans]
        print(f"{fault.name}, {fault.duration_s:g} s; alone {self._own_s:.3f} s", file=self._trace)
        for at_s, text in sorted(lines):
            print(f"{at_s - begun_s:8.3f} s: {text}", file=self._trace)
        self._trace.flush()


def outcome(
    fault: Fault,
    own_s: float,
    during: Sequence[Result],
    return_s: float | None,
    results: Sequence[Result],
    *,
    plans: int,
    wrong: int,
) -> Outcome:
    """Count what became of the frames."""
    numbers = [result.sequence for result in results]
    served = [result.finished_by == "server" for result in results]
    return Outcome(
        fault=fault.name,
        duration_s=fault.duration_s,
        own_s=own_s,
        worst_s=max((r.response_s for r in during), default=0.0),
        worst_times=max(_in_own_times(during, own_s), default=0.0),
        return_s=return_s,
        plans=plans,
        returns=sum(now and not before for before, now in itertools.pairwise(served)),
        **order(numbers),
        dropped=sum(result.status is Status.DROPPED for result in results),
        wrong=wrong,
        is_distrusted=fault.is_distrusted,
    )


def _in_own_times(during: Sequence[Result], own_s: float) -> Iterator[float]:
    """How long answers took, in times of what the robot alone took then."""
    at_last_s = own_s
    for result in during:
        if result.finished_by != "server":
            at_last_s = result.head_s
        yield result.response_s / max(own_s, at_last_s)


def order(numbers: Sequence[int]) -> dict[str, int]:
    """How many frames there are, and how many are lost, doubled and out of order."""
    return {
        "frames": len(numbers),
        "lost": max(numbers) - min(numbers) + 1 - len(set(numbers)),
        "doubled": len(numbers) - len(set(numbers)),
        "unordered": sum(b < a for a, b in itertools.pairwise(numbers)),
    }
