"""``codesign doctor``: whether this machine, and what it hears of the other, is fit to run."""

from __future__ import annotations

import argparse
from typing import Any

from codesign_ros.cli.common import add_bundle, bundle_path, command
from codesign_ros.cli.options.numbers import NOT_NEGATIVE
from codesign_ros.cli.options.places import OUTPUT_FILE_OR_STANDARD_OUTPUT, STANDARD_OUTPUT
from codesign_ros.console import alive, print_json, result_console, write_json
from codesign_ros.doctor.peers import ROLES


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands,
        "doctor",
        _run,
        "check domain, discovery, network, shared memory, clocks, versions and bundles",
    )
    add_bundle(parser)
    parser.add_argument(
        "--seconds", type=NOT_NEGATIVE, default=4.0, help="how long to listen to the nodes [s]"
    )
    parser.add_argument(
        "--expect",
        nargs="+",
        choices=ROLES,
        default=(),
        metavar="ROLE",
        help=f"of {', '.join(ROLES)}: it is a failure if none of it is found",
    )
    parser.add_argument(
        "--json",
        type=OUTPUT_FILE_OR_STANDARD_OUTPUT,
        metavar="FILE",
        nargs="?",
        const=STANDARD_OUTPUT,
        help="write the findings as JSON too; without a file, to standard output alone",
    )


def _run(options: argparse.Namespace) -> int:
    with alive(f"examining this machine, and listening for {options.seconds:g} s"):
        from codesign_ros.doctor.examine import examine
        from codesign_ros.doctor.finding import exit_status
        from codesign_ros.doctor.report import content, findings_of, report_table, summary

        groups = examine(
            bundle_path(options), bool(options.bundle), options.seconds, options.expect
        )
    if options.json == STANDARD_OUTPUT:
        print_json(content(groups))
    else:
        write_json(options.json, content(groups))
        console = result_console()
        console.print(report_table(groups))
        console.print(summary(groups), highlight=False)
    return exit_status(findings_of(groups))
