"""``codesign plan``: the co-design problem solved for two devices."""

from __future__ import annotations

import argparse
from typing import Any

from codesign_ros.cli.common import (
    MERGES,
    add_bundle,
    add_json,
    add_objective,
    codecs_chosen,
    command,
    open_bundle,
    result_console,
    write_json,
)
from codesign_ros.cost.model import MODES
from codesign_ros.planning.objective import parse_objective
from codesign_ros.types import Merge


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(commands, "plan", _run, "solve the co-design problem and show the best cuts")
    add_bundle(parser)
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="roofline",
        help="roofline and paper: from the peaks of two devices; measured: both halves timed here",
    )
    parser.add_argument("--robot", default="jetson-nano", help="device in config/devices.yaml")
    parser.add_argument("--server", default="rtx-4090", help="device in config/devices.yaml")
    parser.add_argument("--link-bps", type=float, default=10e6, help="uplink rate [bit/s]")
    parser.add_argument("--link-delay-s", type=float, default=0.0, help="uplink delay [s]")
    parser.add_argument(
        "--merge", nargs="+", choices=MERGES, default=[MERGES[0]], help="merges to choose from"
    )
    parser.add_argument("--top", type=int, default=10, help="rows to show")
    add_objective(parser)
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.evaluation.tables import solution_json, solution_table
    from codesign_ros.evaluation.whatif import WhatIf, solve_what_if
    from codesign_ros.runtime.planner import PlannerSettings

    default = PlannerSettings()
    chosen = codecs_chosen(options.codec)
    solution = solve_what_if(
        open_bundle(options),
        WhatIf(
            mode=options.mode,
            robot=options.robot,
            server=options.server,
            link_bps=options.link_bps,
            link_delay_s=options.link_delay_s,
            merges=tuple(map(Merge, options.merge)),
            objective=parse_objective(options.objective or default.objective.value),
            lambda_1=default.lambda_1 if options.lambda_1 is None else options.lambda_1,
            codecs=tuple(chosen.get("codecs", default.codecs)),
            frame_codecs=tuple(chosen.get("frame_codecs", default.frame_codecs)),
        ),
    )
    result_console().print(solution_table(solution, options.top))
    write_json(options.json, solution_json(solution))
    return 0
