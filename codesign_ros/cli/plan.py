"""``codesign plan``: the co-design problem solved for a robot, a link and servers."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.common import (
    MERGES,
    add_bundle,
    add_json,
    add_objective,
    add_structures,
    codecs_chosen,
    command,
    open_bundle,
)
from codesign_ros.cli.options.numbers import COUNT, NOT_NEGATIVE, POSITIVE, SHARE
from codesign_ros.cli.options.places import FIGURE_FILE
from codesign_ros.codec_names import NECK_CODECS
from codesign_ros.console import alive, result_console, write_json
from codesign_ros.cost.model import MODES
from codesign_ros.devices import DeviceSpec
from codesign_ros.errors import CodesignError, did_you_mean
from codesign_ros.forms import PRECISIONS, Merge, Part, Structure
from codesign_ros.links import LinkSpec
from codesign_ros.planning.objective import parse_objective
from codesign_ros.resources import resource_path
from codesign_ros.wire.codecs import FRAME_CODECS, TENSOR_CODECS

if TYPE_CHECKING:
    from codesign_ros.bundle import Bundle

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
        what_if, cloud, cloud_link = _what_if(options, bundle)
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
    from codesign_ros.whatif.fleet import plan_fleet, read_fleet
    from codesign_ros.whatif.fleet_report import fleet_json, fleet_report

    for name in _ONE_ROBOT:
        value = getattr(options, name)
        if value is not None and value is not False:  # 0 was given
            flag = f"--{name.replace('_', '-')}"
            raise CodesignError(f"{flag} is for one robot and cannot be used with --fleet")
    with alive("planning the fleet"):
        bundle = open_bundle(options)
        devices, links, notes = _catalogue(options, bundle)
        fleet = read_fleet(Path(options.fleet), devices, links)
        planned = plan_fleet(
            bundle, fleet, lambda *machines: _conditions(options, bundle, *machines, notes=notes)
        )
    write_json(options.json, fleet_json(planned))
    console = result_console()
    for part in fleet_report(planned):
        console.print(part, highlight=False)
    return 0


def _catalogue(options: argparse.Namespace, bundle: Bundle) -> Any:
    """Read the known devices, links, and a note on the devices' fit if there is one."""
    from codesign_ros.cost.catalogue import load_links
    from codesign_ros.whatif.problem import known_devices

    config = resource_path("config")
    devices = Path(options.devices or config / "devices.yaml")
    links = load_links(Path(options.links or config / "links.yaml"))
    known, notes = known_devices(devices, bundle, options.mode, options.fit or ())
    return known, links, notes


def _what_if(options: argparse.Namespace, bundle: Bundle) -> Any:
    """Read the options; return the conditions, the cloud's device and the link to it."""
    from codesign_ros.cost.catalogue import find_device, find_link
    from codesign_ros.cost.half_times import HalfTimes
    from codesign_ros.whatif.device_times import read_device_times

    devices, links, notes = _catalogue(options, bundle)
    names = (options.robot or "jetson-nano", *(options.server or ["rtx-4090"]))
    robot, *servers = (find_device(devices, name) for name in names)
    if len({device.name for device in servers}) < len(servers):
        raise CodesignError("a server is named twice; name each device once")
    profiles: dict[Part, HalfTimes] = {}
    profiled_on: dict[Part, DeviceSpec] = {}
    files: dict[Part, str | None] = {"head": options.robot_profile, "tail": options.server_profile}
    for part, file in files.items():
        if file is not None:
            name, times = read_device_times(Path(file), bundle)
            profiles[part] = times[part]
            if options.mode == "roofline":
                profiled_on[part] = find_device(devices, name)
    uplinks = [find_link(links, name) for name in options.link or ["10mbps"]]
    if options.link_delay_ms is not None:
        delay_s = options.link_delay_ms * 1e-3
        uplinks = [replace(link, delay_s=delay_s, downlink_delay_s=delay_s) for link in uplinks]
    if options.transmit_w is not None:
        uplinks = [replace(link, transmit_w=options.transmit_w) for link in uplinks]
    if len(uplinks) == 1:
        uplinks *= len(servers)
    if len(uplinks) != len(servers):
        raise CodesignError(
            f"{len(uplinks)} links for {len(servers)} servers; name one for all or each one's"
        )
    what_if = _conditions(
        *(options, bundle, robot, tuple(servers), tuple(uplinks)),
        notes=notes,
        profiles=profiles,
        profiled_on=profiled_on,
    )
    cloud, cloud_link = options.cloud or "rtx-4090", options.cloud_link or "100mbps"
    return what_if, find_device(devices, cloud), find_link(links, cloud_link)


def _conditions(
    options: argparse.Namespace,
    bundle: Bundle,
    robot: DeviceSpec,
    servers: tuple[DeviceSpec, ...],
    links: tuple[LinkSpec, ...],
    **more: Any,
) -> Any:
    """Read what can be chosen, and the limits, for a robot and its servers; ``more`` goes along."""
    from codesign_ros.cost.accuracy import loss_allowed
    from codesign_ros.planning.problem import Limits
    from codesign_ros.runtime.planner.settings import PlannerSettings
    from codesign_ros.whatif.problem import WhatIf

    default = PlannerSettings()
    chosen = codecs_chosen(options.codec)
    floor = options.accuracy_floor
    limits = Limits(
        accuracy_loss=None if floor is None else loss_allowed(bundle.accuracy, floor),
        deadline_s=_scaled(options.deadline_ms, 1e-3),
        uplink_bytes_per_s=options.uplink_bytes_per_s,
        robot_memory_bytes=_memory(options.robot_memory_mb, robot),
        server_memory_bytes=_memory(options.server_memory_mb, *servers),
        robot_energy_j=_scaled(options.robot_energy_mj, 1e-3),
    )
    every = ("fp32",) if options.mode == "measured" else PRECISIONS
    return WhatIf(
        mode=options.mode,
        robot=robot,
        servers=servers,
        links=links,
        structures=tuple(map(Structure, options.structure)),
        merges=tuple(map(Merge, options.merge)),
        precisions=tuple(options.precision or every),
        codecs=tuple(chosen.get("codecs", (*TENSOR_CODECS, *NECK_CODECS))),
        frame_codecs=tuple(chosen.get("frame_codecs", FRAME_CODECS)),
        objective=parse_objective(options.objective or default.objective.value),
        lambda_1=default.lambda_1 if options.lambda_1 is None else options.lambda_1,
        limits=limits,
        frame_rate_hz=options.frame_rate_hz,
        window=options.window,
        late_share=options.late_share,
        **more,
    )


def _memory(asked_mb: float | None, *devices: DeviceSpec) -> float | None:
    """The memory asked for, or that of the smallest device where it is known [bytes]."""
    if asked_mb is not None:
        return asked_mb * 1e6
    least = min(device.memory_bytes for device in devices)
    return least if math.isfinite(least) else None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
