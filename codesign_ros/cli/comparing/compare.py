"""``codesign compare``: policies on a recording, with simulated devices and link."""

from __future__ import annotations

import argparse
import itertools
import statistics
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.common import (
    add_backend,
    add_bundle,
    add_classes,
    add_json,
    add_objective,
    add_topic,
    codecs_chosen,
    command,
    open_bundle,
    open_chosen_source,
    print_broken,
)
from codesign_ros.cli.options.numbers import COUNT, COUNT_OR_ALL, NOT_NEGATIVE, POSITIVE, SEED
from codesign_ros.cli.options.places import OUTPUT_FILE
from codesign_ros.console import alive, progress_bar, show
from codesign_ros.planning.objective import parse_objective
from codesign_ros.resources import resource_path
from codesign_ros.types import LinkSpec

if TYPE_CHECKING:
    from codesign_ros.bundle import Bundle
    from codesign_ros.data.chosen import ChosenSource

_POLICIES = (
    "ours", "device_only", "server_only_raw", "server_only_jpeg", "neurosurgeon", "roofsplit",
)  # fmt: skip
# Peaks by which times between cuts that were not timed are shared out, where no device is named.
_THIS_MACHINE = "x86-core"
# Frames that tell whether the camera's JPEGs can be sent as they are.
_FIRST_FRAMES = 30


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "compare", _run, "compare policies on a recording, with a simulated link"
    )
    parser.add_argument("source", help="bag, or any other source that 'codesign evaluate' takes")
    add_topic(parser)
    parser.add_argument("--split", help="part of a labelled data set (default: val, if it has one)")
    parser.add_argument(
        "--labels",
        metavar="DIR",
        help="ground truth: a labelled data set (COCO, YOLO, Pascal VOC) whose pictures have the "
        "frames' stamps for names",
    )
    add_bundle(parser)
    parser.add_argument(
        "--policy",
        nargs="+",
        default=list(_POLICIES),
        help="policies, or cut:N for the best plan that cuts after segment N (default: "
        f"{' '.join(_POLICIES)})",
    )
    parser.add_argument(
        "--arrivals",
        default="recorded",
        help="recorded (as stamped), fast (as results come), a rate as 10hz, or poisson:10hz "
        "(default: recorded)",
    )
    parser.add_argument("--window", type=COUNT, default=4, help="frames in flight of fast (4)")
    parser.add_argument("--seed", type=SEED, default=0, help="of poisson (default: 0)")
    parser.add_argument(
        "--link",
        default="16mbps",
        help="uplink in config/links.yaml, a rate, or a trace file in Mahimahi's format (default: "
        "16mbps)",
    )
    parser.add_argument("--links", help="another links.yaml")
    parser.add_argument("--link-delay-ms", type=NOT_NEGATIVE, help="delay each way")
    devices = parser.add_argument_group("times of robot and server (default: this machine's)")
    devices.add_argument("--robot-profile", help="file of 'codesign profile --out'")
    devices.add_argument("--server-profile", help="likewise")
    devices.add_argument("--robot", help="device in config/devices.yaml, by its peaks")
    devices.add_argument("--server", help="likewise")
    devices.add_argument("--devices", help="another devices.yaml")
    devices.add_argument(
        "--robot-slowdown", type=POSITIVE, default=1.0, help="the robot takes so many times longer"
    )
    add_objective(parser)
    parser.add_argument(
        "--deadline-ms", type=POSITIVE, default=1000.0, help="a response that takes longer is late"
    )
    add_classes(parser)
    add_backend(parser)
    parser.add_argument(
        "--frames", type=COUNT_OR_ALL, default=0, help="end after so many frames; 0 = all"
    )
    add_json(parser)
    parser.add_argument(
        "--html", type=OUTPUT_FILE, metavar="FILE", help="write a report for a browser"
    )
    parser.add_argument(
        "--worst", type=COUNT_OR_ALL, default=6, metavar="N", help="so many of the worst frames (6)"
    )


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.evaluation.compare.advice import advise
    from codesign_ros.evaluation.compare.arrivals import Arrivals
    from codesign_ros.evaluation.compare.page import page, write_page
    from codesign_ros.evaluation.compare.report import (
        Setting,
        comparison_json,
        comparison_table,
        lines,
        sweep_json,
    )
    from codesign_ros.evaluation.compare.run import compare
    from codesign_ros.evaluation.compare.summary import summaries
    from codesign_ros.evaluation.compare.worst import worst_frames
    from codesign_ros.planning.grid import grid
    from codesign_ros.runtime.planner.policy import check_policy
    from codesign_ros.types import CodesignError

    for policy in options.policy:
        check_policy(policy)
    arrivals = Arrivals.parse(options.arrivals, window=options.window, seed=options.seed)
    with alive(f"opening {options.source}"):
        bundle = open_bundle(options)
        source = open_chosen_source(options, options.source, bundle)
    if source.frames is None:
        raise CodesignError(f"source {options.source} has no known end; give --frames")
    with alive("working out what each half costs"):
        sendable_bytes = _sendable_bytes(source, bundle)
        conditions, link_said, times_said = _conditions(options, bundle, sendable_bytes)
    classes = source.box_classes
    with progress_bar() as progress:
        task = progress.add_task("comparing", total=source.frames)
        compared = compare(
            source,
            bundle,
            list(dict.fromkeys(options.policy)),
            conditions,
            arrivals,
            backend=options.backend,
            classes=classes,
            done=lambda frame: progress.advance(task),
        )
    print_broken(source)
    found = summaries(compared, bundle, classes, options.deadline_ms * 1e-3)
    problem = conditions.problem
    setting = Setting(
        source=options.source,
        topic=_topic(source),
        bundle=bundle.name,
        model_id=bundle.model_id,
        task=bundle.task,
        frames=len(compared.stamps_ns),
        truth_is=compared.truth_is,
        arrivals=arrivals.words,
        link=link_said,
        times=times_said,
        objective=problem.objective.value,
        deadline_ms=options.deadline_ms,
        notes=problem.tables.notes,
    )
    advice = advise(found, problem.objective, setting.metric)
    sweep = sweep_json(grid(problem))
    if options.html is not None:
        outcome = compared.outcomes[advice.policy]
        names = bundle.classes if classes is None else classes
        worst = worst_frames(source, compared, outcome, bundle.task, names, options.worst)
        rate = conditions.link.rate
        text = page(setting, compared, found, advice, sweep, rate, worst)
        write_page(options.html, text)
    content = comparison_json(setting, found, compared.unavailable, advice, sweep)
    table = comparison_table(setting, found, advice)
    show([table], lines(setting, found, compared.unavailable, advice), options.json, content)
    return 0


def _topic(source: ChosenSource) -> str:
    """The image topic of a bag, also within other sources."""
    inner: Any = source.source
    while hasattr(inner, "source"):
        inner = inner.source
    return str(getattr(inner, "topic", ""))


def _sendable_bytes(source: ChosenSource, bundle: Bundle) -> float:
    """Mean size of the first frames where all are JPEGs that cut 0 sends as they are, else 0."""
    from codesign_ros.runtime.stages import is_sendable

    first = list(itertools.islice(source.source, _FIRST_FRAMES))
    if not all(f.encoding == "jpeg" and is_sendable(f.data, bundle.input) for f in first):
        return 0.0
    return statistics.fmean(len(frame.data) for frame in first) if first else 0.0


def _conditions(options: argparse.Namespace, bundle: Bundle, sendable_bytes: float) -> Any:
    """What all policies have alike; the link and the origin of the times, in words."""
    from codesign_ros.cost.catalogue import find_device, load_devices
    from codesign_ros.cost.link import travel_s
    from codesign_ros.evaluation.compare.robot import Conditions, SimulatedLink
    from codesign_ros.runtime.planner.settings import PlannerSettings
    from codesign_ros.types import CodesignError
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
    link, rate, link_said = _link(options)
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
            precisions=defaults.precisions,
            codecs=tuple(chosen.get("codecs", defaults.codecs)),
            frame_codecs=tuple(chosen.get("frame_codecs", defaults.frame_codecs)),
            objective=parse_objective(options.objective or defaults.objective.value),
            lambda_1=defaults.lambda_1 if options.lambda_1 is None else options.lambda_1,
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
    simulated = SimulatedLink(rate, link.delay_s, back_s)
    return Conditions(problem, simulated, *known), link_said, times_said


def _link(options: argparse.Namespace) -> Any:
    """The link as it is planned with, as it is simulated, and in words."""
    from codesign_ros.cost.catalogue import find_link, load_links
    from codesign_ros.evaluation.compare.report import link_words
    from codesign_ros.simulation.link_rate import StateRate, TraceRate

    file = Path(options.link)
    rate: Any
    if file.is_file():
        rate = TraceRate(file)
        link, how = LinkSpec(rate.bandwidth_bps, name=options.link), "trace, mean "
    else:
        known = load_links(Path(options.links or resource_path("config") / "links.yaml"))
        link = find_link(known, options.link)
        rate = StateRate(link)
        how = f"{len(link.states)} states in turn, mean " if link.states else ""
    if options.link_delay_ms is not None:
        delay_s = options.link_delay_ms * 1e-3
        link = replace(link, delay_s=delay_s, downlink_delay_s=delay_s)
    return link, rate, link_words(options.link, link.bandwidth_bps, link.delay_s, how)
