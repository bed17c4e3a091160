"""What head and tail hand each other, without ROS; fields as in the messages of the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from codesign_ros.cost.half_times import StageProfile
from codesign_ros.engines.base import EngineForm, Part
from codesign_ros.types import Box
from codesign_ros.wire.codecs import EncodedTensor


class Role(IntEnum):
    """``role`` of msg/DeviceProfile.msg."""

    HEAD = 1
    TAIL = 2

    @property
    def part(self) -> Part:
        """The part of a network that it runs."""
        return "head" if self is Role.HEAD else "tail"


class EmbeddingKind(IntEnum):
    """``kind`` of msg/Embedding.msg."""

    FRAME = 0
    PROBE = 1


class Status(IntEnum):
    """``status`` of msg/InferenceResult.msg."""

    OK = 0
    DROPPED = 1
    REFUSED = 2
    PROBE = 3


@dataclass(frozen=True)
class Stamp:
    """The header of a frame: time on the robot's clock [ns] and the camera's frame id."""

    stamp_ns: int
    frame_id: str = ""


@dataclass(frozen=True)
class Embedding:
    """One frame's tensors on their way to the server, or a probe of the link."""

    stamp: Stamp
    sequence: int
    epoch: int
    oldest_epoch: int
    model_id: str
    cut: int
    tensors: tuple[EncodedTensor, ...]
    kind: EmbeddingKind = EmbeddingKind.FRAME

    @property
    def payload_bytes(self) -> int:
        """Bytes of tensors that cross the link [bytes]."""
        return sum(tensor.payload_bytes for tensor in self.tensors)


@dataclass(frozen=True)
class Result:
    """The answer for one frame; durations in seconds, each on its own machine's clock."""

    stamp: Stamp
    sequence: int
    epoch: int
    status: Status = Status.OK
    reason: str = ""
    served_by: str = ""
    label: str = ""
    score: float = 0.0
    class_names: tuple[str, ...] = ()
    class_scores: tuple[float, ...] = ()
    detections: tuple[Box, ...] = field(default=())
    payload_bytes: int = 0
    response_s: float = 0.0
    head_s: float = 0.0
    encode_s: float = 0.0
    link_s: float = 0.0
    queue_s: float = 0.0
    decode_s: float = 0.0
    tail_s: float = 0.0


@dataclass(frozen=True)
class StageMedians:
    """What a head measured under the plan in force; ``running_*`` of msg/DeviceProfile.msg.

    Attributes:
        epoch: the plan's number.
        frames: frames answered under it so far; 0 = nothing is known yet.
        head_s: head and encoding [s].
        link_s: the link, both ways, without waiting for it [s].
        tail_s: decoding and tail, without waiting there [s].
    """

    epoch: int = 0
    frames: int = 0
    head_s: float = 0.0
    link_s: float = 0.0
    tail_s: float = 0.0

    @property
    def latency_s(self) -> float:
        """All three stages [s]."""
        return self.head_s + self.link_s + self.tail_s


@dataclass(frozen=True)
class Device:
    """A head or a tail as it announces itself; fields as in msg/DeviceProfile.msg.

    ``profile`` is None where the node has measured nothing. ``engines`` is None where any engine is
    there within a second or so; elsewhere it says which are built, and which cannot be (False).
    """

    robot: str
    node: str
    role: Role
    state: str
    model_id: str
    device: str = "this-machine"
    epoch: int = 0
    peak_flops: float = 0.0
    memory_bandwidth: float = 0.0
    backends: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    memory_bytes: int = 0
    dla_cores: int = 0
    power_mode: str = ""
    throttled: str = ""
    engines: Mapping[EngineForm, bool] | None = None
    profile: StageProfile | None = None
    link_bps: float = 0.0
    link_delay_s: float = 0.0
    frame_bytes: float = 0.0
    running: StageMedians = StageMedians()


WINDOW_FRAMES = 9
"""Frames that count. Few, so that a change shows about as soon as in the link's rate."""
