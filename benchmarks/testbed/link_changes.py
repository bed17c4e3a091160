"""How soon the right plan is in force after the link has changed: the real nodes on a test bed.

Ours plans for throughput, frames flow as fast as answers come, and the link takes one rate after
another. The plan that ours has come to some time after a change is taken for the right one, unless
another plan brought a quarter more frames at another time on a link of that rate, and so is one
before it under which as many frames a second came as under that, but for a tenth. Printed is when
the first of them came, how many plans were made after the change, and frames a second in the second
half of the time.
Before, each rate is there once for a while: what a machine has never run must be exported at first,
which takes many seconds on a share of a core. Wants root and a quiet machine.

    sudo -E scripts/in_ros python benchmarks/testbed/link_changes.py
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from matrix import EVERYTHING, OURS
from rich.table import Table

from codesign_ros.console import link_rate, result_console
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.testbed.bed import LinkShape, why_not
from codesign_ros.testbed.measurement import plan_text
from codesign_ros.testbed.session import Session
from codesign_ros.testbed.setup import Setup

# The right plan must be in force so soon after a change [s].
_SOON_S = 3.0
# A plan that brings less than this share of what the best one at the rate does is not right.
_RIGHT_SHARE = 0.8
# One that brings this share of what the last one does is as good; it must have been there so long,
# and its first results may still be the plan's before it [s].
_AS_GOOD_SHARE, _LONG_S, _BEGINNING_S = 0.9, 1.5, 0.3
# Before the first change, for each rate: ours learns what it has not run yet [s].
_LEARN_S = 20.0


def main() -> int:
    """Measure all changes and report."""
    arguments = _parser().parse_args()
    console = result_console()
    if reason := why_not():
        print(f"error: {reason}", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    rates_bps = [1e6 * mbps for mbps in arguments.mbps]
    setup = Setup(
        LinkShape(rates_bps[0], arguments.burst),
        arguments.robot_cores,
        precision=arguments.precision,
        planner={"policy": OURS},
    )
    rows: list[dict[str, Any]] = []
    with Session(setup, "changes", default_cache_dir() / "testbed", console.print) as session:
        session.set_planner({**EVERYTHING, "precisions": [arguments.precision]})
        session.play()
        for rate_bps in (*dict.fromkeys(rates_bps[1:]), rates_bps[0]):
            session.bed.shape(LinkShape(rate_bps, arguments.burst))
            session.wait(_LEARN_S)
        for before_bps, after_bps in itertools.pairwise(rates_bps):
            shape = LinkShape(after_bps, arguments.burst)
            rows.append({"before_bps": before_bps, **_measure(session, shape, arguments.seconds)})
            (arguments.out / "link_changes.json").write_text(json.dumps(rows, indent=1))
    for row in rows:
        others = [each for each in rows if each["after_bps"] == row["after_bps"]]
        best = max(others, key=lambda each: each["frames_s"])
        # Of one and the same plan the machine makes more or less at different times.
        if row["frames_s"] < _RIGHT_SHARE * best["frames_s"] and row["plan"] != best["plan"]:
            row["settled_s"] = None
    (arguments.out / "link_changes.json").write_text(json.dumps(rows, indent=1))
    console.print(_table(rows))
    soon = (row["settled_s"] is not None and row["settled_s"] <= _SOON_S for row in rows)
    return 0 if all(soon) else 1


def _measure(session: Session, shape: LinkShape, seconds: float) -> dict[str, Any]:
    """Change the link and follow what is planned."""
    plans, results = session.observer.plans, session.observer.results
    seen, answered = len(plans), len(results)
    session.bed.shape(shape)
    changed_s = time.monotonic()
    session.wait(seconds)
    made = [(at_s - changed_s, plan_text(plan), plan.reason) for at_s, plan in plans[seen:]]
    came_s = [at_s - changed_s for at_s, _ in results[answered:]]
    right = plan_text(plans[-1][1])
    frames_s = 2 * sum(at_s > seconds / 2 for at_s in came_s) / seconds

    def is_right(number: int) -> bool:
        begun_s, text, _ = made[number]
        ended_s = made[number + 1][0] if number + 1 < len(made) else seconds
        first_s = begun_s + _BEGINNING_S
        own = sum(first_s < at_s <= ended_s for at_s in came_s)
        stayed = ended_s - begun_s >= _LONG_S
        as_good = stayed and own / (ended_s - first_s) >= _AS_GOOD_SHARE * frames_s
        return text == right or as_good

    # From the first plan on after which there was none but right ones.
    wrong = [number for number in range(len(made)) if not is_right(number)]
    if plan_text(plans[seen - 1][1]) == right and not wrong:
        settled_s = 0.0
    else:
        settled_s = made[wrong[-1] + 1 if wrong else 0][0]
    return {
        "after_bps": shape.rate_bps,
        "settled_s": settled_s,
        "plans": made,
        "plan": right,
        "frames_s": frames_s,
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    names = ("from", "to", "right plan", "in force after", "plans", "frames/s")
    table = Table(*names, title="After the link has changed")
    for row in rows:
        table.add_row(
            link_rate(row["before_bps"]),
            link_rate(row["after_bps"]),
            row["plan"],
            "never" if row["settled_s"] is None else f"{row['settled_s']:.1f} s",
            str(len(row["plans"])),
            f"{row['frames_s']:.1f}",
        )
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mbps", type=float, nargs="+", default=[16, 2, 16, 1, 100, 2, 100], help="in turn"
    )
    parser.add_argument("--burst", type=int, default=16_000, help="of the link [bytes]")
    parser.add_argument("--robot-cores", type=float, default=0.5)
    parser.add_argument("--precision", default="int8-channel")
    parser.add_argument("--seconds", type=float, default=15.0, help="to follow each change")
    parser.add_argument("--out", type=Path, default=Path("log/link_changes"))
    return parser


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
