"""``codesign accuracy``: a bundle's accuracy in every form that a plan can give it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.common import MERGES, STRUCTURES, add_json, check_cuts, command
from codesign_ros.cli.measuring import add_data, measured_frames, open_data
from codesign_ros.cli.options.numbers import CUT, THREADS
from codesign_ros.cli.options.places import OUTPUT_FILE, OUTPUT_FOLDER
from codesign_ros.console import alive, minutes, result_console, write_json
from codesign_ros.types.codec_names import H264_CODECS
from codesign_ros.types.errors import CodesignError, did_you_mean
from codesign_ros.types.forms import BRANCH_STRUCTURES, PRECISIONS, Merge, Structure
from codesign_ros.wire.codecs import TENSOR_CODECS

if TYPE_CHECKING:
    import numpy as np
    from rich.progress import Progress

    from codesign_ros.bundle import Bundle
    from codesign_ros.cost.accuracy import AccuracyTable
    from codesign_ros.evaluation.accuracy_forms import Form
    from codesign_ros.evaluation.labelled_frames import MeasuredFrames

_LOSSY = tuple(codec for codec in TENSOR_CODECS if "raw" not in codec and "+" not in codec)
_NECK, _VIDEO = "neck", "h264"
# What makes sense where nothing is measured, or changes nothing.
_WITHOUT_DATA = "help", "bundle", "data", "write", "add", "metric", "json", "threads"
# Below this the unchanged network finds next to nothing, and nothing can be lost.
_LEAST_REFERENCE = 0.05


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "accuracy", _run, "measure a bundle's accuracy by form, precision, codec and cut"
    )
    parser.add_argument("bundle", help="model bundle")
    add_data(parser, "; without it the bundle's own table is shown")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="only what planners need most, in a tenth of the time: folded S3, fp32 and INT8",
    )
    parser.add_argument(
        "--cuts",
        type=CUT,
        nargs="*",
        help="where codecs are measured; 0 = the JPEGs (default: 0, and where other numbers of "
        "values begin to cross)",
    )
    parser.add_argument(
        "--codec",
        nargs="+",
        choices=(*_LOSSY, _NECK, _VIDEO),
        default=[*_LOSSY, _NECK],
        help="neck: the rate levels of the necks at these cuts (default: all these); h264: the "
        "frame as video, alone and on a film, as mine:SEED or a bag",
    )
    parser.add_argument(
        "--structure", nargs="+", choices=STRUCTURES, help="default: the four of branches"
    )
    parser.add_argument(
        "--merge",
        nargs="+",
        choices=MERGES,
        help="default: all; of an imported network, whose BatchNorms are folded, all but prune+bn",
    )
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS)
    parser.add_argument(
        "--threads",
        type=THREADS,
        default=os.cpu_count() or 1,
        help="frames at the same time (default: all cores)",
    )
    parser.add_argument(
        "--checkpoint",
        type=OUTPUT_FILE,
        metavar="FILE",
        help="keep what is done in this file, and go on from it (default: BUNDLE.accuracy, until "
        "the table is written)",
    )
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        "--write", action="store_true", help="write the table into the bundle, for the planner"
    )
    kept.add_argument(
        "--add",
        action="store_true",
        help="add what the bundle's table lacks, measured on the same frames; its rows stay",
    )
    parser.add_argument(
        "--metric", help="show this value, such as map50.helmet (default: the table's own)"
    )
    add_json(parser)
    parser.set_defaults(
        of_data={a.dest: a.default for a in parser._actions if a.dest not in _WITHOUT_DATA}
    )


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.bundle import Bundle
    from codesign_ros.evaluation.accuracy_report import accuracy_tables

    bundle = Bundle.open(options.bundle)
    if options.write or options.add:
        OUTPUT_FOLDER.check(bundle.path)
    if options.data:
        OUTPUT_FILE.check(_checkpoint(bundle, options))
        table = _measured(bundle, options)
        if options.add:
            table = bundle.accuracy.extended(table)
    elif options.write or options.add:
        raise CodesignError("--write and --add need --data: there is nothing new to write")
    else:
        for name, default in options.of_data.items():
            if getattr(options, name) != default:
                raise CodesignError(
                    f"--{name.replace('_', '-')} needs --data: without it nothing is measured, and "
                    "the bundle's own table is shown"
                )
        table = bundle.accuracy
    if options.data and table.reference < _LEAST_REFERENCE:
        print(
            f"warning: the unchanged network reaches {table.metric} {table.reference:.1%} on these "
            "frames, so that nothing can be lost: plans by this table take everything for free. "
            "Train it further, or measure on frames that it was trained for",
            file=sys.stderr,
        )
    # Written before it is printed: whoever reads may have gone.
    if options.write or options.add:
        bundle.replace_accuracy(table)
    write_json(options.json, json.loads(table.to_json()))
    is_kept = options.data and not options.checkpoint
    checkpoint = _checkpoint(bundle, options)
    if is_kept and (options.write or options.add or options.json):
        checkpoint.unlink(missing_ok=True)
        is_kept = False
    for each in accuracy_tables(table, options.metric):
        result_console().print(each)
    if is_kept:
        print(
            f"{checkpoint} holds all answers: the same command with --write writes this table at "
            "once"
        )
    return 0


def _checkpoint(bundle: Bundle, options: argparse.Namespace) -> Path:
    """Where answers are kept."""
    beside = bundle.path.with_name(bundle.path.name + ".accuracy")
    return Path(options.checkpoint) if options.checkpoint else beside


def _check_metric(options: argparse.Namespace, bundle: Bundle, frames: MeasuredFrames) -> None:
    """Refuse a value that these frames do not give, before they are measured."""
    judge = frames.judge(bundle)
    known = [judge.metric]
    if bundle.task == "detection":
        known += judge.score([[] for _ in frames.images]).details
    if options.metric not in (None, *known):
        near = did_you_mean(options.metric, known)
        raise CodesignError(
            f"'{options.metric}' is not measured on these frames{near}; there are "
            f"{', '.join(known)}"
        )


def _forms_of(bundle: Bundle, options: argparse.Namespace) -> tuple[Form, ...]:
    """What the options ask for, each function once."""
    from codesign_ros.evaluation.accuracy_forms import QUICK_PRECISIONS, all_forms, distinct

    imported = bundle.architecture == "graph"
    merges = [merge for merge in Merge if not (imported and merge is Merge.PRUNE_BN)]
    structures: tuple[Structure, ...] = BRANCH_STRUCTURES
    precisions: tuple[str, ...] = PRECISIONS
    if options.quick:
        structures, merges, precisions = (Structure.S3,), [Merge.FOLD], QUICK_PRECISIONS
    return distinct(
        all_forms(
            tuple(map(Structure, options.structure or structures)),
            tuple(map(Merge, options.merge or merges)),
            tuple(options.precision or precisions),
        )
    )


def _films(
    options: argparse.Namespace, frames: MeasuredFrames, progress: Progress
) -> dict[str, np.ndarray]:
    """The frames as video made them."""
    from codesign_ros.evaluation.rate.film import coded_films

    if not frames.is_film:
        raise CodesignError(
            f"--data {options.data} is no film, and what h264 loses depends on the frames before: "
            "give one, as mine:SEED or a bag"
        )
    task = progress.add_task("writing video", total=len(frames.images))
    return coded_films(
        frames.images, H264_CODECS, lambda done, total: progress.update(task, completed=done)
    )


def _measured(bundle: Bundle, options: argparse.Namespace) -> AccuracyTable:
    check_cuts(bundle, options.cuts or ())
    if _VIDEO in options.codec and len({*options.codec}) > 1:
        raise CodesignError(
            "--codec h264 stands alone: it is measured on a film, which tells little of the others"
        )
    if _VIDEO in options.codec and options.write:
        raise CodesignError(
            "--codec h264 goes with --add: its rows are of a film, and stand beside those of the "
            "bundle's table"
        )
    chosen = open_data(options, bundle)
    with alive(f"opening {bundle.path}"):
        from codesign_ros.evaluation.accuracy_forms import quick_cuts
        from codesign_ros.evaluation.accuracy_table import measure_forms
        from codesign_ros.evaluation.neck.accuracy import MeasuredNeck

        network, forms = bundle.network(), _forms_of(bundle, options)
    with measured_frames(options, bundle, chosen) as (frames, progress):
        _check_metric(options, bundle, frames)
        films = _films(options, frames, progress) if _VIDEO in options.codec else {}
        task = progress.add_task("measuring", total=None)
        state = (0, 0)

        def show(done: int, total: int) -> None:
            nonlocal state
            state = done, total
            progress.update(task, completed=done, total=total)

        def tell(runs: int, seconds: float) -> None:
            progress.console.print(
                f"{len(forms)} forms on {len(frames.images)} frames: {runs} runs of the network or "
                f"of its tails, about {minutes(seconds)}",
                highlight=False,
                soft_wrap=True,
            )

        try:
            return measure_forms(
                network,
                frames.images,
                frames.judge(bundle),
                data=f"{len(frames.images)} frames of {options.data}",
                forms=forms,
                cuts=quick_cuts(network) if options.cuts is None else options.cuts,
                codecs=[codec for codec in options.codec if codec in _LOSSY],
                films=films,
                necks=[
                    MeasuredNeck.of(bundle, neck.cut)
                    for neck in bundle.necks
                    if _NECK in options.codec and (options.cuts is None or neck.cut in options.cuts)
                ],
                calibration_frames=bundle.calibration_frames(),
                threads=options.threads,
                checkpoint=_checkpoint(bundle, options),
                planned=tell,
                progress=show,
            )
        except KeyboardInterrupt:
            raise CodesignError(
                f"interrupted after {state[0]} of {state[1]} runs; {options.command_line} goes on"
            ) from None
