"""``codesign compare``: policies on a recording, simulated or on real nodes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.common import (
    add_backend,
    add_bundle,
    add_classes,
    add_json,
    add_objective,
    add_topics,
    check_late_share,
    command,
    open_bundle,
    open_chosen_source,
    print_broken,
)
from codesign_ros.cli.comparing import on_nodes, simulated
from codesign_ros.cli.comparing.made import planned_link
from codesign_ros.cli.options.numbers import (
    COUNT,
    COUNT_OR_ALL,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    SHARE,
)
from codesign_ros.cli.options.places import OUTPUT_FILE
from codesign_ros.console import alive, show
from codesign_ros.types.forms import PRECISIONS

if TYPE_CHECKING:
    from codesign_ros.data.chosen import ChosenSource

_POLICIES = (
    "ours", "device_only", "server_only_raw", "server_only_jpeg", "neurosurgeon", "roofsplit",
)  # fmt: skip


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "compare", _run, "compare policies on a recording, simulated or on real nodes"
    )
    parser.add_argument("source", help="bag, or any other source that 'codesign evaluate' takes")
    add_topics(parser)
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
        "--ablate",
        action="store_true",
        help="beside, ours without one part at a time, and what each part is worth",
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        default=["fp32"],
        help="precisions to choose from, the same for all policies (default: fp32)",
    )
    parser.add_argument(
        "--late-share",
        type=SHARE,
        default=0.0,
        help="ours plans for the time that all but this share of the frames keep, on a link with "
        "states (default: 0, the mean time)",
    )
    parser.add_argument(
        "--arrivals",
        default="recorded",
        help="recorded (as stamped), fast (as results come), a rate as 10hz (0.01 at least), or "
        "poisson:10hz (default: recorded)",
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
    on_nodes.add(parser)
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
    from codesign_ros.evaluation.compare.ablations import ablation_table, ablations
    from codesign_ros.evaluation.compare.advice import advise
    from codesign_ros.evaluation.compare.arrivals import Arrivals
    from codesign_ros.evaluation.compare.page import page, write_page
    from codesign_ros.evaluation.compare.parts import parts_here
    from codesign_ros.evaluation.compare.report import (
        SIMULATED,
        Setting,
        comparison_json,
        comparison_table,
        lines,
    )
    from codesign_ros.evaluation.compare.summary import summaries
    from codesign_ros.evaluation.compare.worst import worst_frames
    from codesign_ros.runtime.planner.policy import OURS, check_policy
    from codesign_ros.types.errors import CodesignError

    for policy in options.policy:
        check_policy(policy)
    arrivals = Arrivals.parse(options.arrivals, window=options.window, seed=options.seed)
    link = planned_link(options)
    real = options.live or options.testbed
    if real:
        on_nodes.check(options, arrivals, link)
    check_late_share(options.late_share or None, [link.spec])
    with alive(f"opening {options.source}"):
        bundle = open_bundle(options)
        for policy in options.policy:
            check_policy(policy, bundle.last_cut)
        source = open_chosen_source(options, options.source, bundle)
    if source.frames is None:
        raise CodesignError(f"source {options.source} has no known end; give --frames")
    policies = list(dict.fromkeys(options.policy))
    parts: list[str] = []
    left_out: list[str] = []
    if options.ablate:
        parts, left_out = parts_here(
            has_neck=bool(bundle.neck_codecs),
            precisions=options.precision,
            late_share=options.late_share,
            is_run=real,
        )
        policies = list(dict.fromkeys([*policies, OURS, *parts]))
    make = on_nodes.compare_on_real_nodes if real else simulated.compare_simulated
    made = make(options, bundle, source, policies, arrivals, link)
    classes, deadline_s = source.box_classes, options.deadline_ms * 1e-3
    print_broken(source)
    taken = ablations(made.compared, bundle, classes, deadline_s) if options.ablate else []
    compared = made.compared.of([policy for policy in policies if policy not in parts])
    found = summaries(compared, bundle, classes, deadline_s)
    setting = Setting(
        source=options.source,
        topic=_topic(source),
        bundle=bundle.name,
        model_id=bundle.model_id,
        task=bundle.task,
        frames=len(compared.stamps_ns),
        truth_is=compared.truth_is,
        arrivals=arrivals.words,
        link=link.words,
        times=made.times,
        objective=made.objective.value,
        deadline_ms=options.deadline_ms,
        notes=(*compared.notes, *made.notes, *arrivals.notes(compared.stamps_ns), *left_out),
        is_run=made.is_run,
        how=made.how or SIMULATED,
    )
    advice = advise(found, made.objective, setting.metric)
    if options.html is not None:
        outcome = compared.outcomes[advice.policy]
        names = bundle.classes if classes is None else classes
        worst = worst_frames(source, compared, outcome, bundle.task, names, options.worst)
        text = page(
            *(setting, compared, found, advice, made.sweep, made.roofs, link.rate, worst, taken)
        )
        write_page(options.html, text)
    content = comparison_json(setting, found, compared.unavailable, advice, made.sweep, made.roofs)
    tables = [comparison_table(setting, found, advice)]
    if options.ablate:
        content["ablations"] = [each.to_json() for each in taken]
        tables.append(ablation_table(taken))
    show(tables, lines(setting, found, compared.unavailable, advice), options.json, content)
    return 0


def _topic(source: ChosenSource) -> str:
    """The image topic of a bag, also within other sources."""
    inner: Any = source.source
    while hasattr(inner, "source"):
        inner = inner.source
    return str(getattr(inner, "topic", ""))
