"""``codesign evaluate``: a source through head, wire and tail in one process."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.common import (
    MERGES,
    STRUCTURES,
    add_backend,
    add_bundle,
    add_camera_jpeg,
    add_classes,
    add_json,
    add_topics,
    check_cuts,
    command,
    open_bundle,
    open_chosen_source,
    print_broken,
)
from codesign_ros.cli.options.numbers import COUNT_OR_ALL, CUT, SHARE
from codesign_ros.cli.options.places import NEW_FOLDER
from codesign_ros.console import alive, progress_bar, result_console, write_json
from codesign_ros.pixels.boxes import DISPLAY_THRESHOLD
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import PRECISIONS, Merge, Structure
from codesign_ros.wire.codecs import KNOWN_CODECS

if TYPE_CHECKING:
    from codesign_ros.data.frames import SourceFrame
    from codesign_ros.evaluation.replay import ReplayedFrame


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
    add_topics(parser)
    parser.add_argument("--split", help="part of a labelled data set (default: val, if it has one)")
    add_bundle(parser)
    parser.add_argument("--cut", type=CUT, help="0 to N (default: N, the whole network)")
    parser.add_argument("--head-structure", choices=STRUCTURES, default=STRUCTURES[0])
    parser.add_argument("--tail-structure", choices=STRUCTURES, default=STRUCTURES[0])
    parser.add_argument("--merge", choices=MERGES, default=MERGES[0])
    parser.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0])
    parser.add_argument("--codec", choices=KNOWN_CODECS, default="raw", metavar="CODEC")
    add_backend(parser)
    add_camera_jpeg(parser)
    parser.add_argument(
        "--frames", type=COUNT_OR_ALL, default=0, help="end after so many frames; 0 = all"
    )
    add_classes(parser)
    parser.add_argument(
        "--display-threshold",
        type=SHARE,
        default=DISPLAY_THRESHOLD,
        metavar="SCORE",
        help="recall, precision and pictures are of boxes of this score and above (default: "
        f"{DISPLAY_THRESHOLD:g}, as the nodes')",
    )
    parser.add_argument(
        "--pictures",
        type=NEW_FOLDER,
        metavar="DIR",
        help="draw every frame into this new folder; with labels also the worst frames beside "
        "their truth, precision over recall, and the confusion",
    )
    parser.add_argument(
        "--worst", type=COUNT_OR_ALL, default=12, metavar="N", help="so many of the worst frames"
    )
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    with alive(f"opening {options.source}"):
        from codesign_ros.data.camera_jpeg import camera_jpegs
        from codesign_ros.evaluation.offline import evaluate
        from codesign_ros.evaluation.pictures import FramePictures
        from codesign_ros.evaluation.tables import evaluation_tables

        bundle = open_bundle(options)
        check_cuts(bundle, [options.cut or 0])
        source = open_chosen_source(options, options.source, bundle)
    if source.frames is None:
        raise CodesignError(f"source {options.source} has no known end; give --frames")
    classes = source.box_classes
    pictures = None
    if options.pictures is not None:
        pictures = FramePictures(
            options.pictures,
            bundle.task,
            bundle.classes if classes is None else classes,
            options.display_threshold,
            options.worst,
        )
    with progress_bar() as progress:
        task = progress.add_task("evaluating", total=source.frames)

        def done(frame: SourceFrame, prediction: ReplayedFrame) -> None:
            if pictures is not None:
                pictures.add(frame, prediction)
            progress.advance(task)

        quality = options.camera_jpeg
        evaluation = evaluate(
            source if quality is None else camera_jpegs(source, quality),
            bundle,
            cut=options.cut,
            head_structure=Structure(options.head_structure),
            tail_structure=Structure(options.tail_structure),
            merge=Merge(options.merge),
            precision=options.precision,
            codec=options.codec,
            backend=options.backend,
            classes=classes,
            display_threshold=options.display_threshold,
            done=done,
        )
    print_broken(source)
    write_json(options.json, evaluation.to_json())
    written = pictures.finish(evaluation.quality) if pictures is not None else []
    for table in evaluation_tables(evaluation):
        result_console().print(table)
    if written:
        result_console().print(f"{options.pictures}: {', '.join(written)}", highlight=False)
    return 0
