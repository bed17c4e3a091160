"""``codesign evaluate``: a source through head, wire and tail in one process."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from codesign_ros.cli.common import (
    MERGES,
    STRUCTURES,
    add_backend,
    add_bundle,
    add_json,
    command,
    open_bundle,
)
from codesign_ros.console import progress_bar, result_console, write_json
from codesign_ros.types import PRECISIONS, CodesignError, Merge, Structure
from codesign_ros.wire.codecs import KNOWN_CODECS


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "evaluate", _run, "run a source through head, wire and tail in one process"
    )
    parser.add_argument(
        "source",
        help="bag, video file, folder of images, labelled data set, mine[:SEED] (a film) or "
        "scenes[:SEED] (independent scenes)",
    )
    parser.add_argument("--split", help="part of a labelled data set (default: val, if it has one)")
    add_bundle(parser)
    parser.add_argument("--cut", type=int, help="0 to N (default: N, the whole network)")
    parser.add_argument("--head-structure", choices=STRUCTURES, default=STRUCTURES[0])
    parser.add_argument("--tail-structure", choices=STRUCTURES, default=STRUCTURES[0])
    parser.add_argument("--merge", choices=MERGES, default=MERGES[0])
    parser.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0])
    parser.add_argument("--codec", choices=KNOWN_CODECS, default="raw", metavar="CODEC")
    add_backend(parser)
    parser.add_argument("--frames", type=int, default=0, help="end after so many frames; 0 = all")
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.data.sources import LabelledSource, open_source
    from codesign_ros.evaluation.offline import evaluate
    from codesign_ros.evaluation.tables import evaluation_table

    bundle = open_bundle(options)
    source = open_source(options.source, frames=options.frames, split=options.split)
    if source.frames is None:
        raise CodesignError(f"source {options.source} has no known end; give --frames")
    for warning in source.labelled.warnings if isinstance(source, LabelledSource) else ():
        print(f"warning: {warning}", file=sys.stderr)
    with progress_bar() as progress:
        task = progress.add_task("evaluating", total=source.frames)
        evaluation = evaluate(
            source,
            bundle,
            cut=options.cut,
            head_structure=Structure(options.head_structure),
            tail_structure=Structure(options.tail_structure),
            merge=Merge(options.merge),
            precision=options.precision,
            codec=options.codec,
            backend=options.backend,
            progress=lambda done: progress.update(task, completed=done),
        )
    result_console().print(evaluation_table(evaluation))
    write_json(options.json, evaluation.to_json())
    return 0
