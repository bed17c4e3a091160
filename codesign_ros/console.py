"""What the command line shows: consoles, tables, bars, numbers with their units, JSON files."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

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

from codesign_ros.types.errors import CodesignError

_FILE_COLUMNS = 110
# Where standard error is no terminal, a line tells of the work after this time, and again [s].
_FIRST_LINE_S, _NEXT_LINE_S = 1.0, 10.0


class _Ticker:
    """Prints a text on standard error once something takes long, and again where it changed.

    Args:
        text: returns the text.
    """

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        wait_s, before = _FIRST_LINE_S, ""
        while not self._done.wait(wait_s):
            text, wait_s = self._text(), _NEXT_LINE_S
            if text != before:
                # Nobody may read it any more; the work goes on.
                with contextlib.suppress(OSError, ValueError):
                    print(text, file=sys.stderr, flush=True)
            before = text

    def stop(self) -> None:
        """Print no more."""
        self._done.set()
        self._thread.join()


@contextlib.contextmanager
def alive(text: str) -> Iterator[Callable[[str], None]]:
    """Say on standard error what is being done; what is yielded changes the text.

    On a terminal the line moves and goes away; elsewhere it comes once the work takes a second.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(text) as status:
            yield status.update
        return
    now = text
    ticker = _Ticker(lambda: now)

    def say(text: str) -> None:
        nonlocal now
        now = text

    try:
        yield say
    finally:
        ticker.stop()


class _Bars(Progress):
    """Bars that tell of themselves in lines where there is no terminal to draw on."""

    _ticker: _Ticker | None = None

    def start(self) -> None:
        super().start()
        if not self.console.is_terminal and self._ticker is None:
            self._ticker = _Ticker(self._said)

    def stop(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None
        super().stop()

    def _said(self) -> str:
        tasks = [task for task in self.tasks if task.visible]
        counts = (
            f"{task.description} {task.completed:.0f}"
            + (f" of {task.total:.0f}" if task.total is not None else "")
            for task in tasks
            if not task.finished
        )
        return ", ".join(counts) or "working"


def progress_bar(console: Console | None = None) -> Progress:
    """Make bars with counts, the time that went and the time that is left.

    Args:
        console: where they are shown; None = standard error.
    """
    return _Bars(
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


class ResultConsole(Console):
    """A console that raises BrokenPipeError when nobody reads any more, as behind ``| head``.

    rich's own ends the process with status 1.
    """

    def on_broken_pipe(self) -> NoReturn:
        """Leave it to ``cli.main``."""
        raise BrokenPipeError


def result_console(columns: int = _FILE_COLUMNS) -> Console:
    """The console for results: as wide as the terminal, and wide enough in a file or a pipe."""
    return ResultConsole() if sys.stdout.isatty() else ResultConsole(width=columns)


def show(
    tables: Iterable[Table], notes: Iterable[str], json_path: Path | None, content: dict[str, Any]
) -> None:
    """Write ``content``, see ``write_json``; print tables, then each note on a line of its own.

    The file comes first: whoever reads the tables may have gone.

    Raises:
        CodesignError: the file cannot be written.
    """
    write_json(json_path, content)
    console = result_console()
    for table in tables:
        console.print(table)
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def print_json(content: Any) -> None:
    """Print a result as JSON, for a script."""
    print(json.dumps(finite(content), indent=1), flush=True)


def finite(content: Any) -> Any:
    """The same with null for what is no number: JSON has no infinity and no NaN."""
    if isinstance(content, Mapping):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Write a result to the file of ``--json``, if one was named.

    Raises:
        CodesignError: the file cannot be written.
    """
    if path is None:
        return
    try:
        path.write_text(json.dumps(finite(content), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise CodesignError(f"cannot write {path}: {error.strerror}") from None


def ms(duration_s: float) -> str:
    """Write a time in ms, with three digits that count where it is short."""
    return f"{short(duration_s * 1e3)} ms"


def short(value: float) -> str:
    """Write a number with three digits that count, or as a whole one."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


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
