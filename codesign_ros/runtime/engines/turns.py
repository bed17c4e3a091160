"""Whose frames run next where several robots' tails share a device: fair by time, not by number.

Start-time fair queueing (Goyal, Vin and Cheng 1996; with several servers Jin, Chase and Kaur 2004):
each run is tagged with when it would start if all robots' runs went at one and the same speed, and
the least tag is next. A robot that floods has run ahead of the others and waits until they have had
as much; one that was idle has saved nothing up.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator


class _Waiting:
    """Somebody who waits for a turn; ``start_s`` is its tag."""

    def __init__(self, start_s: float) -> None:
        self.start_s = start_s
        self.granted = threading.Event()


class FairTurns:
    """Hands out turns on a device, to whoever has had the least of its time among those who wait.

    A turn that was begun is not interrupted, so that nobody waits for more than what runs when it
    comes, one turn of each other who waits as well, and what it had more than these before.

    Args:
        at_once: turns that may be under way at the same time.
        clock_s: any steady clock [s].
    """

    def __init__(self, at_once: int, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._free = at_once
        # On the scale of tags: where the last turn began, and up to where each user has had its
        # time; those who are behind that are not kept.
        self._now_s = 0.0
        self._had_s: dict[str, float] = {}
        self._waiting: list[_Waiting] = []
        # Of those who have just had a turn and wait for the next one.
        self._ahead: dict[str, _Waiting] = {}

    @contextlib.contextmanager
    def turn(self, user: str, wants_more: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Wait for a turn, and have it while the block runs; one at a time for each user.

        Args:
            user: who.
            wants_more: asked at the end whether the same user comes for another turn at once. It
                then waits for that one already: else whoever else waits would be next, however
                much of the time they have had.
        """
        with self._lock:
            mine = self._ahead.pop(user, None) or self._enqueue(user)
            self._grant()
        mine.granted.wait()
        began_s = self._clock_s()
        try:
            yield
        finally:
            with self._lock:
                self._had_s[user] = mine.start_s + self._clock_s() - began_s
                self._free += 1
                if wants_more():
                    self._ahead[user] = self._enqueue(user)
                self._grant()

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        with self._lock:
            return len(self._waiting)

    def _enqueue(self, user: str) -> _Waiting:
        waiting = _Waiting(max(self._now_s, self._had_s.get(user, 0.0)))
        self._waiting.append(waiting)
        return waiting

    def _grant(self) -> None:
        """Begin the turns that there is room for; the lock is held."""
        while self._free and self._waiting:
            # Of equal ones the first that came.
            first = min(self._waiting, key=lambda each: each.start_s)
            self._waiting.remove(first)
            self._free -= 1
            self._now_s = max(self._now_s, first.start_s)
            self._had_s = {user: s for user, s in self._had_s.items() if s > self._now_s}
            first.granted.set()
