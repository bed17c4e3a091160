"""``codesign trace``: where the time of a running robot's frames goes."""

from __future__ import annotations

import argparse
from typing import Any

from codesign_ros.cli.common import command
from codesign_ros.cli.options.names import namespace
from codesign_ros.cli.options.numbers import POSITIVE
from codesign_ros.cli.options.places import OUTPUT_FILE
from codesign_ros.console import alive, show


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "trace", _run, "show where a running robot's frames spend their time"
    )
    parser.add_argument(
        "--robot", type=namespace, default="/robot", help="namespace of the robot (default: /robot)"
    )
    parser.add_argument("--seconds", type=POSITIVE, default=10.0, help="how long to listen [s]")
    parser.add_argument(
        "--out", type=OUTPUT_FILE, help="trace to write, for ui.perfetto.dev or chrome://tracing"
    )


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.demo.trace import record, stage_table, trace_events

    with alive(f"listening for {options.seconds:g} s"):
        results = record(options.robot, options.seconds)
    trace = {"traceEvents": trace_events(results), "displayTimeUnit": "ms"}
    show([stage_table(results)], [], options.out, trace)
    return 0
