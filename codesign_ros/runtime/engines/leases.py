"""Things that are dear to make: made once, used by several, closed by the last user."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from codesign_ros.types.errors import CodesignError

Key = TypeVar("Key", bound=Hashable)
Thing = TypeVar("Thing")


class _Kept(Generic[Thing]):
    """A thing that is being made, or is there, and how many use it or wait for it."""

    def __init__(self) -> None:
        self.made: Future[Thing] = Future()
        self.users = 0


class Lease(Generic[Thing]):
    """One user's right to a thing, until it is given back. ``Leases`` makes them.

    Attributes:
        thing: what was leased; not to be used once the lease was given back.
    """

    def __init__(self, thing: Thing, kept: _Kept[Thing], leases: Leases[Any, Thing]) -> None:
        self.thing = thing
        self._kept = kept
        self._leases = leases
        self._returned = False

    def again(self) -> Lease[Thing]:
        """Lease the same thing for one more user.

        Raises:
            CodesignError: this lease was given back already.
        """
        return self._leases._again(self)

    def release(self) -> None:
        """Give the thing back; the last one closes it. A second call does nothing."""
        self._leases._release(self)

    @property
    def users(self) -> int:
        """How many use the thing, or are about to."""
        return self._kept.users


class Leases(Generic[Key, Thing]):
    """Makes things by key, and closes each with its last user. May be used from several threads.

    Nothing is left to the garbage collector, which may come late and on any thread: a GPU's memory
    is freed only where its context is current.

    Args:
        make: makes the thing for a key; may take minutes. Things of different keys may be made at
            the same time.
        close: frees it.
    """

    def __init__(self, make: Callable[[Key], Thing], close: Callable[[Thing], None]) -> None:
        self._make = make
        self._close = close
        self._kept: dict[Key, _Kept[Thing]] = {}
        self._lock = threading.Lock()
        self._open = 0  # things that are being made, are there, or are being closed
        self._at_end: Callable[[], None] | None = None

    def lease(self, key: Key) -> Lease[Thing]:
        """Lease the thing for ``key``; make it if it is not there, wait if somebody makes it.

        Raises:
            Exception: whatever ``make`` raised, for all who waited; the next one tries again.
            CodesignError: nothing is made any more.
        """
        with self._lock:
            if self._at_end is not None:
                raise CodesignError("it is closed already")
            kept = self._kept.get(key)
            is_first = kept is None
            if kept is None:
                kept = self._kept[key] = _Kept()
                self._open += 1
            kept.users += 1
        if is_first:
            try:
                kept.made.set_result(self._make(key))
            except BaseException as error:
                with self._lock:
                    del self._kept[key]
                kept.made.set_exception(error)
                self._gone()
                raise
        return Lease(kept.made.result(), kept, self)

    def close(self, at_end: Callable[[], None]) -> None:
        """Make nothing any more; call ``at_end`` once nothing is left, on whatever thread.

        Nobody waits here: what is leased may be used until it is given back.
        """
        with self._lock:
            self._at_end = at_end
            is_end = not self._open
        if is_end:
            at_end()

    def __len__(self) -> int:
        """Things that are there, or being made."""
        return len(self._kept)

    def _again(self, lease: Lease[Thing]) -> Lease[Thing]:
        with self._lock:
            if lease._returned:
                raise CodesignError("it is closed already")
            lease._kept.users += 1
        return Lease(lease.thing, lease._kept, self)

    def _release(self, lease: Lease[Thing]) -> None:
        with self._lock:
            if lease._returned:
                return
            lease._returned = True
            lease._kept.users -= 1
            if lease._kept.users:
                return
            # From now on, whoever wants the thing makes another.
            self._kept = {key: kept for key, kept in self._kept.items() if kept is not lease._kept}
        try:
            self._close(lease.thing)
        finally:
            self._gone()

    def _gone(self) -> None:
        with self._lock:
            self._open -= 1
            at_end = None if self._open else self._at_end
        if at_end is not None:
            at_end()
