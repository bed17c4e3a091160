"""What a node counts, as its last few messages on /diagnostics had it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

# Messages, one a second, over which rates are taken.
_MESSAGES = 6


class CountHistory:
    """The counts of one node with the times at which it told them, on its own clock [s]."""

    def __init__(self) -> None:
        self._told: deque[tuple[float, Mapping[str, int]]] = deque(maxlen=_MESSAGES)
        self._session = ""

    def add(self, told_s: float, values: Mapping[str, str]) -> None:
        """Take in the values of a message; those that are whole numbers are counts."""
        counts = {key: int(text) for key, text in values.items() if text.isdecimal()}
        if self._told:
            last_s, last = self._told[-1]
            frames = ("frames", "embeddings", "solved")
            restarted = any(counts.get(name, 0) < last.get(name, 0) for name in frames)
            # Of two nodes of one name the one's counts say nothing of the other's.
            restarted |= values.get("session", "") != self._session
            if restarted or told_s < last_s:
                self._told.clear()
        self._session = values.get("session", "")
        self._told.append((told_s, counts))

    @property
    def spans(self) -> bool:
        """Whether there are two moments to compare."""
        return len(self._told) > 1 and self._told[-1][0] > self._told[0][0]

    def last(self, name: str) -> int | None:
        """The newest value of a count; None where it has none."""
        return self._told[-1][1].get(name) if self._told else None

    def with_prefix(self, prefix: str) -> dict[str, int]:
        """The newest values of all counts that begin so, without what they begin with."""
        counts = self._told[-1][1] if self._told else {}
        return {
            name[len(prefix) :]: count for name, count in counts.items() if name.startswith(prefix)
        }

    def rate(self, *names: str) -> float | None:
        """How fast the sum of counts rises [1/s]; None where that cannot be said yet."""
        if not self.spans:
            return None
        (first_s, first), (last_s, last) = self._told[0], self._told[-1]
        risen = sum(last.get(name, 0) - first.get(name, 0) for name in names)
        return risen / (last_s - first_s)
