"""``codesign profile``: what a network costs, and how long it takes here."""

from __future__ import annotations

import argparse
import contextlib
import math
import platform
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.common import (
    add_backend,
    add_bundle,
    add_json,
    add_structures,
    check_cuts,
    command,
    open_bundle,
)
from codesign_ros.cli.options.numbers import CUT, NOT_NEGATIVE, THREADS
from codesign_ros.cli.options.places import OUTPUT_FILE_IN_NEW_FOLDER
from codesign_ros.console import alive, progress_bar, result_console, write_json
from codesign_ros.types.forms import PRECISIONS, Part, Structure

if TYPE_CHECKING:
    from codesign_ros.bundle import Bundle
    from codesign_ros.cost.half_times import HalfTimes
    from codesign_ros.engines.factory import EngineFactory


def add(commands: Any) -> None:
    """Add the command to the parser."""
    text = "FLOPs, sizes and this machine's times at every cut"
    parser = command(commands, "profile", _run, text)
    parser.description = (
        f"{text}. With tensorrt the halves that are built are timed ('codesign export' builds "
        "them), the others estimated."
    )
    add_bundle(parser)
    add_backend(parser)
    parser.add_argument("--threads", type=THREADS, default=1, help="threads that work on one run")
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS[1:], default=[], help="to time beside fp32"
    )
    add_structures(parser, "to time beside S3")
    parser.add_argument("--cuts", type=CUT, nargs="+", help="where to time (default: everywhere)")
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument(
        "--budget-s",
        type=NOT_NEGATIVE,
        default=3.0,
        help="time for heads and for tails, beyond which structures are scaled from S3 [s]",
    )
    extent.add_argument(
        "--complete", action="store_true", help="time every structure in every precision; minutes"
    )
    parser.add_argument("--fresh", action="store_true", help="time anew what was timed here before")
    parser.add_argument(
        "--device", default=platform.node(), help="what to call this machine in --out"
    )
    parser.add_argument(
        "--out",
        type=OUTPUT_FILE_IN_NEW_FOLDER,
        metavar="FILE",
        help="write the times for 'codesign plan --robot-profile FILE'",
    )
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.engines.factory import open_backend

    bundle = open_bundle(options)
    check_cuts(bundle, options.cuts or ())
    with contextlib.closing(
        open_backend(bundle, options.backend, threads=options.threads)
    ) as factory:
        for precision in options.precision:
            factory.check_precision(precision)
        return _profile(options, bundle, factory)


def _profile(options: argparse.Namespace, bundle: Bundle, factory: EngineFactory) -> int:
    with alive("counting operations"):
        from codesign_ros.cost.profile import profile_network
        from codesign_ros.evaluation.tables import (
            frames_table,
            necks_table,
            profile_json,
            profile_table,
        )
        from codesign_ros.whatif.device_times import write_device_times

        network = profile_network(bundle.network())
    times, conditions = _measured(factory, options)
    content = profile_json(bundle, network, times)
    if options.out is not None:
        write_device_times(options.out, times, conditions)
    write_json(options.json, content)
    result_console().print(profile_table(content))
    result_console().print(frames_table(content))
    if content["necks"]:
        result_console().print(necks_table(content))
    return 0


def _measured(
    factory: EngineFactory, options: argparse.Namespace
) -> tuple[dict[Part, HalfTimes], dict[str, str | int]]:
    from codesign_ros.cost.half_times import Extent
    from codesign_ros.whatif.device_times import PARTS, measure_device

    extent = Extent(
        cuts=tuple(options.cuts) if options.cuts else None,
        structures=tuple(map(Structure, options.structure)),
        precisions=tuple(options.precision),
        budget_s=math.inf if options.complete else options.budget_s,
    )
    with progress_bar() as progress:
        tasks = {part: progress.add_task(f"timing {part}s", total=None) for part in PARTS}
        return measure_device(
            factory,
            options.device,
            extent,
            fresh=options.fresh,
            progress=lambda part, done, total: progress.update(
                tasks[part], completed=done, total=total
            ),
        )
