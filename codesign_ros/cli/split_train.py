"""``codesign split-train``: training in two halves, and the convergence analysis of section V."""

from __future__ import annotations

import argparse
from typing import Any

from codesign_ros.cli.common import (
    add_bundle,
    add_json,
    bundle_path,
    check_cuts,
    command,
    open_bundle,
)
from codesign_ros.cli.options.numbers import (
    COUNT,
    CUT,
    POSITIVE,
    SEED,
    SIDE,
    THREADS,
    Whole,
)
from codesign_ros.cli.options.places import FIGURE_FILE
from codesign_ros.console import alive, result_console, write_json
from codesign_ros.types.errors import CodesignError, did_you_mean

_NUMBERS = {
    "steps": (COUNT, "batches to train on"),
    "batch": (Whole(1, 65_536), "frames in a batch"),
    "frames": (COUNT, "scenes to draw"),
    "height": (SIDE, "of the input, with --architecture"),
    "width": (SIDE, "of the input, with --architecture"),
    "seed": (SEED, "of scenes and random weights"),
    "threads": (THREADS, "processor cores of each half"),
}


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "split-train", _run, "train head and tail in two processes (section V)"
    )
    source = parser.add_mutually_exclusive_group()
    add_bundle(source)
    source.add_argument("--architecture", help="mine_repvgg or yolo, with random weights")
    parser.add_argument("--cut", type=CUT, help="index of the cut, 0 to N")
    for name, (kind, what) in _NUMBERS.items():
        parser.add_argument(f"--{name}", type=kind, help=what)
    parser.add_argument("--learning-rate", type=POSITIVE)
    parser.add_argument("--timeout-s", type=POSITIVE, help="how long a half waits for the other")
    parser.add_argument(
        "--check", action="store_true", help="compare with the whole network in one process"
    )
    parser.add_argument(
        "--convergence",
        action="store_true",
        help="instead: the step limits and the rate of Eq. 24-27, simulated on a convex problem",
    )
    parser.add_argument(
        "--plot", type=FIGURE_FILE, metavar="PNG", help="with --convergence: a picture"
    )
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    if options.convergence:
        return _run_convergence(options)
    if options.plot is not None:
        raise CodesignError("--plot draws what --convergence simulates; give both")
    if options.cut is None:
        raise CodesignError("--cut is missing: say after which segment the head ends, 0 to N")
    names = (*_NUMBERS, "learning_rate", "timeout_s")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.architecture is None:
        if given.keys() & {"height", "width"}:
            raise CodesignError("--height and --width go with --architecture: a bundle has its own")
        check_cuts(open_bundle(options), [options.cut])
    with alive("loading torch"):
        from codesign_ros.training.split.command import (
            ARCHITECTURES,
            SplitOptions,
            run_split_training,
        )

    if options.architecture not in (None, *ARCHITECTURES):
        raise CodesignError(
            f"unknown architecture {options.architecture!r}"
            f"{did_you_mean(options.architecture, ARCHITECTURES)}; known are "
            f"{', '.join(ARCHITECTURES)}"
        )
    document = run_split_training(
        SplitOptions(
            bundle=None if options.architecture else bundle_path(options),
            architecture=options.architecture or "",
            cut=options.cut,
            check=options.check,
            **given,
        ),
        result_console(),
    )
    write_json(options.json, document)
    return 1 if document["equal"] is False else 0


def _run_convergence(options: argparse.Namespace) -> int:
    from codesign_ros.paper.convergence_report import (
        draw_convergence,
        print_convergence,
        simulate,
    )

    if options.cut is not None or options.check or options.bundle or options.architecture:
        raise CodesignError("--convergence simulates a problem of its own: name no network or cut")
    others = sorted({*_NUMBERS, "learning_rate", "timeout_s"} - {"seed"})
    if given := [name for name in others if getattr(options, name) is not None]:
        flag = given[0].replace("_", "-")
        raise CodesignError(f"--convergence takes --seed, --plot and --json, not --{flag}")
    with alive("simulating"):
        result = simulate(**({} if options.seed is None else {"seed": options.seed}))
    if options.plot is not None:
        draw_convergence(result, options.plot)
    write_json(options.json, result.document())
    print_convergence(result, result_console())
    return 0
