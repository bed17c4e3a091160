"""Engines built in the background, one after another, while others run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

from codesign_ros.engines.base import EngineKey
from codesign_ros.types.errors import CodesignError, unexpected

_log = logging.getLogger(__name__)


class _Stopped(Exception):  # noqa: N818 - no error: it ends a build from within
    """The build under way is not wanted any more."""


class BackgroundBuilds:
    """Has engines built on a thread of its own; the building itself is a process of its own.

    Args:
        build: makes one on disk, see ``EngineFactory.prepare_aside``.
        done: told of each engine once it is built, or refused with a reason (one line).
    """

    def __init__(
        self,
        build: Callable[[EngineKey, Callable[[float | None, str], None]], None],
        done: Callable[[EngineKey, str | None], None],
    ) -> None:
        self._build = build
        self._done = done
        self._queue: SimpleQueue[EngineKey | None] = SimpleQueue()
        self._wanted: set[EngineKey] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._status = ""
        self._thread = threading.Thread(target=self._build_all, name="builds", daemon=True)
        self._thread.start()

    def order(self, key: EngineKey) -> None:
        """Have an engine built, unless it was ordered before and is not done yet."""
        with self._lock:
            if key in self._wanted:
                return
            self._wanted.add(key)
        self._queue.put(key)

    @property
    def status(self) -> str:
        """What is being built and how far that is, one line; empty = nothing."""
        return self._status

    def close(self) -> None:
        """Give up the build under way and those that wait."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()

    def _build_all(self) -> None:
        while (key := self._queue.get()) is not None and not self._stopping.is_set():
            why: str | None = None
            try:
                self._build(key, lambda *told, key=key: self._follow(key, *told))
            except _Stopped:
                return
            except CodesignError as error:
                why = str(error)
            except Exception as error:
                # It must show, and cost this engine, not all that are ordered after it.
                _log.exception("the build of %s failed", key)
                why = unexpected(error)
            self._status = ""
            with self._lock:
                self._wanted.discard(key)
            try:
                self._done(key, why)
            except Exception:
                # As above: the next engine is built all the same.
                _log.exception("the news of %s failed", key)

    def _follow(self, key: EngineKey, fraction: float | None, text: str) -> None:
        if self._stopping.is_set():
            raise _Stopped
        share = "" if fraction is None else f" {100 * fraction:.0f} %"
        half = f"{key.part} cut {key.cut} {key.structure.value} {key.precision}"
        self._status = f"{half}:{share} {text}"
