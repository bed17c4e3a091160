"""Listening and showing, until somebody ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Protocol

from codesign_ros.overview.snapshot import Snapshot
from codesign_ros.overview.system import System
from codesign_ros.overview.waits import role_of
from codesign_ros.runtime.news import Graph, News

# How often news are taken in, and how often it is looked who is there [s].
_TAKE_S, _LOOK_S = 0.1, 1.0
# When it is first said what was heard [s].
_FIRST_S = 1.0
# One look ends if nobody was heard for so long: diagnostics come every second [s].
_NOBODY_S = 1.5
# One look waits so long for the second message of each node, which rates need [s].
_RATES_S = 4.0
ROLES = ("camera", "head", "tail", "planner")


class Ear(Protocol):
    """What is listened with: ``nodes.watching.listener.Listener``."""

    def news(self) -> Iterable[News]:
        """What came since the last call."""

    def follow_results(self) -> None:
        """Listen to the results of each robot that is known by now."""

    def graph(self) -> Graph:
        """Who is there by now."""

    def close(self) -> None:
        """Leave."""


def watch(open_ear: Callable[[], Ear], domain: str, period_s: float) -> Iterator[Snapshot]:
    """Give a snapshot every ``period_s`` seconds; the first one at once, before ROS is started.

    Args:
        open_ear: begins to listen; closed when the iterator is.
        domain: the DDS domain, for words.
        period_s: from one snapshot to the next [s].
    """
    yield Snapshot(waits_for="ROS 2 to start")
    with closing(open_ear()) as ear:
        system, start_s = System(), time.monotonic()
        due_s = start_s + min(period_s, _FIRST_S)
        while True:
            _take_in(system, ear, due_s)
            now_s = time.monotonic()
            yield system.snapshot(now_s, start_s, domain)
            due_s = max(due_s + period_s, now_s)


def look_once(open_ear: Callable[[], Ear], domain: str) -> Snapshot:
    """Listen until rates are known, or until it is clear that nobody speaks; give a snapshot."""
    with closing(open_ear()) as ear:
        system, start_s = System(), time.monotonic()
        _take_in(system, ear, start_s + _NOBODY_S)
        if system.hears_somebody:
            _take_in(system, ear, start_s + _RATES_S, lambda: system.knows_rates)
        return system.snapshot(time.monotonic(), start_s, domain)


def _take_in(
    system: System, ear: Ear, until_s: float, enough: Callable[[], bool] = lambda: False
) -> None:
    """Hear until a time, or until it is enough."""
    looked_s = -_LOOK_S
    while True:
        now_s = time.monotonic()
        if now_s - looked_s >= _LOOK_S:
            looked_s = now_s
            ear.follow_results()
            system.find(_ours(ear.graph()))
        for news in ear.news():
            system.hear(news)
        if now_s >= until_s or enough():
            return
        time.sleep(min(_TAKE_S, until_s - now_s))


def _ours(graph: Graph) -> list[str]:
    """The nodes of a role that publish what ours do."""
    ours = {
        each.node
        for each in graph.endpoints
        if each.publishes
        and (each.message.startswith("codesign_ros/") or each.topic == "/diagnostics")
    }
    return sorted(node for node in ours if role_of(node) in ROLES)
