"""What a robot does while its server or its link is gone: the real nodes on a test bed, hurt.

The camera sends at a fixed rate and frames go to the server; then the server is killed, frozen or
stopped, or the link is cut, and comes back. For each fault the table says how long answers took
from the first second of the outage on, against the robot's own time; how soon frames went to the
server again once it was back; how many plans were made; and what became of the frames. Wants root
and a quiet machine.

    make faults
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TextIO

from codesign_ros.console import result_console, right, slim_table
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.runtime.messages import Result, Status
from codesign_ros.testbed.bed import LinkShape, why_not
from codesign_ros.testbed.session import Session, Setup
from codesign_ros.types import CodesignError

# Answers that begin so long after the outage did may take so many times the robot's own time.
_NOTICED_S, _MOST_TIMES = 1.0, 1.5
# Frames must go to the server again so soon after it is back [s]; it is given up after so long.
_RETURN_S, _GIVE_UP_S = 2.0, 40.0
_STEADY_FRAMES = 28
_OWN_S = 6.0


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and comes right.

    Attributes:
        name: what, in a few words.
        begin, end: do it, and undo it.
        duration_s: how long it lasts [s].
        is_slow: the server is not there at once when it ends, as a process starts anew, or the
            robot has learned not to trust it.
    """

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]
    duration_s: float
    is_slow: bool = False


@dataclass(frozen=True)
class Outcome:
    """What was seen of one fault; see the module's text.

    Attributes:
        fault: its name.
        duration_s: how long it lasted [s].
        own_s: what the robot alone takes to compute a frame [s].
        worst_s: longest time of an answer in the outage, from its first second on [s].
        return_s: from its end to the first answer by the server [s]; None = it did not come.
        plans: plans that were made from its beginning on.
        returns: how often frames began to go to the server again.
        frames, lost, doubled, unordered, dropped: frames seen, and those that went wrong.
        is_slow: as the fault's.
    """

    fault: str
    duration_s: float
    own_s: float
    worst_s: float
    return_s: float | None
    plans: int
    returns: int
    frames: int
    lost: int
    doubled: int
    unordered: int
    dropped: int
    is_slow: bool

    @property
    def faults(self) -> list[str]:
        """What is not as it must be."""
        wrong = []
        if self.worst_s > _MOST_TIMES * self.own_s:
            wrong.append(f"answers took {self.worst_s / self.own_s:.1f} x the robot's own time")
        if self.return_s is None:
            wrong.append("the server was not used again")
        elif self.return_s > _RETURN_S and not self.is_slow:
            wrong.append(f"back after {self.return_s:.1f} s")
        if self.lost or self.doubled or self.unordered:
            wrong.append("frames lost, doubled or out of order")
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
    yield Fault("server killed", send(signal.SIGKILL, "tail"), start("tail"), 5.0, True)
    yield Fault("server stopped", send(signal.SIGINT, "tail"), start("tail"), 5.0, True)
    both = "tail", "planner"
    yield Fault("server and planner killed", send(signal.SIGKILL, *both), start(*both), 5.0, True)
    yield Fault("link 2 s off, 2 s on", blink, mend, 2.0, True)


def measure(session: Session, fault: Fault, own_s: float, trace: TextIO | None = None) -> Outcome:
    """Let one thing go wrong and come right; ``trace`` takes a line for each answer.

    Raises:
        CodesignError: frames did not go to the server before.
    """
    observer = session.observer
    session.wait_for_server(_STEADY_FRAMES)
    first, plans = len(observer.results), len(observer.plans)
    begun_s = time.monotonic()
    fault.begin()
    session.wait(fault.duration_s)
    fault.end()
    ended_s = time.monotonic()
    try:
        session.wait_for_server(_STEADY_FRAMES, _GIVE_UP_S)
    except CodesignError:
        return_s = None
    else:
        return_s = next(
            at_s - ended_s
            for at_s, result in observer.results[first:]
            if at_s > ended_s and result.finished_by == "server"
        )
    results = observer.results[first:]
    if trace:
        trace.write(f"{fault.name}, {fault.duration_s:g} s; the robot alone takes {own_s:.3f} s\n")
        for at_s, r in results:
            trace.write(
                f"{at_s - begun_s:7.3f} s: frame {r.sequence:4d} after {r.response_s:.3f} s, "
                f"{r.finished_by or r.reason}, head {r.head_s:.3f} link {r.link_s:.3f}\n"
            )
        trace.flush()
    during = [
        result.response_s
        for at_s, result in results
        if begun_s + _NOTICED_S < at_s - result.response_s < ended_s
    ]
    return outcome(
        fault, own_s, max(during, default=0.0), return_s, results, len(observer.plans) - plans
    )


def outcome(
    fault: Fault,
    own_s: float,
    worst_s: float,
    return_s: float | None,
    results: Sequence[tuple[float, Result]],
    plans: int,
) -> Outcome:
    """Count what became of the frames."""
    numbers = [result.sequence for _, result in results]
    served = [result.finished_by == "server" for _, result in results]
    return Outcome(
        fault=fault.name,
        duration_s=fault.duration_s,
        own_s=own_s,
        worst_s=worst_s,
        return_s=return_s,
        plans=plans,
        returns=sum(now and not before for before, now in itertools.pairwise(served)),
        frames=len(numbers),
        lost=max(numbers) - min(numbers) + 1 - len(set(numbers)),
        doubled=len(numbers) - len(set(numbers)),
        unordered=sum(b < a for a, b in itertools.pairwise(numbers)),
        dropped=sum(result.status is Status.DROPPED for _, result in results),
        is_slow=fault.is_slow,
    )


def run(arguments: argparse.Namespace) -> list[Outcome]:
    """Measure all of them."""
    link = LinkShape(20e6)
    setup = Setup(link, precision="int8-channel", objective="latency")
    cache = default_cache_dir() / "testbed"
    found = []
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (
        Session(setup, "faults", cache, lambda line: print(line, flush=True)) as session,
        (arguments.out / "answers.txt").open("w") as trace,
    ):
        session.play(arguments.rate_hz)
        session.set_policy("device_only")
        session.wait_for_epoch(session.plan.epoch, _STEADY_FRAMES)
        seen = len(session.observer.results)
        session.wait(_OWN_S)
        own_s = median(result.head_s for _, result in session.observer.results[seen:])
        session.set_policy(arguments.policy)
        for fault in faults(session, link, arguments.short):
            if not any(words in f"{fault.name} {fault.duration_s:g}" for words in arguments.only):
                continue
            found.append(measure(session, fault, own_s, trace))
            print(f"{fault.name}, {fault.duration_s:g} s: {found[-1].faults or 'as it must'}")
    return found


def main() -> int:
    """Parse the command line, measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="without the longest")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="faults whose name and length have one of these"
    )
    parser.add_argument("--policy", default="server_only_jpeg", help="whose plan is in force")
    parser.add_argument("--rate-hz", type=float, default=4.0, help="of the camera")
    parser.add_argument("--out", type=Path, default=Path("log/faults"))
    arguments = parser.parse_args()
    if reason := why_not():
        print(f"skipped: {reason}", file=sys.stderr)
        return 0
    try:
        found = run(arguments)
    except CodesignError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    path = arguments.out / "faults.json"
    path.write_text(json.dumps([asdict(each) for each in found], indent=1))
    numbers = "lasts s", "worst", "back s", "returns", "plans", "frames", "lost", "dropped"
    table = slim_table("Faults", "fault", *right(*numbers), "wrong")
    for each in found:
        table.add_row(
            each.fault,
            f"{each.duration_s:g}",
            f"{each.worst_s / each.own_s:.2f} x",
            "never" if each.return_s is None else f"{each.return_s:.1f}",
            *map(str, (each.returns, each.plans, each.frames, each.lost, each.dropped)),
            "; ".join(each.faults) or "-",
        )
    console = result_console()
    console.print(table)
    console.print(
        "worst: the longest answer after the first second of the outage, in times of what the "
        f"robot alone takes; {path}"
    )
    return int(any(each.faults for each in found))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
