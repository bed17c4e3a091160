"""Signals that end a training, between two of its steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from rich.console import Console


@contextlib.contextmanager
def interruption(console: Console) -> Iterator[list[int]]:
    """Note a Ctrl-C or SIGTERM, which then ends no step half-way; a second one ends the program.

    Args:
        console: is told of it.

    Yields:
        The number of the signal that came, if one did.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def say() -> None:
        with contextlib.suppress(OSError):  # nobody reads it any more
            console.print(
                "ending after this step or measurement; Ctrl-C again gives up what is newer than "
                "the last checkpoint"
            )

    def note(number: int, frame: Any) -> None:
        for each, handler in before.items():
            signal.signal(each, handler)
        came.append(number)
        # Not from here: what was interrupted may be printing, which is not to be begun twice.
        threading.Thread(target=say).start()

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
