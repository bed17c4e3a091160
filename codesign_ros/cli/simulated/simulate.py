"""``codesign simulate``: how many robots a server keeps within a deadline, in simulated time."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.common import add_bundle, add_json, command, open_bundle
from codesign_ros.cli.options.numbers import COUNT, POSITIVE, SEED, Real, Whole
from codesign_ros.console import alive, ms, right, show, slim_table
from codesign_ros.types.codec_names import NECK_CODECS
from codesign_ros.types.forms import BRANCH_STRUCTURES, PRECISIONS, Merge

if TYPE_CHECKING:
    from codesign_ros.planning.policies import Situation
    from codesign_ros.simulation.fleet import FleetPoint

_POLICIES = ("ours", "server_only_jpeg", "device_only")
_COUNTS = (1, 10, 100, 1000)
_MOST_ROBOTS = 1000
_NOTE = (
    "Simulated: times by roofline with the utilisation given, a frame after the other on robots, "
    "link and server; a dropped frame counts as late. Robots are alike and share link and server."
)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "simulate", _run, "simulate fleets: robots per server within a deadline"
    )
    add_bundle(parser)
    parser.add_argument(
        "--robots",
        type=Whole(1, _MOST_ROBOTS),
        nargs="+",
        default=list(_COUNTS),
        metavar="N",
        help="sizes of the fleet (default: 1 10 100 1000)",
    )
    parser.add_argument(
        "--policy",
        nargs="+",
        default=list(_POLICIES),
        help=f"whom to compare (default: {' '.join(_POLICIES)})",
    )
    parser.add_argument(
        "--robot", default="jetson-nano", help="device of each robot (default: jetson-nano)"
    )
    parser.add_argument(
        "--server", default="rtx-4090", help="device of the server (default: rtx-4090)"
    )
    parser.add_argument(
        "--link", default="1gbps", help="link in config/links.yaml or a rate (default: 1gbps)"
    )
    parser.add_argument(
        "--utilisation",
        type=Real(0.0, 1.0, open=True),
        default=0.3,
        metavar="MU",
        help="share of the peaks that both devices reach (default: 0.3)",
    )
    parser.add_argument(
        "--rate-hz", type=POSITIVE, default=10.0, help="frames a second of a robot (default: 10)"
    )
    parser.add_argument(
        "--arrivals", choices=("rate", "exponential"), default="rate", help="when frames come"
    )
    parser.add_argument(
        "--deadline-ms", type=POSITIVE, default=100.0, help="for 95 %% of the frames (default: 100)"
    )
    parser.add_argument(
        "--seconds", type=COUNT, default=10, help="simulated time of each fleet (default: 10)"
    )
    parser.add_argument("--seed", type=SEED, default=0, help="of what is drawn (default: 0)")
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.simulation.fleet import Conditions, check_policy, fleet_curve, most_robots

    policies = list(dict.fromkeys(options.policy))
    for policy in policies:
        check_policy(policy)
    conditions = Conditions(
        options.rate_hz,
        options.deadline_ms * 1e-3,
        float(options.seconds),
        options.arrivals,
        seed=options.seed,
    )
    most = {}
    with alive("reading bundle and devices") as tell:
        situation = _situation(options)
        points = list(fleet_curve(situation, policies, options.robots, conditions, tell))
        for policy in policies:
            own = [point for point in points if point.policy == policy]
            most[policy] = most_robots(situation, policy, own, conditions, tell)
    content = {
        "simulated": True,
        "robot": options.robot,
        "server": options.server,
        "link": options.link,
        "utilisation": options.utilisation,
        "rate_hz": options.rate_hz,
        "arrivals": options.arrivals,
        "deadline_s": conditions.deadline_s,
        "points": [point.to_json() for point in points],
        "most_robots": {
            policy: {"robots": count, "or_more": more} for policy, (count, more) in most.items()
        },
    }
    said = [
        f"{policy}: {count}{' or more' if more else ''} robots keep "
        f"{options.deadline_ms:g} ms at p95"
        for policy, (count, more) in most.items()
    ]
    show([_table(points, options)], (*said, _NOTE), options.json, content)
    return 0


def _situation(options: argparse.Namespace) -> Situation:
    from codesign_ros.cost.catalogue import find_device, find_link, load_devices, load_links
    from codesign_ros.planning.policies import Situation
    from codesign_ros.resources import resource_path
    from codesign_ros.runtime.planner.settings import PlannerSettings
    from codesign_ros.whatif.problem import WhatIf, what_if_problem
    from codesign_ros.wire.codecs import FRAME_CODECS, TENSOR_CODECS

    config = resource_path("config")
    devices, links = load_devices(config / "devices.yaml"), load_links(config / "links.yaml")
    robot, server = (
        replace(find_device(devices, name), utilisation=options.utilisation)
        for name in (options.robot, options.server)
    )
    what_if = WhatIf(
        mode="roofline",
        robot=robot,
        servers=(server,),
        links=(find_link(links, options.link),),
        structures=BRANCH_STRUCTURES,
        merges=tuple(Merge),
        precisions=PRECISIONS,
        codecs=(*TENSOR_CODECS, *NECK_CODECS),
        frame_codecs=tuple(FRAME_CODECS),
        lambda_1=PlannerSettings().lambda_1,
    )
    return Situation(what_if_problem(open_bundle(options), what_if), robot, server)


def _table(points: list[FleetPoint], options: argparse.Namespace) -> Any:
    table = slim_table(
        f"SIMULATED fleets: {options.robot} at {options.rate_hz:g} Hz, {options.link} shared, "
        f"one {options.server}",
        "policy",
        *right("robots", "frames/s each", "p50", "p95", "dropped", "server", "link"),
        "plans",
    )
    for point in points:
        if point.refused:
            table.add_row(point.policy, str(point.robots), *6 * ("-",), point.refused)
            continue
        times = (ms(t) if math.isfinite(t) else "dropped" for t in (point.p50_s, point.p95_s))
        plans = ", ".join(f"{count} x {plan}" for plan, count in point.plans)
        table.add_row(
            *(point.policy, str(point.robots), f"{point.frames_s:.1f}", *times),
            *(f"{share:.0%}" for share in (point.dropped, point.server_busy, point.link_busy)),
            plans,
        )
    return table
