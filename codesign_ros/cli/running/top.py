"""``codesign top``: what robots, servers and plans do, as it happens."""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from codesign_ros.cli.common import command
from codesign_ros.cli.options.numbers import Real
from codesign_ros.console import result_console

if TYPE_CHECKING:
    from codesign_ros.nodes.watching.listener import Listener
    from codesign_ros.overview.snapshot import Snapshot

# Columns where the output is no terminal.
_COLUMNS = 140


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "top", _run, "a live view of robots, servers, plans, rates, drops and waits"
    )
    parser.add_argument(
        "--period", type=Real(0.1), default=1.0, help="from one view to the next [s] (default: 1)"
    )
    parser.add_argument("--once", action="store_true", help="look once, and end")
    parser.add_argument(
        "--json", action="store_true", help="JSON on standard output, a view a line"
    )


def _run(options: argparse.Namespace) -> int:
    # As Ctrl-C: the terminal is put in order again.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return _look(options) if options.once else _watch(options)


def _look(options: argparse.Namespace) -> int:
    from codesign_ros.overview.watch import look_once

    snapshot = look_once(_listener, _domain())
    _show(_console(), snapshot, options.json)
    return 0 if snapshot.nodes else 1


def _watch(options: argparse.Namespace) -> int:
    from codesign_ros.overview.view import view
    from codesign_ros.overview.watch import watch

    console = _console()
    snapshots: Iterator[Snapshot] = watch(_listener, _domain(), options.period)
    try:
        with closing(snapshots):  # type: ignore[type-var]
            if options.json or not console.is_terminal:
                for snapshot in snapshots:
                    _show(console, snapshot, options.json)
            with Live(console=console, screen=True, auto_refresh=False) as live:
                for snapshot in snapshots:
                    live.update(view(snapshot), refresh=True)
    except KeyboardInterrupt:  # the way to end it
        return 0
    return 0


def _show(console: Console, snapshot: Snapshot, as_json: bool) -> None:
    from codesign_ros.overview.view import view

    if as_json:
        print(json.dumps(snapshot.content()), flush=True)
    else:
        console.print(view(snapshot))


def _console() -> Console:
    return result_console(_COLUMNS)


def _domain() -> str:
    return os.environ.get("ROS_DOMAIN_ID") or "0"


def _listener() -> Listener:
    from codesign_ros.nodes.watching.listener import Listener

    return Listener("codesign_top")
