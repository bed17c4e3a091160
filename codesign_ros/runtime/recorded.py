"""One frame of what a head and its tail said to each other."""

from __future__ import annotations

from dataclasses import dataclass

from codesign_ros.runtime.messages import Embedding, TailAnswer
from codesign_ros.types import Plan


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
