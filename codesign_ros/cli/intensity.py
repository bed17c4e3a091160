"""``codesign intensity``: operations for each byte, of the paper's networks and devices."""

from __future__ import annotations

import argparse
from typing import Any

from codesign_ros.cli.common import add_json, command
from codesign_ros.cli.reproduce import add_accounting, counted_zoo, paper_devices
from codesign_ros.console import show


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands,
        "intensity",
        _run,
        "FLOPs, bytes and FLOPs/byte of the paper's networks, original and folded, under several "
        "accountings of a byte",
    )
    add_accounting(parser)
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.paper.tables import table2, table3
    from codesign_ros.paper.tables_report import accountings_table, table2_table, table3_table

    devices = paper_devices()
    zoo = counted_zoo()
    networks, verdicts = table2(zoo, options.accounting), table3(zoo, devices)
    tables = (table2_table(networks), accountings_table(networks), table3_table(verdicts))
    notes = (*networks["notes"], *verdicts["notes"])
    show(tables, notes, options.json, {"table2": networks, "table3": verdicts})
    return 0
