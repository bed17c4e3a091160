"""What nodes said to each other, as a recording has it."""

from __future__ import annotations

from dataclasses import dataclass

from codesign_ros.runtime.device import Device, Heartbeat
from codesign_ros.runtime.messages import Embedding, TailAnswer
from codesign_ros.types.plan import Plan


@dataclass(frozen=True)
class RecordedFrame:
    """What a recording has of a frame that a head sent.

    Attributes:
        robot: namespace of the head; empty = no plan says.
        embedding: what it sent.
        plan: under which it did; None = not in the recording.
        answer: what the tail said, if it gave one; None = not in the recording.
    """

    robot: str
    embedding: Embedding
    plan: Plan | None
    answer: TailAnswer | None


@dataclass(frozen=True)
class RecordedNews:
    """What a recording has of heads, tails and their planner.

    Attributes:
        at_s: when it was recorded, since the first of them [s].
        said: an announcement, a sign of life, or a plan that was put in force.
    """

    at_s: float
    said: Device | Heartbeat | Plan
