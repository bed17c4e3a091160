"""Which heads and tails can be reached: those whose service to take plans is in the ROS graph."""

from __future__ import annotations

import time

from codesign_ros.nodes.wiring import WiredNode

_SERVICE = "/prepare_plan"
# The graph is looked at no more often than [s], and for no larger share of the time.
_LEAST_PERIOD_S, _MOST_SHARE = 0.1, 0.1
# What was seen holds for so long after it could be looked again [s].
_HOLDS_S = 1.0


class Reachable:
    """Names of nodes that take plans, as DDS's discovery knows them.

    Args:
        node: whoever looks.
    """

    def __init__(self, node: WiredNode) -> None:
        self._node = node
        self._names: frozenset[str] = frozenset()
        self._due_s = 0.0

    def look(self) -> None:
        """Look again, unless that was done a moment ago."""
        begin_s = time.monotonic()
        if begin_s < self._due_s:
            return
        services = self._node.get_service_names_and_types()
        self._names = frozenset(
            name.removesuffix(_SERVICE) for name, _ in services if name.endswith(_SERVICE)
        )
        end_s = time.monotonic()
        self._due_s = end_s + max(_LEAST_PERIOD_S, (end_s - begin_s) / _MOST_SHARE)

    def __contains__(self, name: str) -> bool:
        return name in self._names and time.monotonic() < self._due_s + _HOLDS_S
