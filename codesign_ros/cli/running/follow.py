"""``codesign follow``: record what a robot's nodes say, and sum up what came of its frames."""

from __future__ import annotations

import argparse
from typing import Any

from codesign_ros.cli.common import add_bundle, add_json, command, open_bundle
from codesign_ros.cli.options.names import namespace
from codesign_ros.cli.options.numbers import POSITIVE
from codesign_ros.cli.options.places import NEW_FOLDER
from codesign_ros.console import alive, result_console, write_json
from codesign_ros.types.errors import CodesignError

_PACING = ("stamps", "window", "rate")


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "follow", _run, "record what a running robot's nodes say, and sum it up"
    )
    parser.add_argument(
        "--robot", type=namespace, default="/robot", help="namespace of the robot (default: /robot)"
    )
    parser.add_argument(
        "--record",
        type=NEW_FOLDER,
        metavar="BAG",
        help="bag to write: embeddings, answers, results, plans, announcements, heartbeats and "
        "ground truth",
    )
    parser.add_argument(
        "--seconds", type=POSITIVE, help="how long to listen [s] (default: until Ctrl-C)"
    )
    parser.add_argument(
        "--play",
        choices=_PACING,
        metavar="PACING",
        help="have the camera, which waits unconfigured, play its recording once, and end with it: "
        "stamps (as recorded), window (as fast as results come), rate (its rate_hz)",
    )
    add_bundle(parser)
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.demo.report import print_report

    try:
        from codesign_ros.demo.follow import Followed, follow
    except ImportError as error:
        raise CodesignError(
            f"follow needs ROS 2 and this package's messages ({error}); source the workspace"
        ) from None
    if options.play and options.seconds:
        raise CodesignError("--play ends with the recording: leave --seconds out")
    with alive("opening the bundle") as tell:
        report = follow(
            Followed(
                options.robot,
                open_bundle(options),
                record=options.record,
                plays=options.play is not None,
                pacing=options.play or "",
                seconds=options.seconds,
            ),
            tell,
        )
    write_json(options.json, report)
    console = result_console()
    print_report(report, console)
    for topic, count in sorted(report.get("recorded", {}).items()):
        lost = report["missed"].get(topic, 0)
        beside = f", {lost} lost on their way here" if lost else ""
        console.print(f"{topic}: {count} recorded{beside}", markup=False, soft_wrap=True)
    return 0
