"""``codesign replay-planner``: a planner on announcements that were recorded, without devices."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from codesign_ros.cli.common import add_bundle, add_json, command, open_bundle
from codesign_ros.console import alive, progress_bar, show
from codesign_ros.resources import resource_path
from codesign_ros.types.errors import CodesignError, one_line


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands,
        "replay-planner",
        _run,
        "run recorded announcements through a planner, beside the recorded plans",
    )
    parser.add_argument("bag", help="bag with announcements and heartbeats, and plans to compare")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="parameters of the planner, as in policy=cut:8 objective=throughput codecs=[raw]",
    )
    add_bundle(parser)
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.cost.catalogue import load_devices
    from codesign_ros.evaluation.recorded.planner import lines, plans_table, replay_planner
    from codesign_ros.nodes.interface.planner_params import PARAMS, SOLVE_PARAMS, settings_from
    from codesign_ros.nodes.planner_node import HEARTBEAT_WAIT_S, profile_of
    from codesign_ros.nodes.watching.recorded import read_news
    from codesign_ros.runtime.planner.registry import Registry
    from codesign_ros.runtime.planner.runtime import PlannerRuntime

    known = {param.name: param for param in PARAMS if param.name != "bundle"}
    values = {name: param.default for name, param in known.items()}
    for name, value in map(_assignment, options.set):
        if name not in known:
            raise CodesignError(
                f"the planner has no parameter {name}; known are {', '.join(known)}"
            )
        if wrong := known[name].check(value):
            raise CodesignError(wrong)
        values[name] = value
    settings = settings_from({param.name: values[param.name] for param in SOLVE_PARAMS})
    with alive(f"opening {options.bag}"):
        bundle = open_bundle(options)
        news = read_news(Path(options.bag))
    runtime = PlannerRuntime(
        bundle,
        load_devices(resource_path("config") / "devices.yaml"),
        settings,
        Registry(values["silence_limit_s"]),
        lambda: profile_of(bundle),
        first_wait_s=HEARTBEAT_WAIT_S,
    )
    with progress_bar() as progress:
        task = progress.add_task("replaying", total=len(news))
        found = replay_planner(news, runtime, lambda: progress.advance(task))
    content = {"bag": options.bag, "bundle": bundle.name, **found.to_json()}
    show([plans_table(found)], lines(found), options.json, content)
    return 0 if any(not plan.is_recorded for plan in found.plans) else 1


def _assignment(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE, the value as in a parameter file."""
    name, equals, value = text.partition("=")
    try:
        return name, yaml.safe_load(value) if equals else None
    except yaml.YAMLError as error:
        raise CodesignError(f"--set {text}: {one_line(error)}") from None
