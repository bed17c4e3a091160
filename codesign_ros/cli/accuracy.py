"""``codesign accuracy``: a bundle's accuracy in every form that a plan can give it."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.common import MERGES, add_json, add_structures, command
from codesign_ros.cli.measuring import add_data, measured_frames
from codesign_ros.console import result_console, write_json
from codesign_ros.types import PRECISIONS, CodesignError, Merge, Structure
from codesign_ros.wire.codecs import TENSOR_CODECS

if TYPE_CHECKING:
    from codesign_ros.bundle import Bundle
    from codesign_ros.cost.accuracy import AccuracyTable

_LOSSY = tuple(codec for codec in TENSOR_CODECS if "raw" not in codec and "+" not in codec)
_NECK = "neck"


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "accuracy", _run, "measure a bundle's accuracy by form, precision, codec and cut"
    )
    parser.add_argument("bundle", help="model bundle")
    add_data(parser, "; without it the bundle's own table is shown")
    parser.add_argument(
        "--cuts", type=int, nargs="*", default=[], help="where codecs are measured; 0 = the JPEG"
    )
    parser.add_argument(
        "--codec",
        nargs="+",
        choices=(*_LOSSY, _NECK),
        default=[*_LOSSY, _NECK],
        help="neck: the rate levels of the necks at these cuts (default: all)",
    )
    add_structures(parser, "to measure")
    parser.add_argument(
        "--merge",
        nargs="+",
        choices=MERGES,
        help="default: all; of an imported network, whose BatchNorms are folded, all but prune+bn",
    )
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="keep what is done in this file, and go on from it"
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


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.bundle import Bundle
    from codesign_ros.evaluation.accuracy_report import accuracy_tables

    bundle = Bundle.open(options.bundle)
    if options.data:
        table = _measured(bundle, options)
        if options.add:
            table = bundle.accuracy.extended(table)
    elif options.write or options.add:
        raise CodesignError("--write and --add need --data: there is nothing new to write")
    else:
        table = bundle.accuracy
    for each in accuracy_tables(table, options.metric):
        result_console().print(each)
    write_json(options.json, json.loads(table.to_json()))
    if options.write or options.add:
        bundle.replace_accuracy(table)
    return 0


def _merges_of(bundle: Bundle) -> list[Merge]:
    imported = bundle.architecture == "graph"
    return [merge for merge in Merge if not (imported and merge is Merge.PRUNE_BN)]


def _measured(bundle: Bundle, options: argparse.Namespace) -> AccuracyTable:
    from codesign_ros.evaluation.accuracy_table import all_forms, measure_forms
    from codesign_ros.evaluation.neck_accuracy import MeasuredNeck

    with measured_frames(options, bundle) as (frames, progress):
        task = progress.add_task("measuring", total=None)
        return measure_forms(
            bundle.network(),
            frames.images,
            frames.judge(bundle),
            data=f"{len(frames.images)} frames of {options.data}",
            forms=all_forms(
                tuple(map(Structure, options.structure)),
                tuple(map(Merge, options.merge or _merges_of(bundle))),
                tuple(options.precision),
            ),
            cuts=options.cuts,
            codecs=[codec for codec in options.codec if codec != _NECK],
            necks=[
                MeasuredNeck.of(bundle, neck.cut)
                for neck in bundle.necks
                if neck.cut in options.cuts and _NECK in options.codec
            ],
            calibration_frames=bundle.calibration_frames(),
            threads=options.threads,
            checkpoint=Path(options.checkpoint) if options.checkpoint else None,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
