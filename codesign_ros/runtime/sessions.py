"""Which start of a node says something, and which of several serves in a place for one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

# Bits of a session number behind the time of the start, by chance: enough that two nodes that
# start in one millisecond differ.
_CHANCE_BITS = 22
# Who was not heard for so long is gone; several presences, which come twice a second [s].
GONE_S = 2.0
# Others that are remembered at most, and those of one name; somebody may make them up.
_MOST_OTHERS, _MOST_OF_A_NAME = 32, 4


def new_session() -> int:
    """Number of a start, below 2**63: its time by this machine's clock [ms], then chance.

    No two starts have the same one, and a later start has a higher one as long as clocks agree.
    """
    started_ms = time.time_ns() // 1_000_000
    return started_ms << _CHANCE_BITS | secrets.randbits(_CHANCE_BITS)


class Place(IntEnum):
    """``role`` of msg/Presence.msg: the place for one that a node takes in its namespace."""

    HEAD = 1
    TAIL = 2
    PLANNER = 3


@dataclass(frozen=True)
class Presence:
    """What a node says while it is active; msg/Presence.msg."""

    node: str
    role: Place
    session: int
    process: str = ""

    def __str__(self) -> str:
        where = f" ({self.process})" if self.process else ""
        return f"{self.node}{where}"


class Roster:
    """Who was heard lately in one place. Times are of any one steady clock [s]. Not thread safe."""

    def __init__(self) -> None:
        self._heard: dict[int, tuple[Presence, float]] = {}

    def hear(self, presence: Presence, now_s: float) -> bool:
        """Take a sign of life; returns whether that start was not here before."""
        is_new = presence.session not in {each.session for each in self.present(now_s)}
        self._heard.pop(presence.session, None)
        self._heard[presence.session] = presence, now_s
        same = [number for number, (each, _) in self._heard.items() if each.node == presence.node]
        # One that gives itself new numbers all the time takes no place but its own.
        for number in same[:-_MOST_OF_A_NAME]:
            del self._heard[number]
        while len(self._heard) > _MOST_OTHERS:
            del self._heard[next(iter(self._heard))]
        return is_new

    def excuse(self, missed_s: float, now_s: float) -> None:
        """Note that nobody could be heard for so long until now [s], whatever they said."""
        for number, (each, heard_s) in self._heard.items():
            self._heard[number] = each, min(now_s, heard_s + missed_s)

    def spare(self, is_there: Callable[[str], bool], now_s: float) -> None:
        """Keep those who are present, where a node of that name is there; silence is no sign."""
        for number, (each, heard_s) in self._heard.items():
            if now_s - heard_s <= GONE_S and is_there(each.node):
                self._heard[number] = each, now_s

    def present(self, now_s: float) -> list[Presence]:
        """Those that are here, the one that started last first."""
        here = [each for each, heard_s in self._heard.values() if now_s - heard_s <= GONE_S]
        return sorted(here, key=lambda each: -each.session)


class Contest:
    """One node's side where others may be in its place: whoever started last serves.

    So a rolling restart, the new one first, is served at once by the new one; and where the one
    that serves falls silent, the next takes over.

    Args:
        own: this node.
        where: the namespace of which there is one such place; empty = there is one in all.
    """

    def __init__(self, own: Presence, where: str) -> None:
        self._own = own
        self._where = f" in {where}" if where else ""
        self._others = Roster()

    def hear(self, other: Presence, now_s: float) -> None:
        """Take a sign of life of whoever is in the place; one's own counts nothing."""
        if other.role is self._own.role and other.session != self._own.session:
            self._others.hear(other, now_s)

    @property
    def others(self) -> Roster:
        """Those who were heard in the place."""
        return self._others

    def serves(self, now_s: float) -> bool:
        """Whether this node is the one that serves."""
        return all(other.session < self._own.session for other in self._others.present(now_s))

    def text(self, now_s: float) -> str:
        """Say who else is there and who serves, one line; empty where nobody is."""
        others = self._others.present(now_s)
        if not others:
            return ""
        role = self._own.role.name.lower()
        return contested(role, self._where, [self._own, *others], self._own)


def contested(role: str, where: str, all_here: list[Presence], own: Presence | None = None) -> str:
    """One line on several nodes in a place for one.

    Args:
        role: what they are, e.g. "head".
        where: e.g. " in /robot".
        all_here: at least two.
        own: who says it, if it is one of them.
    """
    first, *others = sorted(all_here, key=lambda each: -each.session)
    names = ", ".join(_named(other, own) for other in others)
    verb = "stands back" if len(others) == 1 else "stand back"
    return (
        f"{len(all_here)} {role}s{where}: {_named(first, own)} started last and serves, "
        f"{names} {verb}; stop all but one"
    )


def _named(presence: Presence, own: Presence | None) -> str:
    return f"this one ({presence.process})" if presence is own else str(presence)
