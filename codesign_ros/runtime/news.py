"""What somebody who only listens hears of a running system, and sees of its graph, without ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from codesign_ros.runtime.device import Device, Heartbeat
from codesign_ros.runtime.messages import Result
from codesign_ros.types.plan import Plan


class Level(IntEnum):
    """``level`` of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class NodeStatus:
    """What a node says of itself on /diagnostics."""

    node: str
    level: Level
    message: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class SaidVersion:
    """Of which release of the package a node is, and the digest of its messages and services."""

    node: str
    release: str
    interface: str


@dataclass(frozen=True)
class Unreadable:
    """A message that makes no sense: why, one line."""

    why: str


@dataclass(frozen=True)
class News:
    """One message.

    Attributes:
        heard_s: when it was heard, on this machine's steady clock [s].
        clock_ns: likewise, on the clock from which this machine takes its stamps [ns].
        stamp_ns: when it was sent, on the sender's clock [ns]; 0 = it does not say.
        topic: on which.
        what: its content.
    """

    heard_s: float
    clock_ns: int
    stamp_ns: int
    topic: str
    what: Device | Heartbeat | Plan | Result | NodeStatus | SaidVersion | Unreadable


@dataclass(frozen=True)
class Endpoint:
    """One publisher or subscription of a node.

    Attributes:
        node: its node's full name.
        topic: the topic's full name.
        publishes: a publisher, not a subscription.
        message: type of its messages, e.g. ``codesign_ros/msg/Plan``.
        type_hash: hash of that type's definition; empty where this ROS does not tell (Humble).
        gid: what DDS knows it by.
    """

    node: str
    topic: str
    publishes: bool
    message: str
    type_hash: str = ""
    gid: str = ""


@dataclass(frozen=True)
class Mismatch:
    """A publisher that a subscription cannot hear, since their quality of service does not fit."""

    topic: str
    publisher: str
    subscription: str
    why: str


@dataclass(frozen=True)
class Graph:
    """Who is there, as DDS's discovery tells; the listener itself is not in it.

    Attributes:
        nodes: full names.
        endpoints: of topics with this package's messages, of images and of /diagnostics.
        mismatches: among these.
        own_hashes: hash of each type's definition on this machine.
        middleware: the RMW in use here, e.g. ``rmw_fastrtps_cpp``.
        own_version: what the listener would say, on behalf of this machine's package.
    """

    nodes: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    own_hashes: Mapping[str, str] | None = None
    middleware: str = ""
    own_version: SaidVersion | None = None
