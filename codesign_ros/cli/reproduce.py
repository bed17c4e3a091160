"""``codesign reproduce``: the paper's tables and figures, its value beside ours."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codesign_ros.cli import reproduce_fig8
from codesign_ros.cli.common import add_json, command
from codesign_ros.console import progress_bar, result_console, write_json
from codesign_ros.types import CodesignError

if TYPE_CHECKING:
    from codesign_ros.paper.zoo import Zoo
    from codesign_ros.types import DeviceSpec


def add(commands: Any) -> None:
    """Add the command to the parser."""
    text = "the co-design paper's tables and figures: its value, ours, the difference"
    targets = commands.add_parser("reproduce", help=text, description=text).add_subparsers(
        required=True, metavar="TARGET"
    )
    parser = command(targets, "table2", _table2, "intensities of the re-parameterised networks")
    add_accounting(parser)
    add_json(parser)
    add_json(command(targets, "table3", _table3, "networks against devices: computing or memory"))
    reproduce_fig8.add(targets)


def add_accounting(parser: argparse.ArgumentParser) -> None:
    """Add ``--accounting``."""
    parser.add_argument(
        "--accounting",
        type=_accounting,
        metavar="NAME",
        help="what counts as an operation and a byte, e.g. flops/traffic (default: what comes "
        "closest to the paper's Table II; `codesign intensity` lists all)",
    )


def _accounting(text: str) -> str:
    """Check the name at once, and not after the work."""
    from codesign_ros.cost.intensity import what_counts

    try:
        what_counts(text)
    except CodesignError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def counted_zoo() -> Zoo:
    """Count the operations of the paper's networks, with a progress bar."""
    from codesign_ros.paper.zoo import count_zoo

    with progress_bar() as progress:
        task = progress.add_task("counting operations", total=None)
        return count_zoo(lambda done, total: progress.update(task, completed=done, total=total))


def paper_devices() -> Mapping[str, DeviceSpec]:
    """Read the package's devices."""
    from codesign_ros.cost.catalogue import load_devices
    from codesign_ros.resources import resource_path

    return load_devices(resource_path("config") / "devices.yaml")


def _table2(options: argparse.Namespace) -> int:
    from codesign_ros.paper.tables import table2
    from codesign_ros.paper.tables_report import table2_table

    content = table2(counted_zoo(), options.accounting)
    _show(table2_table(content), content, options.json)
    return 0


def _table3(options: argparse.Namespace) -> int:
    from codesign_ros.paper.tables import table3
    from codesign_ros.paper.tables_report import table3_table

    devices = paper_devices()
    content = table3(counted_zoo(), devices)
    _show(table3_table(content), content, options.json)
    return 0


def _show(table: Any, content: Mapping[str, Any], json_path: str | None) -> None:
    console = result_console()
    console.print(table)
    counts = f"Operations: {content['operations']}. Bytes: {content['bytes']}, 4 an element (fp32)."
    for note in (counts, *content["notes"]):
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    write_json(json_path, dict(content))
