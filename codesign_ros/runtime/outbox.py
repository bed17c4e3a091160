"""Answered frames on their way out, in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from codesign_ros.runtime.ledger import Frame


class Outbox:
    """Hands answered frames on one by one, in the order in which they entered.

    They enter under the lock of whoever keeps the book of frames, and leave under a lock of their
    own, so that a slow receiver does not hold up new frames.

    Args:
        hand_on: takes one answered frame; it must not raise.
    """

    def __init__(self, hand_on: Callable[[Frame], None]) -> None:
        self._hand_on = hand_on
        self._waiting: deque[Frame] = deque()
        # Reentrant: what a receiver does with a frame may answer another.
        self._release = threading.RLock()
        self._handed_on = 0

    @property
    def handed_on(self) -> int:
        """How many frames have left."""
        return self._handed_on

    def put(self, frames: Iterable[Frame]) -> None:
        """Enter answered frames; ``flush`` must follow once the caller's lock is free."""
        self._waiting.extend(frames)

    def flush(self) -> None:
        """Hand on all that have entered."""
        with self._release:
            while self._waiting:
                self._hand_on(self._waiting.popleft())
                self._handed_on += 1
