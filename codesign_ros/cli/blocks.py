"""``codesign blocks``: which block of a network should keep which branches, by measurement."""

from __future__ import annotations

import argparse
import math
import os
from typing import Any

from codesign_ros.cli.common import add_bundle, add_json, check_cuts, command, open_bundle
from codesign_ros.cli.measuring import add_data, measured_frames, open_data
from codesign_ros.cli.options.numbers import CUT, NOT_NEGATIVE, THREADS, Whole
from codesign_ros.console import alive, result_console, write_json
from codesign_ros.types.forms import BRANCH_STRUCTURES, PRECISIONS, Structure

_STRUCTURES = tuple(structure.value for structure in BRANCH_STRUCTURES)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "blocks", _run, "measure which block should keep which branches, and what it adds"
    )
    add_bundle(parser)
    add_data(parser, required=True)
    parser.add_argument("--precision", choices=PRECISIONS, default="int8-tensor")
    parser.add_argument(
        "--base", choices=_STRUCTURES, default=_STRUCTURES[0], help="of the blocks not looked at"
    )
    parser.add_argument(
        "--structure", nargs="+", choices=_STRUCTURES, default=_STRUCTURES, help="to choose from"
    )
    parser.add_argument(
        "--lambda-1",
        type=NOT_NEGATIVE,
        default=1.0,
        help="weight of the accuracy loss in Eq. 11 [s per unit]",
    )
    parser.add_argument(
        "--loss-limit",
        type=NOT_NEGATIVE,
        default=math.inf,
        help="the blocks' losses against the base, 0 to 1, add up to no more than this",
    )
    parser.add_argument(
        "--cut", type=CUT, help="compare with structures of a head and a tail that meet here"
    )
    parser.add_argument(
        "--rounds", type=Whole(1, 10_000), default=20, help="runs of each network for its time"
    )
    parser.add_argument("--threads", type=THREADS, default=os.cpu_count() or 1)
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    bundle = open_bundle(options)
    check_cuts(bundle, [options.cut or 0])
    chosen = open_data(options, bundle)
    with alive("loading torch"):
        from codesign_ros.evaluation.per_block import measure_per_block
        from codesign_ros.evaluation.per_block_report import (
            per_block_json,
            per_block_tables,
            verdict,
        )

    with measured_frames(options, bundle, chosen) as (frames, progress):
        task = progress.add_task("measuring networks", total=None)
        result = measure_per_block(
            bundle.network(),
            frames.images,
            lambda chosen: frames.judge(bundle, chosen),
            precision=options.precision,
            lambda_1=options.lambda_1,
            loss_limit=options.loss_limit,
            cut=options.cut,
            base=Structure(options.base),
            structures=tuple(map(Structure, options.structure)),
            calibration_frames=bundle.calibration_frames(),
            threads=options.threads,
            rounds=options.rounds,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    about: dict[str, Any] = {"bundle": bundle.name, "frames": len(frames.images)}
    about |= {name: getattr(options, name) for name in ("data", "precision", "lambda_1", "threads")}
    write_json(options.json, {**about, **per_block_json(result)})
    for table in per_block_tables(result):
        result_console().print(table)
    result_console().print(verdict(result))
    return 0
