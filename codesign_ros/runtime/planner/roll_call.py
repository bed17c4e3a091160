"""Which nodes give signs of life without being known, and are to announce themselves anew."""

from __future__ import annotations

from collections.abc import Callable

# Names in one call; a fleet that all answers at once would overrun the planner again.
MOST_NAMES = 100
# An announcement may be on the way for so long before the name is called [s].
_WAIT_S = 0.5
# So long an answer may take before the name is called again [s].
_AGAIN_S = 1.0
# A name that gave no sign of life for so long is not called any more [s].
_FORGET_S = 2.0
# Names that are kept at most; somebody may make them up.
_MOST_KEPT = 4096


class RollCall:
    """Names that were heard in heartbeats alone. Times are of any one steady clock [s].

    An announcement may have been lost, or was taken back by another node of the same name; as long
    as a node lives it is asked again.
    """

    def __init__(self) -> None:
        # By name: when it was heard last, and when it may be called next.
        self._heard_s: dict[str, float] = {}
        self._due_s: dict[str, float] = {}

    def hear(self, node: str, now_s: float) -> None:
        """Note a sign of life of a node that is not known."""
        # The one that was heard longest ago is the first of all.
        self._heard_s.pop(node, None)
        self._heard_s[node] = now_s
        self._due_s.setdefault(node, now_s + _WAIT_S)
        if len(self._heard_s) > _MOST_KEPT:
            self.answered(next(iter(self._heard_s)))

    def answered(self, node: str) -> None:
        """Note that a node is known now."""
        self._heard_s.pop(node, None)
        self._due_s.pop(node, None)

    def __len__(self) -> int:
        return len(self._heard_s)

    def take(
        self, now_s: float, is_there: Callable[[str], bool] = lambda node: True
    ) -> tuple[str, ...]:
        """Names to call now, those that wait longest first; each again after a while.

        Args:
            now_s: the time [s].
            is_there: whether a node can be reached; nobody else need be called.
        """
        for node, heard_s in list(self._heard_s.items()):
            if now_s - heard_s > _FORGET_S:
                self.answered(node)
        due = [node for node, due_s in self._due_s.items() if due_s <= now_s and is_there(node)]
        due.sort(key=self._due_s.__getitem__)
        names = tuple(due[:MOST_NAMES])
        self._due_s |= dict.fromkeys(names, now_s + _AGAIN_S)
        return names
