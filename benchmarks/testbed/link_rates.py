"""What the head makes of links of known rate and burst: the real nodes on a test bed.

For each rate and burst the head starts anew, first with no frame on the link and then with frames:
the robot sends what a fixed cut makes, as fast as answers come. Printed are the rate that the head
announces ten seconds after its start, and the range of what it announces in the time after. Wants
root.

    sudo -E scripts/in_ros python benchmarks/testbed/link_rates.py
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from codesign_ros.console import link_rate, result_console
from codesign_ros.testbed.bed import LinkShape, why_not
from codesign_ros.testbed.session import Session
from codesign_ros.testbed.setup import ROBOT, Setup

_HEAD = f"{ROBOT}/head"
# The rate must be within this of the real one, ten seconds after the head's start.
_TOLERANCE, _SETTLED_S = 0.2, 10.0
_POLL_S = 0.25
# Diagnostics come once a second.
_LATE_S = 1.0


def main() -> int:
    """Measure all cells and report."""
    arguments = _parser().parse_args()
    console = result_console()
    if reason := why_not():
        print(f"error: {reason}", file=sys.stderr)
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    setup = Setup(LinkShape(10e6), planner={"policy": arguments.policy})
    with Session(setup, "codesign_rates", arguments.out / "cache", console.print) as session:
        for rate_bps in (1e6 * mbps for mbps in arguments.mbps):
            for burst_bytes in arguments.burst:
                for frames in (False, True):
                    shape = LinkShape(rate_bps, burst_bytes)
                    rows.append(_measure(session, shape, frames, arguments.seconds))
                    (arguments.out / "link_rates.json").write_text(json.dumps(rows, indent=1))
                    console.print(_line(rows[-1]))
    console.print(_table(rows))
    return 0 if all(abs(row["ratio"] - 1) <= _TOLERANCE for row in rows) else 1


def _measure(session: Session, shape: LinkShape, frames: bool, seconds: float) -> dict[str, Any]:
    """One cell: start the head anew on this link and follow what it announces."""
    observer, bed = session.observer, session.bed
    observer.change_state(_HEAD, "deactivate")
    bed.shape(shape)
    observer.diagnostics.pop(_HEAD, None)
    results = len(observer.results)
    observer.change_state(_HEAD, "activate")
    started_s = time.monotonic()
    if frames:
        session.play()
    announced: list[tuple[float, float]] = []
    sent = bed.sent_bytes("robot")
    while (passed_s := time.monotonic() - started_s) < _SETTLED_S + _LATE_S + seconds:
        if passed_s < _SETTLED_S + _LATE_S:
            sent = bed.sent_bytes("robot")
        session.wait(_POLL_S)
        values = observer.diagnostics.get(_HEAD, {})
        announced.append((time.monotonic() - started_s, float(values.get("link_bps", 0))))
    sent = bed.sent_bytes("robot") - sent
    if frames:
        session.pause()
    early = [rate for t, rate in announced if t <= _SETTLED_S + _LATE_S]
    late = [rate for t, rate in announced if t > _SETTLED_S + _LATE_S]
    return {
        "rate_bps": shape.rate_bps,
        "burst_bytes": shape.burst_bytes,
        "frames": len(observer.results) - results if frames else 0,
        "announced_bps": early[-1],
        "ratio": early[-1] / shape.rate_bps,
        "least_ratio": min(late) / shape.rate_bps,
        "greatest_ratio": max(late) / shape.rate_bps,
        "first_s": next((t for t, rate in announced if rate), None),
        "link_share": 8 * sent / seconds / shape.rate_bps,
    }


def _line(row: dict[str, Any]) -> str:
    return (
        f"{link_rate(row['rate_bps'])}, {row['burst_bytes']} B, {row['frames']} frames: "
        f"{row['ratio']:.2f}, then {row['least_ratio']:.2f} to {row['greatest_ratio']:.2f}; "
        f"first after {row['first_s'] or float('nan'):.1f} s; "
        f"the robot's traffic takes {row['link_share']:.1%}"
    )


def _table(rows: list[dict[str, Any]]) -> Table:
    names = ("rate", "burst", "frames", "announced", "ratio", "then", "first", "traffic")
    table = Table(*names, title="The link's rate, ten seconds after the head's start")
    for row in rows:
        table.add_row(
            link_rate(row["rate_bps"]),
            f"{row['burst_bytes'] / 1e3:g} kB",
            str(row["frames"] or "none"),
            link_rate(row["announced_bps"]),
            f"{row['ratio']:.2f}",
            f"{row['least_ratio']:.2f}-{row['greatest_ratio']:.2f}",
            f"{row['first_s'] or float('nan'):.1f} s",
            f"{row['link_share']:.1%}",
        )
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mbps", type=float, nargs="+", default=[0.1, 0.2, 1, 10, 100])
    parser.add_argument("--burst", type=int, nargs="+", default=[1600, 16_000, 64_000])
    parser.add_argument("--policy", default="cut:8", help="what makes the frames' embeddings")
    parser.add_argument("--seconds", type=float, default=10.0, help="to follow it after ten")
    parser.add_argument("--out", type=Path, default=Path("log/link_rates"))
    return parser


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
