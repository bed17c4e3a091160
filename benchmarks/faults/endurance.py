"""Many faults and many switches of plan, and what is left of a process after them."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import numpy as np
from outages import order
from right_answers import RightAnswers

from codesign_ros.runtime.messages import Status, known_responses_s
from codesign_ros.testbed.session import Session

# The two plans that are switched between.
POLICIES = "device_only", "server_only_jpeg"
NODES = "planner", "tail", "head", "camera"
# Answers so long before and after a plan came are looked at, and so long after those [s].
_AROUND_S, _QUIET_S = 0.5, 1.0
_SAMPLE_S = 10.0
# Largest growth of a process's memory from the first third to the last.
_GROWTH = 0.02


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        what: what was done.
        seen: what was seen, in words.
        wrong: what is not as it must be.
    """

    what: str
    seen: str
    wrong: tuple[str, ...] = ()


def hurt(session: Session, answers: RightAnswers, count: int, seed: int) -> Finding:
    """Kill and freeze the server at random moments; every frame has one right answer."""
    rng = random.Random(seed)
    nodes, observer = session.processes, session.observer
    first, back_s = len(observer.results), []
    for _ in range(count):
        session.wait(rng.uniform(0.2, 2.0))
        if rng.random() < 0.5:
            nodes.send("tail", signal.SIGKILL)
            session.wait(rng.uniform(0.1, 2.0))
            nodes.start("tail")
        else:
            nodes.send("tail", signal.SIGSTOP)
            session.wait(rng.uniform(0.1, 2.0))
            nodes.send("tail", signal.SIGCONT)
        ended_s = time.monotonic()
        session.wait_for_server(3, timeout_s=60.0)
        back_s.append(time.monotonic() - ended_s)
    results = [result for _, result in observer.results[first:]]
    counts = order([result.sequence for result in results])
    counts["dropped"] = sum(result.status is Status.DROPPED for result in results)
    counts["wrong"] = answers.wrong(results)
    longest_s = max(known_responses_s(results))
    bad = {name: number for name, number in counts.items() if name != "frames" and number}
    return Finding(
        f"{count} kills and freezes",
        f"{counts['frames']} frames, the longest took {longest_s:.2f} s; third in a row by the "
        f"server {median(back_s):.1f} s after the fault, at most {max(back_s):.1f} s",
        tuple(f"{number} {name}" for name, number in bad.items()),
    )


def switch(session: Session, answers: RightAnswers, count: int) -> Finding:
    """Change the plan at full rate; see ``pause`` for what it costs.

    There are longer gaps without a switch, too: those in as long a time after it are told beside.
    """
    first = len(session.observer.results)
    around, beside = [], []
    for policy in itertools.islice(itertools.cycle(POLICIES), count):
        session.set_policy(policy)
        at_s = session.observer.plans[-1][0]
        session.wait(_QUIET_S + _AROUND_S)
        times_s = np.array([when_s for when_s, _ in session.observer.results])
        around.append(pause(times_s, at_s))
        beside.append(pause(times_s, at_s + _QUIET_S))
    pauses_s, periods_s = np.transpose(around)
    others_s, _ = np.transpose(beside)
    results = [result for _, result in session.observer.results[first:]]
    period_s = float(np.median(periods_s))
    pause_s, other_s = (float(np.percentile(each, 95)) for each in (pauses_s, others_s))
    counts = {**order([r.sequence for r in results]), "wrong": answers.wrong(results)}
    wrong = [f"{n} {name}" for name, n in counts.items() if name != "frames" and n]
    if pause_s > period_s:
        wrong.append(f"pause of {pause_s / period_s:.1f} frame periods")
    return Finding(
        f"{count} switches at full rate",
        f"pause {1e3 * np.median(pauses_s):.0f} ms, of 95 % at most {1e3 * pause_s:.0f} ms; "
        f"without a switch {1e3 * np.median(others_s):.0f} ms and {1e3 * other_s:.0f} ms; "
        f"frame period {1e3 * period_s:.0f} ms",
        tuple(wrong),
    )


def pause(times_s: np.ndarray, at_s: float) -> tuple[float, float]:
    """How much longer than usual nothing came around a moment.

    A gap counts by what it is beyond the usual one before or after the moment, whichever is longer:
    two plans are not equally fast.

    Args:
        times_s: when answers came (N,) [s].
        at_s: the moment [s].

    Returns:
        The longest gap beyond the usual one, and the usual one [s].
    """
    sides = (
        times_s[np.abs(times_s - at_s - side * _AROUND_S / 2) < _AROUND_S / 2] for side in (-1, 1)
    )
    usual_s = max((float(np.median(np.diff(s))) for s in sides if len(s) > 1), default=0.0)
    around_s = times_s[np.abs(times_s - at_s) < _AROUND_S]
    longest_s = float(np.diff(around_s).max()) if len(around_s) > 1 else 2 * _AROUND_S
    return longest_s - usual_s, usual_s


def last(session: Session, minutes: float, tell: Callable[[str], None]) -> list[Finding]:
    """Change the plan every second at full rate, and watch what the processes hold on to."""
    ends_s = time.monotonic() + 60 * minutes
    samples: dict[str, list[dict[str, int]]] = {node: [] for node in NODES}
    sampled_s = 0.0
    for policy in itertools.cycle(POLICIES):
        now_s = time.monotonic()
        if now_s > ends_s:
            break
        if now_s > sampled_s + min(_SAMPLE_S, minutes):
            sampled_s = now_s
            for node in NODES:
                samples[node].append(holds(session.processes.pid(node)))
            tell(f"{(ends_s - now_s) / 60:.0f} min left: {samples['head'][-1]}")
        session.set_policy(policy)
        session.wait(max(0.0, now_s + 1.0 - time.monotonic()))
    return [_grown(node, samples[node], minutes) for node in NODES]


def holds(pid: int) -> dict[str, int]:
    """Memory [bytes], handles and threads of a process."""
    process = Path("/proc", str(pid))
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    return {
        "memory": 1024 * int(status["VmRSS"].split()[0]),
        "handles": len(list((process / "fd").iterdir())),
        "threads": int(status["Threads"]),
    }


def _grown(node: str, samples: list[dict[str, int]], minutes: float) -> Finding:
    """Compare the last third with the first."""
    third = max(1, len(samples) // 3)
    seen, wrong = [], []
    for name in ("memory", "handles", "threads"):
        before = mean(sample[name] for sample in samples[:third])
        after = mean(sample[name] for sample in samples[-third:])
        unit = 1e6 if name == "memory" else 1
        seen.append(f"{name} {before / unit:.1f} -> {after / unit:.1f}")
        most = before * (1 + _GROWTH) if name == "memory" else max(s[name] for s in samples[:third])
        if after > most:
            wrong.append(f"more {name}")
    return Finding(
        f"{node}, {minutes:g} min with a switch a second", ", ".join(seen) + " [MB]", tuple(wrong)
    )
