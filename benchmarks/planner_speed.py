"""How fast is the planner? The detector's whole joint grid, and 1,000 robots with one server.

1. The joint grid of the detector that comes with the package (or of ``--bundle``): every cut, all
   structures of head and of tail, merges, precisions and codecs, three servers. The cost tables
   are made once, as a running planner does; then each solve starts from the tables with another
   link rate. The median of ``--solves`` counts. Told is how many candidates have a known cost; the
   time is that of all, since what a codec loses at a cut where it was not measured is not known.
2. ``--robots`` robots of four device classes, each with its own slowdown, radio and weight of
   accuracy, share one server and one link. Reducing a class to its non-dominated choices is done
   once per class; the plan is then found for all robots together. Told are both times and how far
   the plan may be above the best one (the gap to the lower bound).

Costs are those of mode ``roofline`` from the devices' peaks, with robots of the fleet 2 to 10 times
slower than that; the codecs' sizes are measured on the bundle's frames.

Exit status 1 if a solve takes more than 10 ms, or the fleet more than 1 s.

    OMP_NUM_THREADS=1 scripts/in_ros python benchmarks/planner_speed.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from codesign_ros.bundle import Bundle
from codesign_ros.console import slim_table
from codesign_ros.cost.catalogue import find_device, load_devices
from codesign_ros.planning.fleet.options import Options, options
from codesign_ros.planning.fleet.robots import FleetRobot
from codesign_ros.planning.fleet.solve import share
from codesign_ros.planning.grid import grid
from codesign_ros.planning.problem import Problem
from codesign_ros.resources import default_bundle, resource_path
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, PRECISIONS, Merge
from codesign_ros.types.links import LinkSpec
from codesign_ros.whatif.problem import WhatIf, what_if_problem
from codesign_ros.wire.codecs import FRAME_CODECS, TENSOR_CODECS

SOLVE_LIMIT_S, FLEET_LIMIT_S = 0.010, 1.0
# Seconds that all accuracy is worth.
LAMBDA_1 = 1.0
ROBOTS = ("jetson-orin-nano", "jetson-xavier-nx", "jetson-nano", "raspberry-pi-5")
SERVERS = ("rtx-4090", "l4", "t4")
DELAY_S = 0.013


def problem_of(bundle: Bundle, robot: str, servers: Sequence[str]) -> Problem:
    """The whole joint problem of a bundle on devices of ``config/devices.yaml``."""
    devices = load_devices(resource_path("config") / "devices.yaml")
    return what_if_problem(
        bundle,
        WhatIf(
            mode="roofline",
            robot=find_device(devices, robot),
            servers=tuple(find_device(devices, name) for name in servers),
            links=(LinkSpec(100e6, DELAY_S),) * len(servers),
            structures=BRANCH_STRUCTURES,
            merges=tuple(Merge),
            precisions=PRECISIONS,
            codecs=TENSOR_CODECS,
            frame_codecs=FRAME_CODECS,
            lambda_1=LAMBDA_1,
        ),
    )


def time_grid(problem: Problem, solves: int) -> dict[str, Any]:
    """Solve at random link rates; times, and how many candidates there were."""
    rates = 10 ** np.random.default_rng(0).uniform(6.0, 9.0, solves)
    grid(problem)  # the first solve touches the memory for the first time
    times_s, busy_s = [], []
    for rate in track(rates, "Solving the joint grid", console=Console(stderr=True)):
        links = tuple(LinkSpec(float(rate), DELAY_S) for _ in problem.links)
        changed = replace(problem, links=links)
        started_s, busy_from_s = time.perf_counter(), time.process_time()
        solution = grid(changed)
        times_s.append(time.perf_counter() - started_s)
        busy_s.append(time.process_time() - busy_from_s)
    return {
        "tried": solution.evaluation.objective.size,
        "candidates": solution.candidates,
        "cuts": problem.tables.segments + 1,
        "solves": solves,
        "median_ms": 1e3 * statistics.median(times_s),
        "worst_ms": 1e3 * max(times_s),
        "median_cpu_ms": 1e3 * statistics.median(busy_s),
    }


def fleet_of(classes: Sequence[Options], link: LinkSpec, count: int, seed: int) -> list[FleetRobot]:
    """Robots of all classes in turn, on one link."""
    rng = np.random.default_rng(seed)
    return [
        FleetRobot(
            f"robot{i}",
            classes[i % len(classes)],
            link,
            slowdown=float(rng.uniform(2.0, 10.0)),
            link_rate=float(rng.uniform(0.3, 1.0)),
            lambda_1=float(LAMBDA_1 * rng.uniform(0.5, 2.0)),
        )
        for i in range(count)
    ]


def time_fleet(problems: Sequence[Problem], count: int, bandwidth_bps: float) -> dict[str, Any]:
    """Reduce the classes, then plan the fleet."""
    started_s = time.perf_counter()
    classes = [options(problem) for problem in problems]
    reduce_s = time.perf_counter() - started_s
    plan = share(fleet_of(classes, LinkSpec(bandwidth_bps, DELAY_S), count, seed=1))
    return {
        "robots": count,
        "classes": len(classes),
        "choices": [len(each.head_s) for each in classes],
        "link_mbps": bandwidth_bps / 1e6,
        "reduce_ms": 1e3 * reduce_s,
        "solve_ms": 1e3 * plan.solve_s,
        "gap": plan.gap,
        "mean_objective_ms": 1e3 * plan.objective_s / count,
        "with_server": sum(row.prediction.payload_bytes > 0 for row in plan.rows),
    }


def report(joint: dict[str, Any], fleets: Sequence[dict[str, Any]]) -> list[Table]:
    """Both results for people."""
    first = slim_table(
        f"The joint grid: one solve from the tables, at most {1e3 * SOLVE_LIMIT_S:.0f} ms"
    )
    for column in ("tried", "known", "cuts", "solves", "median ms", "worst ms", "CPU ms"):
        first.add_column(column, justify="right")
    first.add_row(
        f"{joint['tried']:,}",
        f"{joint['candidates']:,}",
        str(joint["cuts"]),
        str(joint["solves"]),
        f"{joint['median_ms']:.2f}",
        f"{joint['worst_ms']:.2f}",
        f"{joint['median_cpu_ms']:.2f}",
    )
    second = slim_table(
        f"{fleets[0]['robots']:,} robots share one server and one link, at most {FLEET_LIMIT_S:g} s"
    )
    for column in ("link Mbit/s", "with server", "mean ms", "reduce ms", "solve ms", "gap"):
        second.add_column(column, justify="right")
    for fleet in fleets:
        second.add_row(
            f"{fleet['link_mbps']:g}",
            str(fleet["with_server"]),
            f"{fleet['mean_objective_ms']:.1f}",
            f"{fleet['reduce_ms']:.0f}",
            f"{fleet['solve_ms']:.0f}",
            f"{100 * fleet['gap']:.4f} %",
        )
    return [first, second]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both benchmarks; the exit status tells whether the limits were kept."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="another bundle than the package's detector")
    parser.add_argument("--solves", type=int, default=50)
    parser.add_argument("--robots", type=int, default=1000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    chosen = parser.parse_args(arguments)
    console = Console()
    try:
        bundle = Bundle.open(chosen.bundle or default_bundle())
        joint = time_grid(problem_of(bundle, ROBOTS[0], SERVERS), chosen.solves)
        problems = [problem_of(bundle, robot, SERVERS[:1]) for robot in ROBOTS]
        fleets = [time_fleet(problems, chosen.robots, rate) for rate in (1e8, 1e9, 1e10)]
    except CodesignError as error:
        print(f"planner_speed: {error}", file=sys.stderr)
        return 2
    for table in report(joint, fleets):
        console.print(table)
    if chosen.json:
        chosen.json.write_text(json.dumps({"grid": joint, "fleets": fleets}, indent=2) + "\n")
    kept = joint["median_ms"] <= 1e3 * SOLVE_LIMIT_S and all(
        fleet["reduce_ms"] + fleet["solve_ms"] <= 1e3 * FLEET_LIMIT_S for fleet in fleets
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
