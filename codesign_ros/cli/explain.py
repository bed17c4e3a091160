"""``codesign explain``: what a network sees in a picture, and what its structures change."""

from __future__ import annotations

import argparse
from typing import Any

from codesign_ros.cli.common import add_bundle, add_json, command, open_bundle
from codesign_ros.cli.options.places import OUTPUT_FOLDER
from codesign_ros.console import alive, result_console, write_json


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands,
        "explain",
        _run,
        "draw what a network finds in a picture, where that comes from, and its feature maps, "
        "with and without the dynamic structure",
    )
    parser.add_argument("image", help="image file, or mine:SEED:INDEX for a generated scene")
    add_bundle(parser)
    parser.add_argument(
        "--out", type=OUTPUT_FOLDER, default="explain", help="folder for the pictures"
    )
    parser.add_argument(
        "--class", dest="label", metavar="NAME", help="class to explain (default: what is found)"
    )
    parser.add_argument(
        "--segment",
        metavar="NAME",
        help="where to look (default: the last segment with maps for the class activation, the "
        "finest block for the feature maps)",
    )
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.explain.asked import check_asked
    from codesign_ros.explain.scene import open_scene

    bundle = open_bundle(options)
    check_asked(bundle, options.label, options.segment)
    scene = open_scene(options.image)
    with alive(f"explaining {options.image}") as tell:
        from codesign_ros.explain.explanation import explain
        from codesign_ros.explain.pictures import write_pictures

        explanation = explain(scene, bundle, label=options.label, segment=options.segment)
        tell(f"drawing into {options.out}")
        files = write_pictures(explanation, options.out)
    content = explanation.to_json()
    write_json(options.json, {**content, "files": {n: str(f) for n, f in files.items()}})
    lines = [
        *((answer.variant.name, explanation.said(answer)) for answer in explanation.answers),
        *(
            (view.codec or f"cut {view.cut}", f"{view.payload_bytes} bytes: {explanation.said(a)}")
            for view, a in explanation.necks
            if a is not None
        ),
        *files.items(),
        *(("note", note) for note in explanation.notes),
    ]
    console = result_console()
    for name, text in lines:
        console.print(f"{name:>16}  {text}", markup=False, highlight=False, soft_wrap=True)
    return 0
