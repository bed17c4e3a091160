"""``codesign reproduce``: the paper's tables and figures, its value beside ours."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.common import add_json, command
from codesign_ros.cli.options.places import FIGURE_FILE
from codesign_ros.console import alive, progress_bar, show
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
    parser = command(targets, "fig8", _fig8, "throughput at each split point of Rep-GoogLeNet")
    parser.add_argument(
        "--plot", type=FIGURE_FILE, metavar="FILE", help="draw it as PNG, SVG or PDF"
    )
    add_json(parser)


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


def _show(table: Any, content: dict[str, Any], json_path: Path | None) -> None:
    counts = f"Operations: {content['operations']}. Bytes: {content['bytes']}, 4 an element (fp32)."
    show([table], (counts, *content["notes"]), json_path, content)


def _fig8(options: argparse.Namespace) -> int:
    from codesign_ros.cost.catalogue import find_device
    from codesign_ros.paper.fig8 import LINK, ROBOT, SERVER, SIDES, fig8_report, profile_googlenet
    from codesign_ros.paper.fig8_report import fig8_curves_table, fig8_figure, fig8_table
    from codesign_ros.whatif.pictures import write_figure

    devices = paper_devices()
    robot, server = (find_device(devices, name) for name in (ROBOT, SERVER))
    with alive("counting operations") as tell:
        networks = {f"{side}x{side}": profile_googlenet(side, tell) for side in SIDES}
    report = fig8_report(networks, robot, server, LINK)
    if options.plot is not None:
        write_figure(options.plot, fig8_figure(report))
    show((fig8_table(report), fig8_curves_table(report)), report["notes"], options.json, report)
    return 0
