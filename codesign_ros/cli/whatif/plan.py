"""``codesign plan``: the co-design problem solved for a robot, a link and servers."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from codesign_ros.cli.common import (
    MERGES,
    add_bundle,
    add_json,
    add_objective,
    add_structures,
    command,
    open_bundle,
)
from codesign_ros.cli.options.numbers import COUNT, NOT_NEGATIVE, POSITIVE, SHARE
from codesign_ros.cli.options.places import FIGURE_FILE
from codesign_ros.console import alive, result_console, write_json
from codesign_ros.cost.model import MODES
from codesign_ros.types.errors import CodesignError, did_you_mean
from codesign_ros.types.forms import PRECISIONS

# Options that a fleet does not have: its file says it, or it is for one robot alone.
_ONE_ROBOT = (
    "robot", "server", "link", "link_delay_ms", "cloud", "cloud_link", "robot_profile",
    "server_profile", "policy", "objective", "deadline_ms", "uplink_bytes_per_s", "frame_rate_hz",
    "robot_energy_mj", "transmit_w", "window", "late_share", "solvers", "top", "explain", "plot",
)  # fmt: skip


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "plan", _run, "solve the co-design problem; what each policy would do"
    )
    add_bundle(parser)
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="roofline",
        help="roofline and paper: from the peaks of the devices; measured: both halves timed",
    )
    parser.add_argument(
        "--fleet", metavar="FILE", help="plan many robots together; config/fleet.yaml is an example"
    )
    parser.add_argument("--robot", help="device in config/devices.yaml (default: jetson-nano)")
    parser.add_argument(
        "--server", nargs="+", help="one device or several to choose from (default: rtx-4090)"
    )
    parser.add_argument(
        "--link",
        nargs="+",
        help="uplink in config/links.yaml or a rate (default: 10mbps); one for all servers or each",
    )
    parser.add_argument(
        "--link-delay-ms", type=NOT_NEGATIVE, help="delay each way in place of the link's"
    )
    parser.add_argument(
        "--transmit-w", type=NOT_NEGATIVE, help="power of the radio in place of the link's"
    )
    parser.add_argument("--window", type=COUNT, help="frames in flight (default: no limit)")
    parser.add_argument("--devices", help="another devices.yaml")
    parser.add_argument("--links", help="another links.yaml")
    parser.add_argument("--cloud", help="device behind the edge server (default: rtx-4090)")
    parser.add_argument("--cloud-link", help="link from server to cloud (default: 100mbps)")
    parser.add_argument(
        "--robot-profile",
        help="mode measured: file of 'codesign profile --out'; roofline: scale its codecs' times",
    )
    parser.add_argument("--server-profile", help="likewise; this machine is timed without")
    parser.add_argument(
        "--fit",
        nargs="+",
        metavar="PROFILE",
        help="mode roofline: fit the utilisation to devices that were profiled",
    )
    parser.add_argument("--policy", help="whose plan to show as the best (default: ours)")
    add_structures(parser, "to choose from")
    parser.add_argument(
        "--merge",
        nargs="+",
        choices=MERGES,
        default=list(MERGES),
        help="merges to choose from (default: all)",
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        help="precisions to choose from (default: all; mode measured: fp32)",
    )
    add_objective(parser)
    limits = parser.add_argument_group("limits")
    limits.add_argument("--accuracy-floor", type=SHARE, help="least accuracy, 0 to 1")
    limits.add_argument("--deadline-ms", type=POSITIVE, help="most time from a frame to its answer")
    limits.add_argument(
        "--late-share",
        type=SHARE,
        help="share of frames that may miss the deadline on a radio with states (links.yaml); "
        "latency then is what all others keep",
    )
    limits.add_argument("--uplink-bytes-per-s", type=POSITIVE, help="most bytes over the link")
    limits.add_argument(
        "--frame-rate-hz", type=POSITIVE, help="frames a second that a plan must keep"
    )
    limits.add_argument(
        "--robot-memory-mb", type=POSITIVE, help="for the head (default: the device's)"
    )
    limits.add_argument(
        "--server-memory-mb", type=POSITIVE, help="for the tail (default: likewise)"
    )
    limits.add_argument("--robot-energy-mj", type=NOT_NEGATIVE, help="robot's energy for one frame")
    parser.add_argument(
        "--solvers", action="store_true", help="run the gradient searches beside the grid"
    )
    parser.add_argument("--top", type=COUNT, help="cuts to show (default: 10)")
    parser.add_argument("--explain", action="store_true", help="say why, in words")
    parser.add_argument(
        "--plot", type=FIGURE_FILE, metavar="FILE", help="roofline, split points and Pareto front"
    )
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.cli.whatif.conditions import for_one_robot
    from codesign_ros.cost.roofline import RooflineMode
    from codesign_ros.planning.grid import grid
    from codesign_ros.planning.pareto import pareto
    from codesign_ros.planning.policies import POLICIES, CloudTier, Situation
    from codesign_ros.whatif.pictures import plan_figure, write_figure
    from codesign_ros.whatif.problem import what_if_problem
    from codesign_ros.whatif.report import (
        best_cuts_table,
        decide_all,
        gains_line,
        plan_json,
        policies_table,
        policy_notes,
    )
    from codesign_ros.whatif.solvers import compare_solvers
    from codesign_ros.whatif.words import explain_plan

    if options.fleet is not None:
        return _run_fleet(options)
    if options.policy is not None and options.policy not in POLICIES:
        near = did_you_mean(options.policy, POLICIES)
        raise CodesignError(
            f"unknown policy {options.policy!r}{near}; known are {', '.join(POLICIES)}"
        )
    with alive("reading bundle and devices") as tell:
        bundle = open_bundle(options)
        what_if, cloud, cloud_link = for_one_robot(options, bundle)
        robot, servers = what_if.robot, {device.name: device for device in what_if.servers}
        tell("working out what each half costs in each structure")
        problem = what_if_problem(bundle, what_if)
        tell("solving the co-design problem")
        solution = grid(problem)
        mode = RooflineMode.PAPER if options.mode == "paper" else RooflineMode.ROOFLINE
        tier = CloudTier.of_device(problem.tables, cloud, cloud_link, mode)
        situation = Situation(problem, robot, what_if.servers[0], tier)
        tell("asking the other policies")
        decisions = decide_all(situation)
        if options.policy is not None:
            decision = decisions[options.policy]
            if isinstance(decision, str):
                raise CodesignError(f"policy {options.policy} cannot plan here: {decision}")
            solution = replace(solution, best=decision.row)
        content = plan_json(solution, situation, decisions)
        lines = [gains_line(situation, decisions), *policy_notes(situation, decisions)]
        if options.solvers:
            tell("running the gradient searches")
            content["solvers"] = compare_solvers(problem, robot, what_if.servers[0], mode)
            lines += [f"{name}: {found['report']}" for name, found in content["solvers"].items()]
        if options.explain:
            tell("finding words for it")
            lines += [f"- {line}" for line in explain_plan(solution, robot, servers)]
        if options.plot is not None:
            tell(f"drawing {options.plot}")
            front = pareto(solution.evaluation)
            server = servers.get(solution.best.candidate.server, what_if.servers[0])
            figure = plan_figure(solution, robot, server, front, f"{bundle.name} on {robot.name}")
            write_figure(options.plot, figure)
        write_json(options.json, content)
    console = result_console()
    console.print(best_cuts_table(solution, 10 if options.top is None else options.top))
    console.print(policies_table(situation, decisions))
    for line in lines:
        console.print(line, highlight=False)
    return 0


def _run_fleet(options: argparse.Namespace) -> int:
    from codesign_ros.cli.whatif.conditions import catalogue, conditions
    from codesign_ros.whatif.fleet import plan_fleet, read_fleet
    from codesign_ros.whatif.fleet_report import fleet_json, fleet_report

    for name in _ONE_ROBOT:
        value = getattr(options, name)
        if value is not None and value is not False:  # 0 was given
            flag = f"--{name.replace('_', '-')}"
            raise CodesignError(f"{flag} is for one robot and cannot be used with --fleet")
    with alive("planning the fleet"):
        bundle = open_bundle(options)
        devices, links, notes = catalogue(options, bundle)
        fleet = read_fleet(Path(options.fleet), devices, links)
        planned = plan_fleet(
            bundle, fleet, lambda *machines: conditions(options, bundle, *machines, notes=notes)
        )
    write_json(options.json, fleet_json(planned))
    console = result_console()
    for part in fleet_report(planned):
        console.print(part, highlight=False)
    return 0
