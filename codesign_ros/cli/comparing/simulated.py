"""``codesign compare`` in one process: simulated devices and link."""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.common import codecs_chosen
from codesign_ros.cli.comparing.made import Made, PlannedLink
from codesign_ros.console import alive, progress_bar
from codesign_ros.planning.objective import parse_objective
from codesign_ros.resources import resource_path

if TYPE_CHECKING:
    from codesign_ros.bundle import Bundle
    from codesign_ros.data.chosen import ChosenSource
    from codesign_ros.evaluation.compare.arrivals import Arrivals
    from codesign_ros.evaluation.compare.robot import Conditions
    from codesign_ros.types.devices import DeviceSpec

# Peaks by which times between cuts that were not timed are shared out, where no device is named.
_THIS_MACHINE = "x86-core"
# Frames that tell whether the camera's JPEGs can be sent as they are.
_FIRST_FRAMES = 30


def compare_simulated(
    options: argparse.Namespace,
    bundle: Bundle,
    source: ChosenSource,
    policies: Sequence[str],
    arrivals: Arrivals,
    link: PlannedLink,
) -> Made:
    """Run every frame under each policy, with the network's real answers."""
    from codesign_ros.evaluation.compare.report import sweep_json
    from codesign_ros.evaluation.compare.rooflines import rooflines
    from codesign_ros.evaluation.compare.run import compare
    from codesign_ros.planning.grid import grid

    with alive("working out what each half costs"):
        sendable_bytes = _sendable_bytes(source, bundle)
        conditions, devices, times_said = _conditions(options, bundle, link, sendable_bytes)
        conditions = replace(conditions, queue_depth=arrivals.queue_depth)
    with progress_bar() as progress:
        task = progress.add_task("comparing", total=source.frames)
        compared = compare(
            source,
            bundle,
            policies,
            conditions,
            arrivals,
            backend=options.backend,
            classes=source.box_classes,
            done=lambda frame: progress.advance(task),
        )
    problem = conditions.problem
    solution = grid(problem)
    return Made(
        compared,
        problem.objective,
        times_said,
        notes=problem.tables.notes,
        sweep=sweep_json(solution),
        roofs=rooflines(solution, *devices, is_named=conditions.robot is not None),
    )


def _sendable_bytes(source: ChosenSource, bundle: Bundle) -> float:
    """Mean size of the first frames where all are JPEGs that cut 0 sends as they are, else 0."""
    from codesign_ros.runtime.stages.head import is_sendable

    # Of the source itself: a frame that cannot be decoded is never sent.
    first = list(itertools.islice(source, _FIRST_FRAMES))
    if not all(f.encoding == "jpeg" and is_sendable(f.data, bundle.input) for f in first):
        return 0.0
    return statistics.fmean(len(frame.data) for frame in first) if first else 0.0


def _conditions(
    options: argparse.Namespace, bundle: Bundle, planned: PlannedLink, sendable_bytes: float
) -> tuple[Conditions, tuple[DeviceSpec, DeviceSpec], str]:
    """What all policies have alike, peaks of robot and server, and the times' origin in words."""
    from codesign_ros.cost.catalogue import find_device, load_devices
    from codesign_ros.cost.link import travel_s
    from codesign_ros.evaluation.compare.robot import Conditions, SimulatedLink
    from codesign_ros.runtime.planner.settings import PlannerSettings
    from codesign_ros.types.errors import CodesignError
    from codesign_ros.whatif.device_times import PARTS, read_device_times
    from codesign_ros.whatif.problem import ANSWER_BYTES, WhatIf, what_if_problem

    sides = ("robot", "server")
    files = [getattr(options, f"{side}_profile") for side in sides]
    named = [getattr(options, side) for side in sides]
    if any(named) and any(files):
        raise CodesignError(
            "--robot and --server take times from peaks, --robot-profile and --server-profile from "
            "measurements: give one kind for both sides"
        )
    if any(named) and not all(named):
        raise CodesignError("--robot and --server go together: name both devices")
    devices = load_devices(Path(options.devices or resource_path("config") / "devices.yaml"))
    robot, server = (find_device(devices, name or _THIS_MACHINE) for name in named)
    link = planned.spec
    defaults, chosen = PlannerSettings(), codecs_chosen(options.codec)
    profiles: dict[Any, Any] = {}
    said = []
    for part, side, file in zip(PARTS, sides, files, strict=True):
        name = "this machine"
        if file is not None:
            name, times = read_device_times(Path(file), bundle)
            profiles[part] = times[part]
        said.append(f"{side}: {name}")
    mode = "roofline" if all(named) else "measured"
    problem = what_if_problem(
        bundle,
        WhatIf(
            mode=mode,
            robot=robot,
            servers=(replace(server, name="server"),),
            links=(link,),
            structures=defaults.structures,
            merges=defaults.merges,
            precisions=tuple(dict.fromkeys(options.precision)),
            codecs=tuple(chosen.get("codecs", defaults.codecs)),
            frame_codecs=tuple(chosen.get("frame_codecs", defaults.frame_codecs)),
            objective=parse_objective(options.objective or defaults.objective.value),
            lambda_1=defaults.lambda_1 if options.lambda_1 is None else options.lambda_1,
            late_share=options.late_share or None,
            profiles=profiles,
            sendable_bytes=sendable_bytes,
        ),
    )
    times_said = f"times by the peaks of {robot.name} and {server.name}" if all(named) else (
        f"times as measured ({', '.join(said)})"
    )  # fmt: skip
    slowdown, tables = options.robot_slowdown, problem.tables
    if slowdown != 1.0:
        neck = tables.neck_head_s
        tables = replace(
            tables,
            head_s=slowdown * tables.head_s,
            encode_s=slowdown * tables.encode_s,
            neck_head_s=None if neck is None else slowdown * neck,
        )
        problem = replace(problem, tables=tables)
        times_said += f", the robot {slowdown:g} times slower"
    back_s = travel_s(link, ANSWER_BYTES) - link.delay_s
    known = (robot, server) if all(named) else (None, None)
    simulated = SimulatedLink(planned.rate, link.delay_s, back_s)
    return Conditions(problem, simulated, *known), (robot, server), times_said
