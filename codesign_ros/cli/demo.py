"""``codesign demo``: the four nodes as processes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from codesign_ros.cli.common import (
    add_bundle,
    add_json,
    add_objective,
    add_topic,
    bundle_path,
    codecs_chosen,
    command,
)
from codesign_ros.cli.options.numbers import COUNT_OR_ALL
from codesign_ros.console import result_console, write_json
from codesign_ros.cost.model import MODES
from codesign_ros.resources import resource_path
from codesign_ros.types.errors import CodesignError


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "demo", _run, "play a bag through camera, head, tail and planner processes"
    )
    parser.add_argument("--bag", default="", help="bag to play (default: the one of the package)")
    add_topic(parser)
    add_bundle(parser)
    parser.add_argument("--params", help="parameter file (default: config/split_inference.yaml)")
    parser.add_argument("--script", help="what happens when (default: config/demo.yaml)")
    parser.add_argument(
        "--frames", type=COUNT_OR_ALL, default=0, help="end after so many frames; 0 = all"
    )
    parser.add_argument(
        "--no-emulation", action="store_true", help="both halves at this machine's own speed"
    )
    add_objective(parser)
    parser.add_argument("--mode", choices=MODES, help="cost model of the planner")
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.demo.report import is_complete, print_report
    from codesign_ros.demo.scenario import read_scenario, without_emulation

    try:
        from codesign_ros.demo.run import DemoOptions, run_demo
    except ImportError as error:
        raise CodesignError(
            f"the demo needs ROS 2 and this package's messages ({error}); use `make demo`, or "
            "build with colcon and source the workspace"
        ) from None

    config = resource_path("config")
    params = Path(options.params or config / "split_inference.yaml")
    if not params.is_file():
        raise CodesignError(f"there is no parameter file {params}")
    scenario = read_scenario(Path(options.script or config / "demo.yaml"))
    if options.no_emulation:
        scenario = without_emulation(scenario)
    planner = {
        name: value
        for name in ("objective", "lambda_1", "mode")
        if (value := getattr(options, name)) is not None
    }
    console = result_console()
    summary = run_demo(
        DemoOptions(
            source=options.bag or str(resource_path("bags") / "mine_demo"),
            bundle=bundle_path(options),
            params=params,
            scenario=scenario,
            planner={**planner, **codecs_chosen(options.codec)},
            frames=options.frames,
            topic=options.topic,
        ),
        console,
    )
    write_json(options.json, summary)
    print_report(summary, console)
    if is_complete(summary):
        console.print("[green]every frame has exactly one result, in order[/]")
        return 0
    console.print("[red]some frames have no result, or not exactly one in order[/]")
    return 1
