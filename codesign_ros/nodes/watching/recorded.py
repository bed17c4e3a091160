"""What nodes said to each other, from a bag that `codesign follow` or `ros2 bag record` made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign_ros.data.storage.channel import CDR, Channel
from codesign_ros.data.storage.decoding import message_type
from codesign_ros.data.storage.recording import Recording, open_recording
from codesign_ros.msg import DeviceProfile as DeviceProfileMsg
from codesign_ros.msg import Embedding as EmbeddingMsg
from codesign_ros.msg import Heartbeat as HeartbeatMsg
from codesign_ros.msg import Plan as PlanMsg
from codesign_ros.msg import TailAnswer as TailAnswerMsg
from codesign_ros.nodes.border.reading import read
from codesign_ros.nodes.interface.device_messages import device_from_msg, heartbeat_from_msg
from codesign_ros.nodes.interface.messages import (
    embedding_from_msg,
    plan_from_msg,
    tail_answer_from_msg,
)
from codesign_ros.runtime.device import Device, Heartbeat
from codesign_ros.runtime.messages import EmbeddingKind, TailAnswer, TailStatus
from codesign_ros.runtime.recorded import RecordedFrame, RecordedNews
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

# Of one start of a head: session and number of the frame.
_Key = tuple[int, int]


@dataclass(frozen=True)
class RecordedTalk:
    """A recording of embeddings, and what goes with them.

    Attributes:
        plans: by robot and epoch; an epoch that two different plans have is not there.
        answers: by session and number of the frame.
        ambiguous: epochs that two different plans have, with their robots.
    """

    recording: Recording
    plans: dict[tuple[str, int], Plan]
    answers: dict[_Key, TailAnswer]
    ambiguous: frozenset[tuple[str, int]]

    def frames(self) -> Iterator[RecordedFrame]:
        """Yield every frame that a head sent, in the order of recording; probes are left out.

        Raises:
            CodesignError: an embedding cannot be read.
        """
        robots = sorted({robot for robot, _ in self.plans}, key=len, reverse=True)
        for channel, data in _messages(self.recording, EmbeddingMsg):
            embedding = embedding_from_msg(read(EmbeddingMsg, data))
            if embedding.kind is not EmbeddingKind.FRAME:
                continue
            robot = next((r for r in robots if channel.topic.startswith(f"{r.rstrip('/')}/")), "")
            yield RecordedFrame(
                robot,
                embedding,
                self.plans.get((robot, embedding.epoch)),
                self.answers.get((embedding.session, embedding.sequence)),
            )


@contextmanager
def open_talk(path: Path) -> Iterator[RecordedTalk]:
    """Open a bag with embeddings.

    Raises:
        CodesignError: it cannot be read or has no embeddings or no plans, or a message in it is
            of another version of the package.
    """
    with open_recording(path) as recording:
        _need(recording, {EmbeddingMsg: "/robot/embedding", PlanMsg: "/codesign/plan"})
        plans: dict[tuple[str, int], Plan] = {}
        ambiguous = set()
        for _, data in _messages(recording, PlanMsg):
            msg = read(PlanMsg, data)
            plan, key = plan_from_msg(msg), (str(msg.robot), int(msg.epoch))
            if plans.setdefault(key, plan) != plan:
                ambiguous.add(key)
        answers: dict[_Key, TailAnswer] = {}
        for _, data in _messages(recording, TailAnswerMsg):
            answer = tail_answer_from_msg(read(TailAnswerMsg, data))
            if answer.status is TailStatus.OK:
                answers[answer.session, answer.sequence] = answer
        known = {key: plan for key, plan in plans.items() if key not in ambiguous}
        yield RecordedTalk(recording, known, answers, frozenset(ambiguous))


def read_news(path: Path) -> list[RecordedNews]:
    """Read announcements, signs of life and plans of a bag, in the order of recording.

    Raises:
        CodesignError: it cannot be read, has no announcements or signs of life, or a message in it
            is of another version of the package.
    """
    readers: dict[str, tuple[Any, Callable[[Any], Device | Heartbeat | Plan]]] = {
        _type_of(DeviceProfileMsg): (DeviceProfileMsg, device_from_msg),
        _type_of(HeartbeatMsg): (HeartbeatMsg, heartbeat_from_msg),
        _type_of(PlanMsg): (PlanMsg, plan_from_msg),
    }
    with open_recording(path) as recording:
        _need(
            recording,
            {DeviceProfileMsg: "/codesign/devices", HeartbeatMsg: "/codesign/heartbeat"},
        )
        topics = {c.topic for c in recording.channels
                  if message_type(c) in readers and c.encoding == CDR}  # fmt: skip
        found = []
        for channel, at_ns, data in recording.messages(topics):
            kind, take = readers[message_type(channel)]
            found.append((at_ns, take(read(kind, data))))
    found.sort(key=lambda pair: pair[0])
    return [RecordedNews(1e-9 * (at_ns - found[0][0]), said) for at_ns, said in found]


def _messages(recording: Recording, kind: Any) -> Iterator[tuple[Channel, bytes]]:
    topics = {c.topic for c in recording.channels
              if message_type(c) == _type_of(kind) and c.encoding == CDR}  # fmt: skip
    for channel, _, data in recording.messages(topics):
        yield channel, data


def _need(recording: Recording, topics: Mapping[Any, str]) -> None:
    """Refuse a recording that lacks a type of messages, by the topic where they come."""
    kinds = {message_type(channel) for channel in recording.channels}
    for kind, topic in topics.items():
        if _type_of(kind) not in kinds:
            raise CodesignError(
                f"bag {recording.path} has no {_type_of(kind)}; record {topic} too, see "
                "docs/compare.md"
            )


def _type_of(kind: Any) -> str:
    return f"codesign_ros/msg/{kind.__name__}"
