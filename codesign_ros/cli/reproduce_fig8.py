"""``codesign reproduce fig8``: throughput at each split point of Rep-GoogLeNet."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from codesign_ros.cli.common import add_json, command
from codesign_ros.console import result_console, write_json


def add(targets: Any) -> None:
    """Add the target to ``codesign reproduce``."""
    parser = command(targets, "fig8", fig8, "throughput at each split point of Rep-GoogLeNet")
    parser.add_argument("--plot", metavar="FILE", help="draw it as PNG, SVG or PDF")
    add_json(parser)


def fig8(options: argparse.Namespace) -> int:
    """Run it."""
    from codesign_ros.cost.catalogue import find_device, load_devices
    from codesign_ros.paper.fig8 import (
        LINK,
        ROBOT,
        SERVER,
        SIDES,
        fig8_report,
        profile_googlenet,
    )
    from codesign_ros.paper.fig8_report import (
        fig8_curves_table,
        fig8_figure,
        fig8_table,
    )
    from codesign_ros.resources import resource_path
    from codesign_ros.whatif.pictures import check_suffix, write_figure

    path = Path(options.plot) if options.plot else None
    if path is not None:
        check_suffix(path)  # before the work, not after it
    devices = load_devices(resource_path("config") / "devices.yaml")
    robot, server = (find_device(devices, name) for name in (ROBOT, SERVER))
    with Console(stderr=True).status("counting operations") as status:
        networks = {f"{side}x{side}": profile_googlenet(side, status.update) for side in SIDES}
    report = fig8_report(networks, robot, server, LINK)
    console = result_console()
    console.print(fig8_table(report))
    console.print(fig8_curves_table(report))
    for note in report["notes"]:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    if path is not None:
        write_figure(path, fig8_figure(report))
    write_json(options.json, report)
    return 0
