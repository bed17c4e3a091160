"""What the command line shows: consoles, tables, bars, numbers with their units, JSON files."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from codesign_ros.types import CodesignError

_FILE_COLUMNS = 110


def progress_bar(console: Console | None = None) -> Progress:
    """Make bars with counts, the time that went and the time that is left.

    Args:
        console: where they are shown; None = standard error.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
    )


def slim_table(title: str, *columns: str | Column, **options: Any) -> Table:
    """An empty table that stays readable on 80 columns; see ``right`` for columns of numbers."""
    table = Table(*columns, title=title, box=box.SIMPLE, padding=(0, 1, 0, 0), **options)
    table.title_justify = table.caption_justify = "left"
    return table


def right(*names: str, **options: Any) -> list[str | Column]:
    """Columns whose cells stand to the right, as numbers do."""
    return [Column(name, justify="right", **options) for name in names]


def result_console() -> Console:
    """The console for results: as wide as the terminal, and wide enough in a file or a pipe."""
    return Console() if sys.stdout.isatty() else Console(width=_FILE_COLUMNS)


def show(
    tables: Iterable[Table], notes: Iterable[str], json_path: str | None, content: dict[str, Any]
) -> None:
    """Print tables, then each note on a line of its own, and write ``content``; see ``write_json``.

    Raises:
        CodesignError: the file cannot be written.
    """
    console = result_console()
    for table in tables:
        console.print(table)
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    write_json(json_path, content)


def print_json(content: Any) -> None:
    """Print a result as JSON, for a script."""
    print(json.dumps(content, indent=1), flush=True)


def write_json(path: str | None, content: dict[str, Any]) -> None:
    """Write a result to the file of ``--json``, if one was named.

    Raises:
        CodesignError: the file cannot be written.
    """
    if path is None:
        return
    try:
        Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise CodesignError(f"cannot write {path}: {error.strerror}") from None


def ms(duration_s: float) -> str:
    """Write a time in ms, with three digits that count where it is short."""
    value = duration_s * 1e3
    return f"{value:.0f} ms" if abs(value) >= 100 else f"{value:.3g} ms"


def minutes(duration_s: float) -> str:
    """Write a time that is estimated: 12 minutes."""
    count = math.ceil(duration_s / 60)
    return "a minute" if count <= 1 else f"{count} minutes"


def points(loss: float) -> str:
    """Write an accuracy loss, 0 to 1, in points of a hundred."""
    value = f"{100 * loss:.3g}"
    return "1 point" if value == "1" else f"{value} points"


def data_size(size_bytes: float) -> str:
    """Write a number of bytes: 61.7 kB."""
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.3g} {unit}"
    return f"{size_bytes:.0f} bytes"


def link_rate(bandwidth_bps: float) -> str:
    """Write a link's rate: 10 Mbit/s."""
    for scale, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bandwidth_bps >= scale:
            return f"{bandwidth_bps / scale:.4g} {unit}"
    return f"{bandwidth_bps:.4g} bit/s"
