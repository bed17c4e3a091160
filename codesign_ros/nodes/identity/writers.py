"""Who publishes on a topic, as DDS's discovery knows it: a message's own words prove nothing."""

from __future__ import annotations

import time
from collections import Counter

from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.types.errors import CodesignError

# The graph is looked at no more often than the one where somebody new speaks, and at least as often
# as the other [s].
_LEAST_PERIOD_S, _USUAL_PERIOD_S = 0.1, 2.0
# DDS may bring what a node sends so long before it tells of the node [s].
_EARLY_S = 2.0
# Names that are remembered for that; in a flood of made-up ones all begin anew.
_MOST_NAMES = 1000


class Writers:
    """The nodes that have a publisher on a topic.

    Args:
        node: whoever looks.
        topic: the topic's name.
    """

    def __init__(self, node: WiredNode, topic: str) -> None:
        self._node = node
        self._topic = node.resolve_topic_name(topic)
        self._counts: Counter[str] = Counter()
        self._looked_s = 0.0
        # Since when nobody of that name is known to publish, where something came in it.
        self._unknown_s: dict[str, float] = {}

    def vouch(self, name: str, what: str, least: int = 1) -> bool:
        """Whether to take what came in the name of a node: so many of that name publish there.

        Raises:
            CodesignError: they do not, and not only for a moment, in which DDS knows of nobody yet.
        """
        if self.are(name, least):
            self._unknown_s.pop(name, None)
            return True
        if len(self._unknown_s) >= _MOST_NAMES:
            self._unknown_s.clear()
        since_s = self._unknown_s.setdefault(name, time.monotonic())
        if time.monotonic() - since_s < _EARLY_S:
            return False
        raise CodesignError(f"{what} of {name}: no such node publishes there")

    def are(self, name: str, least: int = 1) -> bool:
        """Whether at least so many nodes of that full name publish there."""
        age_s = time.monotonic() - self._looked_s
        is_new = self._counts[name] < least
        if age_s > (_LEAST_PERIOD_S if is_new else _USUAL_PERIOD_S):
            self._looked_s = time.monotonic()
            infos = self._node.get_publishers_info_by_topic(self._topic)
            self._counts = Counter(
                f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos
            )
        return self._counts[name] >= least
