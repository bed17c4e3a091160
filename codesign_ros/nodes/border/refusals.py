"""Messages that a node refused: all are counted, and few are worth a line in its log."""

from __future__ import annotations

from collections import Counter
from typing import Any

# Senders of one topic whose messages are worth a line; whoever sends under more names is hostile.
_MOST_SENDERS = 16


class Refusals:
    """Counts messages by topic, and tells which of them to log: the first of each sender.

    Attributes:
        counts: messages by topic.
        last: why, by topic, one line.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.last: dict[str, str] = {}
        self._senders: dict[str, set[str]] = {}

    def note(self, topic: str, msg: Any, why: str) -> bool:
        """Count a message; whether it should be logged.

        Args:
            topic: where it came.
            msg: the message; None where it could not be read, and its sender is not known.
            why: one line.
        """
        self.counts[topic] += 1
        self.last[topic] = why
        senders = self._senders.setdefault(topic, set())
        sender = _sender(msg)
        if sender in senders or len(senders) >= _MOST_SENDERS:
            return False
        senders.add(sender)
        return True

    def values(self) -> dict[str, str]:
        """For /diagnostics."""
        return {
            f"refused messages {topic}": f"{count}, the last one: {self.last[topic]}"
            for topic, count in list(self.counts.items())
        }


def _sender(msg: Any) -> str:
    """Who a message says it is of."""
    of = getattr(msg, "heartbeat", msg)
    return str(getattr(of, "node", "") or getattr(of, "served_by", ""))
