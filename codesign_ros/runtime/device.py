"""What heads and tails say of themselves, without ROS; fields as in their messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.types.forms import HalfForm, Part

ONLY_SERVER = "server"
"""Name of the server of tails that lie in their robot's namespace itself."""

WINDOW_FRAMES = 9
"""Frames in ``StageMedians``. Few, so that a change shows about as soon as in the link's rate."""

STATES = ("unconfigured", "inactive", "active", "finalized")
"""What a node may say of itself: the states of its life cycle."""


class Role(IntEnum):
    """``role`` of msg/DeviceProfile.msg."""

    HEAD = 1
    TAIL = 2

    @property
    def part(self) -> Part:
        """The part of a network that it runs."""
        return "head" if self is Role.HEAD else "tail"


class Payload(NamedTuple):
    """How large the last frames were that were sent with one codec.

    Attributes:
        codec: which.
        frames: how many they were.
        mean_bytes: their mean payload [bytes].
        spread_bytes: its standard deviation from frame to frame [bytes].
    """

    codec: str
    frames: int
    mean_bytes: float
    spread_bytes: float


@dataclass(frozen=True)
class StageMedians:
    """What a head measured under the plan in force; ``running_*`` of msg/Heartbeat.msg.

    Attributes:
        epoch: the plan's number.
        frames: frames answered under it so far; 0 = nothing is known yet.
        head_s: head and encoding [s].
        link_s: the link, both ways, without waiting for it [s].
        tail_s: decoding and tail, without waiting there [s].
        head_busy_s: head and encoding where frames come in a row, by their processor time, where
            the robot has no more than a core [s]; 0 = not known.
        head_gap_s: what passed on the robot between two frames in a row beside ``head_busy_s`` or,
            where that is not known, ``head_s`` [s]; 0 = not known.
        tail_gap_s: likewise at the tail beside ``tail_s`` [s].
        payloads: what of the same frames crossed the link, by codec.
    """

    epoch: int = 0
    frames: int = 0
    head_s: float = 0.0
    link_s: float = 0.0
    tail_s: float = 0.0
    head_gap_s: float = 0.0
    tail_gap_s: float = 0.0
    head_busy_s: float = 0.0
    payloads: tuple[Payload, ...] = ()

    @property
    def latency_s(self) -> float:
        """All three stages [s]."""
        return self.head_s + self.link_s + self.tail_s


@dataclass(frozen=True)
class Heartbeat:
    """What changes while a head or a tail runs; msg/Heartbeat.msg."""

    node: str
    epoch: int = 0
    session: int = 0
    throttled: str = ""
    link_bps: float = 0.0
    link_bps_error: float = 0.0
    link_delay_s: float = 0.0
    link_burst_bytes: float = 0.0
    frame_bytes: float = 0.0
    running: StageMedians = StageMedians()


@dataclass(frozen=True, kw_only=True)
class Device(Heartbeat):
    """A head or a tail as it announces itself, its heartbeat with it; msg/DeviceProfile.msg.

    ``profile`` is None where the node has measured nothing. ``engines`` is None where any engine is
    there within a second or so; elsewhere it says which are built, and which cannot be (False).
    """

    robot: str
    role: Role
    state: str
    model_id: str
    device: str = "this-machine"
    peak_flops: float = 0.0
    memory_bandwidth: float = 0.0
    backends: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    memory_bytes: int = 0
    dla_cores: int = 0
    power_mode: str = ""
    engines: Mapping[HalfForm, bool] | None = None
    profile: HalfTimes | None = None

    @property
    def namespace(self) -> str:
        """Where it lies: nodes of one role in one namespace are in a place for one."""
        return self.node.rpartition("/")[0] or "/"

    @property
    def server(self) -> str:
        """Of a tail: the edge server that it is on, by what its namespace adds to its robot's.

        A robot may have a tail on each of several, e.g. /miner1/edge1/tail and /miner1/edge2/tail.
        """
        return self.namespace.removeprefix(self.robot).strip("/") or ONLY_SERVER
