"""Threads for what must not keep the executor's thread: one thing after another, or periodically.

Callbacks of a node run on one thread (see ``loop``), frames among them. Whatever may take longer
than about a millisecond is handed to a thread here.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")


class Worker:
    """Does one thing after another on a thread of its own, which starts with the first of them.

    The thread is a daemon: an engine that takes minutes to build keeps no process from ending.

    Args:
        name: the thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def submit(self, work: Callable[[], _T]) -> Future[_T]:
        """Have something done after all that was submitted before."""
        done: Future[_T] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        self._queue.put(run)
        return done

    def close(self, timeout_s: float) -> bool:
        """End after what was submitted; returns whether that was done in time."""
        with self._starting:
            thread = self._thread
        if thread is None:
            return True
        self._queue.put(None)
        thread.join(timeout_s)
        return not thread.is_alive()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()


@dataclass
class _Chore:
    period_s: float
    work: Callable[[], None]
    due_s: float


class Chores:
    """What a node does periodically, on one thread, by the steady clock.

    No timers of rclpy: those are entities more for its executor to watch, they wait while it is
    busy, and with ``use_sim_time`` a paused simulation would silence a node.

    Args:
        name: the thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._chores: list[_Chore] = []
        self._thread: threading.Thread | None = None
        self._stopping = False

    def add(self, period_s: float, work: Callable[[], None]) -> None:
        """Have something done every so often, which must not raise; first after one period."""
        with self._changed:
            self._chores.append(_Chore(period_s, work, time.monotonic() + period_s))
            self._changed.notify_all()

    def start(self) -> None:
        """Begin; nothing is done before, so that a node can be made in peace."""
        with self._changed:
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End; one that is under way may go on for so long."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _run(self) -> None:
        while (chore := self._next()) is not None:
            chore.work()
            # What was missed is not made up for.
            chore.due_s = max(chore.due_s + chore.period_s, time.monotonic())

    def _next(self) -> _Chore | None:
        """Wait for the next one that is due; None at the end."""
        with self._changed:
            while not self._stopping:
                chore = min(self._chores, key=lambda each: each.due_s, default=None)
                wait_s = None if chore is None else chore.due_s - time.monotonic()
                if wait_s is not None and wait_s <= 0:
                    return chore
                self._changed.wait(wait_s)
            return None
