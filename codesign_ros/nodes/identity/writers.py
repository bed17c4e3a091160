"""Who publishes on a topic, as DDS's discovery knows it: a message's own words prove nothing."""

from __future__ import annotations

import time
from collections import Counter

from codesign_ros.nodes.wiring import WiredNode

# The graph is looked at no more often than the one where somebody new speaks, and at least as often
# as the other [s].
_LEAST_PERIOD_S, _USUAL_PERIOD_S = 0.1, 2.0


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
