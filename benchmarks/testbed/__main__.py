"""Policies against each other on real nodes over a shaped link, each side on a share of a core.

Two network namespaces, joined by a link that ``tc tbf`` shapes, have the robot's camera and head,
and the server's tail and planner; the bag that comes with the package is looped. Every policy is in
force on the same nodes, in turn and several times, the camera sending as fast as results come
(window 4); then ours is left alone and its plans are counted; then all run at an equal rate, or at
those of ``--rate-hz``. Wants root and a quiet machine.

    sudo -E make testbed ARGS=--short
    sudo -E make testbed ARGS="--robots 2 --mbps 16 --precision int8-channel"
    sudo -E make testbed ARGS="--radio fading-radio --objective latency --rate-hz 5"
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matrix import BY_PART, OURS, PEERS, VARIANTS, Matrix, measure_cell
from report import draw, print_tables

from codesign_ros.console import result_console
from codesign_ros.cost.catalogue import find_link, load_links
from codesign_ros.resources import resource_path
from codesign_ros.runtime.planner.policy import check_policy
from codesign_ros.testbed.bed import why_not
from codesign_ros.types.errors import CodesignError

_CUTS = range(27)
_SHORT_CUTS = (4, 8, 12)


def main() -> int:
    """Run the cells and report."""
    arguments = _parser().parse_args()
    console = result_console()
    try:
        matrix = _matrix(arguments)
        for policy in matrix.policies:
            if policy not in VARIANTS:
                check_policy(policy)
    except CodesignError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if reason := why_not():
        print(f"error: {reason}", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    cells: list[dict[str, Any]] = []
    setups = list(matrix.cells())
    for number, setup in enumerate(setups, 1):
        console.rule(f"cell {number} of {len(setups)}")
        # A process for each cell: what DDS keeps of one network must not meet the next.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            measured = pool.apply(measure_cell, (setup, matrix))
        if isinstance(measured, str):
            console.print(f"[red]no result: {measured}[/]")
            continue
        cells.append({"setup": asdict(setup), **measured})
        (arguments.out / "testbed.json").write_text(json.dumps(cells, indent=1))
    if not cells:
        print("error: no cell could be measured", file=sys.stderr)
        return 1
    print_tables(cells, console)
    draw(cells, arguments.out / "testbed.png")
    console.print(f"{arguments.out}/testbed.json, {arguments.out}/testbed.png")
    return 0 if len(cells) == len(setups) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="about ten minutes: a few cells")
    parser.add_argument("--mbps", type=float, nargs="+", default=None, help="rates of the link")
    parser.add_argument("--burst", type=int, default=16_000, help="of the link [bytes]")
    parser.add_argument("--robot-cores", type=float, nargs="+", default=None)
    parser.add_argument("--precision", nargs="+", default=None)
    parser.add_argument("--objective", nargs="+", default=None)
    parser.add_argument(
        "--policy",
        nargs="+",
        default=None,
        help="ours, server_only_jpeg, cut:8, 'ours: + codec', 'ours: latency' and so on",
    )
    parser.add_argument("--robots", type=int, nargs="+", default=[1], help="on one link and server")
    parser.add_argument(
        "--rate-hz",
        type=float,
        nargs="+",
        default=[],
        help="of each camera; as fast as results come is left out then",
    )
    parser.add_argument(
        "--highest", action="store_true", help="search the highest rate with at most 5 %% lost"
    )
    parser.add_argument(
        "--radio", default="", help="a link of config/links.yaml with states, e.g. fading-radio"
    )
    parser.add_argument("--rounds", type=int, default=5, help="each policy's turns")
    parser.add_argument("--seconds", type=float, default=None, help="to watch a policy in a round")
    parser.add_argument("--steady", type=float, default=None, help="seconds of ours left alone")
    parser.add_argument("--out", type=Path, default=Path("log/testbed"))
    return parser


def _matrix(given: argparse.Namespace) -> Matrix:
    short = given.short
    radio = None
    if given.radio:
        radio = find_link(load_links(resource_path("config") / "links.yaml"), given.radio)
        if not radio.states:
            raise CodesignError(f"link {given.radio} has no states that the radio could be in")
    cuts = _SHORT_CUTS if short else _CUTS
    policies = given.policy or [*PEERS, *(f"cut:{cut}" for cut in cuts), OURS]
    if not short and not given.policy:
        policies += list(BY_PART)
    return Matrix(
        rates_bps=[1e6 * rate for rate in given.mbps or ([2, 16] if short else [1, 2, 5, 16, 100])],
        burst_bytes=given.burst,
        robot_cores=given.robot_cores or ([0.5] if short else [0.25, 0.5, 1.0]),
        precisions=given.precision or ["fp32", "int8-channel"],
        objectives=given.objective or (["throughput"] if short else ["throughput", "latency"]),
        policies=policies,
        rounds=given.rounds,
        seconds=given.seconds or (4.0 if short else 6.0),
        steady_s=(30.0 if short else 600.0) if given.steady is None else given.steady,
        equal_rate=not short,
        robots=given.robots,
        rates_hz=given.rate_hz,
        highest=given.highest,
        radio=radio,
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
