"""What head, tail and users are told, without ROS; fields as in the messages of the same names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from codesign_ros.types.boxes import Box
from codesign_ros.wire.tensor import EncodedTensor


class EmbeddingKind(IntEnum):
    """``kind`` of msg/Embedding.msg."""

    FRAME = 0
    PROBE = 1


class Status(IntEnum):
    """``status`` of msg/InferenceResult.msg."""

    OK = 0
    DROPPED = 1


class DropReason(IntEnum):
    """``drop_reason`` of msg/InferenceResult.msg: why a frame has no answer."""

    NONE = 0
    BUSY = 1
    CLOSED = 2
    UNREADABLE = 3
    NOT_FINITE = 4
    ENGINE = 5
    DEFECT = 6
    PAUSED = 7
    UNPUBLISHED = 8  # counted alone: there is no message that could say so


class TailStatus(IntEnum):
    """``status`` of msg/TailAnswer.msg."""

    OK = 0
    REFUSED = 1
    PROBE = 2
    LEAVING = 3


@dataclass(frozen=True)
class Stamp:
    """The header of a frame: time on the robot's clock [ns] and the camera's frame id."""

    stamp_ns: int
    frame_id: str = ""


@dataclass(frozen=True)
class Embedding:
    """One frame's tensors on their way to the server, or a probe of the link.

    ``tail`` is the node that it is for; the topic that it is sent on says so, no field does.
    """

    stamp: Stamp
    sequence: int
    epoch: int
    oldest_epoch: int
    model_id: str
    cut: int
    tensors: tuple[EncodedTensor, ...]
    kind: EmbeddingKind = EmbeddingKind.FRAME
    session: int = 0
    tail: str = ""

    @property
    def payload_bytes(self) -> int:
        """Bytes of tensors that cross the link [bytes]."""
        return sum(tensor.payload_bytes for tensor in self.tensors)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The part of a message that the network decides; what its task does not give is empty.

    Attributes:
        label: most likely class (classification).
        score: its probability.
        class_names: names of all classes (classification).
        class_scores: probability of each.
        detections: objects found (detection), best first, in pixels of the network's input or, in
            a user's result, of the camera's image.
    """

    label: str = ""
    score: float = 0.0
    class_names: tuple[str, ...] = ()
    class_scores: tuple[float, ...] = ()
    detections: tuple[Box, ...] = ()


@dataclass(frozen=True)
class TailAnswer(Answer):
    """What the tail says of one embedding; boxes are in pixels of the network's input.

    ``session`` is the head's start, ``tail_session`` the tail's.
    """

    stamp: Stamp
    sequence: int
    epoch: int
    status: TailStatus = TailStatus.OK
    reason: str = ""
    served_by: str = ""
    queue_s: float = 0.0
    decode_s: float = 0.0
    tail_s: float = 0.0
    session: int = 0
    tail_session: int = 0


@dataclass(frozen=True)
class Result(Answer):
    """The answer for one frame, as users get it (msg/InferenceResult.msg).

    Boxes are in pixels of the camera's image; durations are in seconds, each on the clock of the
    machine that did the work. ``age_s`` and ``response_s`` are NaN where the frame's stamp cannot
    be right.
    """

    stamp: Stamp
    sequence: int
    epoch: int
    status: Status = Status.OK
    drop_reason: DropReason = DropReason.NONE
    reason: str = ""
    finished_by: str = ""
    served_by: str = ""
    payload_bytes: int = 0
    age_s: float = 0.0
    response_s: float = 0.0
    head_s: float = 0.0
    encode_s: float = 0.0
    link_s: float = 0.0
    queue_s: float = 0.0
    decode_s: float = 0.0
    tail_s: float = 0.0


def known_responses_s(results: Iterable[Result]) -> list[float]:
    """The times from stamp to result of those frames whose stamps can be right [s]."""
    return [result.response_s for result in results if not math.isnan(result.response_s)]
