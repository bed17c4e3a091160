"""``codesign profile``: what a network costs, and how long it takes here."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from codesign_ros.cli.common import (
    add_bundle,
    add_json,
    command,
    open_bundle,
    result_console,
    write_json,
)
from codesign_ros.types import PRECISIONS


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "profile", _run, "FLOPs, sizes and this machine's times at every cut"
    )
    add_bundle(parser)
    parser.add_argument("--budget-s", type=float, default=3.0, help="time for each half [s]")
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS[1:], default=[], help="to time beside fp32"
    )
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.evaluation.tables import profile_json, profile_table
    from codesign_ros.evaluation.whatif import measure_here, profile_network_of

    bundle = open_bundle(options)
    network = profile_network_of(bundle)
    with Console(stderr=True).status("timing heads and tails"):
        head = measure_here(bundle, "head", options.budget_s, tuple(options.precision))
        tail = measure_here(bundle, "tail", options.budget_s, tuple(options.precision))
    content = profile_json(bundle, network, {"head": head, "tail": tail})
    result_console().print(profile_table(content))
    write_json(options.json, content)
    return 0
