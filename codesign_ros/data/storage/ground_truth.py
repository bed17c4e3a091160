"""Ground truth in a bag: whose topic of it is a camera's, and what is in its messages."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from codesign_ros.data.storage.channel import Channel
from codesign_ros.data.storage.decoding import (
    COMPRESSED_TYPE,
    IMAGE_TYPE,
    OLD_TRUTH_TYPE,
    TRUTH_TYPE,
    decoder_of,
    message_type,
)
from codesign_ros.data.storage.recording import Recording
from codesign_ros.data.storage.vision_truth import VISION_TYPE, vision_boxes
from codesign_ros.types.boxes import Box, GroundTruth
from codesign_ros.types.errors import CodesignError


@dataclass(frozen=True)
class RecordedTruth:
    """Ground truth of one topic of pictures.

    Attributes:
        by_stamp: what is in a frame, by its stamp [ns].
        topic: where it is from; empty where there is none.
        warnings: what could not be read or is left out, a line each.
        unclear: which topics there are, where none was chosen of several; else empty.
    """

    by_stamp: Mapping[int, GroundTruth]
    topic: str = ""
    warnings: tuple[str, ...] = ()
    unclear: str = ""

    def strays(self, stamps_ns: Collection[int]) -> tuple[str, ...]:
        """A line about truth that belongs to no frame, by the stamps of all frames [ns]."""
        count = len(self.by_stamp.keys() - set(stamps_ns))
        if not count:
            return ()
        return (
            f"{count} of {len(self.by_stamp)} messages of ground truth on {self.topic} belong to "
            "no frame (stamps differ)",
        )


def stamp_of(message: Any, recorded_ns: int) -> int:
    """The stamp in a message's header [ns].

    Who does not stamp leaves zero: the recorder's stamp is next best.
    """
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec) or recorded_ns


def read_truth(recording: Recording, image_topic: str, wanted: str | None) -> RecordedTruth:
    """Read the ground truth of a topic of pictures.

    Args:
        recording: the bag.
        image_topic: the pictures.
        wanted: the topic of ground truth; None = the one that is nearest to the pictures.

    Raises:
        CodesignError: there is no such topic.
    """
    channels = [c for c in recording.channels if _is_wanted(c, wanted)]
    if wanted and not channels:
        have = ", ".join(sorted({c.topic for c in recording.channels if _is_truth(c)})) or "none"
        raise CodesignError(
            f"bag {recording.path} has no topic of ground truth {wanted} (it has {have})"
        )
    decoders = {channel: decoder_of(channel) for channel in channels}
    read: dict[str, dict[int, GroundTruth]] = defaultdict(dict)
    unread = Counter[str]()
    named = {channel.topic for channel in channels}
    for channel, recorded_ns, data in recording.messages(named) if named else ():
        decode = decoders.get(channel)
        try:
            message: Any = decode(data) if decode else None
            truth = _truth_of(message, message_type(channel))
            read[channel.topic][stamp_of(message, recorded_ns)] = truth
        except Exception:  # a message of another form, or none
            unread[channel.topic] += 1
    said = f"bag {recording.path}"
    topics = sorted({*read, *unread})
    own = topics if wanted else _nearest(topics, image_topic, _image_topics(recording))
    lost = sum(unread[topic] for topic in own)
    warnings = (
        [f"{said}: {lost} messages of ground truth cannot be read and are left out"] if lost else []
    )
    if len(own) == 1:
        return RecordedTruth(read[own[0]], own[0], tuple(warnings))
    if own:
        unclear = (
            f"{said} has several topics of ground truth for {image_topic}: {', '.join(own)}; "
            "choose one with --truth-topic"
        )
        return RecordedTruth({}, "", (*warnings, f"{unclear} (none is taken)"), unclear)
    if not topics:
        return RecordedTruth({})
    others = (
        f"{said}: ground truth on {', '.join(topics)} is of another camera than {image_topic} by "
        "its name and is left out; --truth-topic takes it all the same"
    )
    return RecordedTruth({}, "", (others,))


def _is_wanted(channel: Channel, wanted: str | None) -> bool:
    if not wanted:
        return _is_truth(channel)
    return channel.topic == wanted and (_is_truth(channel) or message_type(channel) == VISION_TYPE)


def _is_truth(channel: Channel) -> bool:
    kind, topic = message_type(channel), channel.topic.lower()
    # Of detections a bag may have a detector's too: the topic's name says what they are.
    return (
        kind == TRUTH_TYPE
        or (kind == OLD_TRUTH_TYPE and topic.endswith("ground_truth"))
        or (kind == VISION_TYPE and "truth" in topic)
    )


def _image_topics(recording: Recording) -> set[str]:
    kinds = (IMAGE_TYPE, COMPRESSED_TYPE)
    return {c.topic for c in recording.channels if message_type(c) in kinds}


def _nearest(topics: Iterable[str], image_topic: str, image_topics: Collection[str]) -> list[str]:
    """The topics of truth that share most of their namespace with the pictures.

    Those are left out that share more with other pictures: they are another camera's.
    """
    shared = {
        topic: _shared(topic, image_topic)
        for topic in topics
        if _shared(topic, image_topic) >= max(_shared(topic, other) for other in image_topics)
    }
    most = max(shared.values(), default=0)
    return [topic for topic, count in shared.items() if count == most]


def _shared(topic: str, image_topic: str) -> int:
    """How many parts of a topic's namespace the pictures' topic begins with."""
    namespace = topic.strip("/").split("/")[:-1]
    pairs = zip(namespace, image_topic.strip("/").split("/"), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _truth_of(message: Any, kind: str) -> GroundTruth:
    if kind == VISION_TYPE:
        return GroundTruth("", vision_boxes(message))
    found = message.boxes if kind == TRUTH_TYPE else message.detections
    boxes = (Box(d.label, d.x_min, d.y_min, d.x_max, d.y_max, d.score) for d in found)
    return GroundTruth(message.label, tuple(boxes))
