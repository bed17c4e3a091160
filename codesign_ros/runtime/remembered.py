"""What a tail remembers of the frames of each head that sends it some."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

# Two are there for a while where a head is started anew; more would let whoever invents sessions
# fill the memory.
_MOST_SESSIONS = 2

Reader = TypeVar("Reader")


class Remembered(Generic[Reader]):
    """Readers by the sessions of heads; of those heard least lately nothing is kept.

    Args:
        make: makes the reader of a head that was not heard yet.
    """

    def __init__(self, make: Callable[[], Reader]) -> None:
        self._make = make
        self._readers: OrderedDict[int, Reader] = OrderedDict()

    def of(self, session: int) -> Reader:
        """The reader of a head that is heard now."""
        reader = self._readers.pop(session, None) or self._make()
        self._readers[session] = reader
        while len(self._readers) > _MOST_SESSIONS:
            self._readers.popitem(last=False)
        return reader
