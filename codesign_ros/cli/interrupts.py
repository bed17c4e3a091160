"""Ctrl-C that ends a command, whoever catches it on the way."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

# Long enough to tidy up in [s].
_AGAIN_S = 1.0


@contextlib.contextmanager
def lasting_interrupts() -> Iterator[None]:
    """Let an interrupt come again until what runs inside has ended.

    While torch traces a network, part of the time goes into callbacks of weak references, whose
    exceptions Python only prints: an interrupt is lost there, and the command goes on. Not for code
    that handles interrupts itself.

    Raises:
        KeyboardInterrupt: there was an interrupt, even if what runs inside came to its end.
    """
    main = threading.main_thread()
    if threading.current_thread() is not main:  # Python interrupts no other
        yield
        return
    ended, came, sending = threading.Event(), threading.Event(), threading.Lock()

    def again() -> None:
        if ended.wait(_AGAIN_S):
            return
        with sending:
            if not ended.is_set() and main.ident is not None:
                signal.pthread_kill(main.ident, signal.SIGINT)

    def interrupted(_: int, __: FrameType | None) -> None:
        came.set()
        if ended.is_set():
            return
        threading.Thread(target=again, daemon=True).start()
        raise KeyboardInterrupt

    def unraisable(lost: Any) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):  # it comes again
            told(lost)

    before, told = signal.signal(signal.SIGINT, interrupted), sys.unraisablehook
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        ended.set()
        with sending:  # what is being sent is here before the handler is another one
            pass
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = told
    if came.is_set():
        raise KeyboardInterrupt
