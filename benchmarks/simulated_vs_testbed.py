"""The simulation against the test bed: the same scenarios simulated and run on the real nodes.

A scenario is a rate of the link, a policy, and frames either as fast as results come (window 4) or
at an even rate, 70 % of the simulated pace. The stages are timed on frames that do not count
otherwise, one in flight, in turns with the frames that do: a machine that is now fast and now slow
is so for both. The simulation draws from the frames one in flight and is given the link's rate and
burst, and nothing of what it is compared with. Twelve scenarios by default. Wants root and a quiet
machine; about a quarter of an hour.

    sudo -E scripts/in_ros python benchmarks/simulated_vs_testbed.py
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simpy
from rich.table import Table

from codesign_ros.console import result_console, right, slim_table
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.runtime.messages import Result, Status
from codesign_ros.simulation.line import Line
from codesign_ros.simulation.link_rate import StateRate
from codesign_ros.simulation.robot import Robot
from codesign_ros.simulation.work import Recorded, Work, gaps_s
from codesign_ros.testbed.bed import LinkShape, why_not
from codesign_ros.testbed.measurement import Measurement, plan_text
from codesign_ros.testbed.session import Session
from codesign_ros.testbed.setup import ROBOT, Setup
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec

_CAMERA = f"{ROBOT}/camera"
# As the test bed's: frames in flight, and those that may wait at the head.
_WINDOW, _QUEUE_DEPTH = 4, 8
_EQUAL_RATE = 0.7
_WARM_FRAMES = 8
# Simulated for longer than watched: its quantiles then have no noise of their own.
_SIMULATED_S, _SIMULATED_WARM_S = 300.0, 20.0
_FRAMES_S_TOLERANCE, _P95_TOLERANCE = 0.05, 0.10


class Stages(NamedTuple):
    """What was timed with one frame in flight: the means, every frame, and the delay."""

    work: Work
    frames: Recorded
    delay_s: float


def main() -> int:
    """Run all scenarios and report."""
    arguments = _parser().parse_args()
    console = result_console()
    if reason := why_not():
        print(f"error: {reason}", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    setup = Setup(
        LinkShape(1e6 * arguments.mbps[0], arguments.burst),
        robot_cores=arguments.robot_cores,
        precision=arguments.precision,
        window=_WINDOW,
    )
    cache = default_cache_dir() / "testbed"
    try:
        with Session(setup, "simulated", cache, lambda line: print(line, flush=True)) as session:
            for row in _scenarios(session, arguments):
                rows.append(row)
                (arguments.out / "simulated.json").write_text(json.dumps(rows, indent=1))
                print(_line(row), flush=True)
    except CodesignError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    console.print(_table(rows))
    return 0 if all(map(_is_near, rows)) else 1


def _scenarios(session: Session, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for mbps in arguments.mbps:
        shape = LinkShape(1e6 * mbps, arguments.burst)
        session.bed.shape(shape)
        for policy in arguments.policy:
            session.play()
            session.set_policy(policy)
            session.wait_for_plans(_WARM_FRAMES)
            rate_hz = None
            for _ in range(2):
                stages, measured = _in_turns(session, policy, shape, rate_hz, arguments)
                simulated = _simulated(stages, shape, rate_hz)
                yield {
                    "mbps": mbps,
                    "policy": policy,
                    "rate_hz": rate_hz,
                    "plan": plan_text(session.plan),
                    "measured": measured,
                    "simulated": simulated,
                    "stages_ms": [1e3 * stages.work.head_s, 1e3 * stages.work.tail_s],
                    "payload_bytes": stages.work.payload_bytes,
                    "delay_ms": 1e3 * stages.delay_s,
                }
                rate_hz = _EQUAL_RATE * simulated["frames_s"]


def _in_turns(
    session: Session,
    policy: str,
    shape: LinkShape,
    rate_hz: float | None,
    arguments: argparse.Namespace,
) -> tuple[Stages, dict[str, float]]:
    """Time the stages, one frame in flight, and watch a scenario, in turns.

    Returns:
        The stages, and what the scenario reached: frames a second and quantiles of the response.
    """
    alone: list[Result] = []
    watched: list[Result] = []
    sent_bytes, watched_s = [], 0.0
    for _ in range(arguments.turns):
        found, results = _watch(session, 1, None, arguments.calibrate / arguments.turns, policy)
        alone += results
        sent_bytes.append(found.link_bytes["robot"])
        seconds = arguments.seconds / arguments.turns
        found, results = _watch(session, _WINDOW, rate_hz, seconds, policy)
        watched += results
        watched_s += found.duration_s
    is_sent = session.plan.served_by != ""
    stages = stages_of(alone, float(np.mean(sent_bytes)), shape, is_sent)
    if len(watched) < _WARM_FRAMES:
        raise CodesignError(f"only {len(watched)} frames of a scenario: give --seconds")
    p50_s, p95_s = np.percentile([r.response_s for r in watched], (50, 95)).tolist()
    return stages, {"frames_s": len(watched) / watched_s, "p50_s": p50_s, "p95_s": p95_s}


def _watch(
    session: Session, window: int, rate_hz: float | None, seconds: float, policy: str
) -> tuple[Measurement, list[Result]]:
    """Let the camera begin anew, and watch once what was under way is done; with the answers."""
    session.pause()
    session.observer.set_parameter(_CAMERA, "window", window)
    session.play(rate_hz)
    session.wait_for_frames(_WARM_FRAMES)
    before = len(session.observer.results)
    found = session.watch(seconds, policy, rate_hz)
    seen = [result for _, result in session.observer.results[before:]]
    results = [r for r in seen if r.status is Status.OK and not math.isnan(r.response_s)]
    return found, results


def stages_of(
    results: Sequence[Result], sent_bytes: float, shape: LinkShape, is_sent: bool
) -> Stages:
    """Work out the stages from results of one frame in flight.

    What a frame takes beside its stages, from the camera to the head and back, is the robot's work
    too, so it is added to the head's.

    Args:
        results: the results.
        sent_bytes: what the robot sent for a frame, with all headers [bytes].
        shape: of the link.
        is_sent: whether the plan has a server.

    Raises:
        CodesignError: there are too few.
    """
    if len(results) < _WARM_FRAMES:
        raise CodesignError(f"only {len(results)} frames to time the stages with: give --calibrate")
    head_s = np.array([r.head_s + r.encode_s for r in results])
    tail_s = np.array([r.decode_s + r.tail_s for r in results])
    link_s = np.array([r.link_s for r in results])
    payload = np.array([float(r.payload_bytes) for r in results])
    responses_s = np.array([r.response_s for r in results])
    robot_s = head_s + np.maximum(0.0, responses_s - head_s - link_s - tail_s)
    if not is_sent:
        frames = tuple(Work(float(each_s)) for each_s in robot_s)
        return Stages(Work(float(robot_s.mean())), Recorded(frames), 0.0)
    # A bucket that is full between two frames.
    crossing_s = 8 * max(0.0, sent_bytes - shape.burst_bytes) / shape.rate_bps
    return Stages(
        Work(float(robot_s.mean()), sent_bytes, float(tail_s.mean()), is_sent=True),
        Recorded(
            tuple(
                Work(float(h), sent_bytes * float(share), float(t), is_sent=True)
                for h, share, t in zip(robot_s, payload / payload.mean(), tail_s, strict=True)
            )
        ),
        max(0.0, float(link_s.mean()) - crossing_s) / 2,
    )


def _simulated(stages: Stages, shape: LinkShape, rate_hz: float | None) -> dict[str, float]:
    """Frames a second and response times of the same scenario in simulated time [1/s, s]."""
    env = simpy.Environment()
    rate = StateRate(LinkSpec(shape.rate_bps))
    up, down = (Line(env, rate, stages.delay_s, shape.burst_bytes) for _ in range(2))
    rng = np.random.default_rng(0)
    server = simpy.Resource(env)
    robot = Robot(env, stages.work, up, down, server, rng, stages.frames, _QUEUE_DEPTH)
    if rate_hz is None:
        robot.play_window(_WINDOW)
    else:
        robot.play(gaps_s("rate", rate_hz, rng))
    env.run(until=_SIMULATED_S)
    seen = robot.seen.since(_SIMULATED_WARM_S)
    p50_s, p95_s = np.percentile(seen.responses_s, (50, 95)).tolist()
    frames_s = len(seen.responses_s) / (_SIMULATED_S - _SIMULATED_WARM_S)
    return {"frames_s": frames_s, "p50_s": p50_s, "p95_s": p95_s}


def _off(row: dict[str, Any], key: str) -> float:
    return float(row["simulated"][key] / row["measured"][key] - 1)


def _is_near(row: dict[str, Any]) -> bool:
    frames_s, p95_s = _off(row, "frames_s"), _off(row, "p95_s")
    return abs(frames_s) <= _FRAMES_S_TOLERANCE and abs(p95_s) <= _P95_TOLERANCE


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    simulated, measured = row["simulated"], row["measured"]
    return (
        f"{row['mbps']:g} Mbit/s",
        row["policy"],
        f"{row['rate_hz']:.1f} Hz" if row["rate_hz"] else f"window {_WINDOW}",
        f"{simulated['frames_s']:.1f}",
        f"{measured['frames_s']:.1f}",
        f"{_off(row, 'frames_s'):+.0%}",
        f"{1e3 * simulated['p95_s']:.0f}",
        f"{1e3 * measured['p95_s']:.0f}",
        f"{_off(row, 'p95_s'):+.0%}",
        "yes" if _is_near(row) else "NO",
    )


def _line(row: dict[str, Any]) -> str:
    return " ".join(_cells(row))


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    near = sum(map(_is_near, rows))
    table = slim_table(
        f"Simulated and measured: {near} of {len(rows)} within {_FRAMES_S_TOLERANCE:.0%} of "
        f"throughput and {_P95_TOLERANCE:.0%} of p95",
        *("link", "policy", "frames"),
        *right("frames/s sim.", "test bed", "off", "p95 sim. [ms]", "test bed", "off"),
        "near",
    )
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mbps", type=float, nargs="+", default=[8, 100], help="of the link")
    parser.add_argument("--burst", type=int, default=16_000, help="of the link [bytes]")
    parser.add_argument("--policy", nargs="+", default=["device_only", "server_only_jpeg", "cut:8"])
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--robot-cores", type=float, default=0.5, help="share of a core")
    parser.add_argument("--calibrate", type=float, default=12.0, help="to time the stages [s]")
    parser.add_argument("--seconds", type=float, default=20.0, help="to watch a scenario")
    parser.add_argument("--turns", type=int, default=4, help="in so many turns")
    parser.add_argument("--out", type=Path, default=Path("log/simulated"))
    return parser


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
