"""Reads frames from ROS bags, without ROS: MCAP, SQLite and ROS 1 bags, files or directories."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codesign_ros.data.frames import SourceFrame
from codesign_ros.data.images import described
from codesign_ros.data.storage.channel import CDR, ROS1, Channel
from codesign_ros.data.storage.decoding import (
    COMPRESSED_TYPE,
    IMAGE_TYPE,
    decoder_of,
    message_type,
)
from codesign_ros.data.storage.ground_truth import read_truth, stamp_of
from codesign_ros.data.storage.recording import Recording, open_recording
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.errors import CodesignError, listed

IMAGE_TOPIC = "/camera/image_raw"
COMPRESSED_TOPIC = "/camera/image_raw/compressed"
TRUTH_TOPIC = "/camera/ground_truth"


class BagSource:
    """The frames of one image topic of a bag, with ground truth where the bag has it.

    Opening checks that the bag is whole, by whatever says how many messages it should have. Where a
    recorder was killed before it wrote that, what is there is played, and ``warnings`` say so. What
    else is in the bag, readable or not, does not matter. A message that is no picture is a frame of
    no size, which nobody can decode: whoever takes the frames says so, and goes on.
    """

    live = False

    def __init__(
        self,
        path: Path,
        *,
        topic: str | None = None,
        truth_topic: str | None = None,
        topic_option: str = "--topic",
    ) -> None:
        """Open a bag.

        Args:
            path: A bag directory, or a bare .mcap, .db3 or .bag file.
            topic: The image topic; may be left out where only one has messages.
            truth_topic: The topic of ground truth; None = the one that is nearest to the image
                topic by its namespace.
            topic_option: What whoever reads the error says it with.

        Raises:
            CodesignError: The path is missing, is no bag, is damaged, or has no such topic.
        """
        self.path = path
        with open_recording(path) as recording:
            self.topic = _image_topic(recording, topic, topic_option)
            self._check_encoding(recording)
            self._truth = read_truth(recording, self.topic, truth_topic)
            stamps, own_stamps = self._stamps(recording)
            self.frames: int | None = len(stamps)
            self._check_count(recording)
            if not stamps:
                raise CodesignError(f"bag {path}: there is no message on topic {self.topic}")
            strays = (f"bag {path}: {line}" for line in self._truth.strays(own_stamps))
            self.warnings = (
                *self._unfinished(recording),
                *self._left_out(recording),
                *self._truth.warnings,
                *strays,
            )
        seconds = (stamps[-1] - stamps[0]) * 1e-9
        self.fps = (len(stamps) - 1) / seconds if seconds > 0 else 30.0

    def __iter__(self) -> Iterator[SourceFrame]:
        """Yield the frames in the order of recording.

        Raises:
            CodesignError: The bag is not what it was when it was opened.
        """
        with open_recording(self.path) as recording:
            decoders = {channel: decoder_of(channel) for channel in recording.channels}
            count = 0
            for channel, recorded_ns, data in recording.messages([self.topic]):
                decode = decoders[channel]
                assert decode is not None  # checked when it was opened
                yield self._frame(decode, message_type(channel), data, recorded_ns)
                count += 1
            if count != self.frames:
                raise CodesignError(f"bag {self.path} has changed since it was opened")

    @property
    def truths(self) -> tuple[GroundTruth, ...]:
        """What is in the frames whose truth the bag has.

        Raises:
            CodesignError: Several topics say so, and none was chosen.
        """
        if self._truth.unclear:
            raise CodesignError(self._truth.unclear)
        return tuple(self._truth.by_stamp.values())

    def _stamps(self, recording: Recording) -> tuple[list[int], set[int]]:
        """When the frames were recorded and, where there is truth, which stamps they have [ns]."""
        decoders = {c: decoder_of(c) for c in recording.channels if c.topic == self.topic}
        recorded: list[int] = []
        own: set[int] = set()
        for channel, recorded_ns, data in recording.messages([self.topic]):
            recorded.append(recorded_ns)
            decode = decoders[channel]
            if self._truth.by_stamp and decode is not None:
                with contextlib.suppress(Exception):  # a frame that nobody can decode
                    own.add(stamp_of(decode(data), recorded_ns))
        return recorded, own

    def _check_encoding(self, recording: Recording) -> None:
        for channel in recording.channels:
            if channel.topic == self.topic and channel.encoding not in (CDR, ROS1):
                raise CodesignError(
                    f"bag {self.path}: messages on {self.topic} are written as "
                    f"'{channel.encoding}', which is not read here ({CDR} and {ROS1} are)"
                )

    def _check_count(self, recording: Recording) -> None:
        """Refuse a bag that has fewer messages than it says itself."""
        indexed = [c.count for c in recording.channels if c.topic == self.topic]
        said = max(
            (recording.counts or {}).get(self.topic, 0),
            0 if None in indexed else sum(count or 0 for count in indexed),
        )
        assert self.frames is not None
        if self.frames < said:
            raise CodesignError(
                f"bag {self.path} is damaged: {self.frames} of {said} frames on {self.topic}"
            )

    def _unfinished(self, recording: Recording) -> tuple[str, ...]:
        """A line about what the recorder did not come to write; none where it ended in peace."""
        missing = ["metadata.yaml"] if recording.counts is None else []
        missing += [f"end in {name}" for name in recording.cut]
        if not missing:
            return ()
        return (
            f"bag {self.path} has no {' and no '.join(missing)}, which a recorder writes last; the "
            f"{self.frames} frames that are there on {self.topic} are indexed on the fly",
        )

    def _left_out(self, recording: Recording) -> tuple[str, ...]:
        """A line about files that the metadata, which is older, does not name."""
        if not recording.left_out:
            return ()
        return (
            f"bag {self.path}: its metadata.yaml does not name {listed(recording.left_out)}, left "
            "out; ros2 bag reindex takes such files in",
        )

    def _frame(self, decode: Any, kind: str, data: bytes, recorded_ns: int) -> SourceFrame:
        try:
            message = decode(data)
        except Exception:  # whatever broken bytes lead to
            return SourceFrame(recorded_ns, b"", "jpeg", 0, 0, 0)
        stamp_ns = stamp_of(message, recorded_ns)
        picture = message.data.tobytes()
        truth = self._truth.by_stamp.get(stamp_ns)
        if kind == COMPRESSED_TYPE:
            return SourceFrame(stamp_ns, picture, *described(picture), 0, truth)
        return SourceFrame(
            stamp_ns,
            picture,
            str(message.encoding),
            int(message.height),
            int(message.width),
            int(message.step),
            truth,
        )


def _image_topic(recording: Recording, topic: str | None, option: str) -> str:
    """Return the topic of pictures: the one that was asked for, or the only one with messages.

    Raises:
        CodesignError: There is none, or several and none was named.
    """
    path = recording.path
    images = [c for c in recording.channels if message_type(c) in (IMAGE_TYPE, COMPRESSED_TYPE)]
    topics = sorted({c.topic for c in images})
    if not topics:
        have = ", ".join(sorted({c.topic for c in recording.channels})) or "no topics at all"
        raise CodesignError(f"bag {path} has no image topic (it has {have})")
    if topic is not None:
        if topic not in topics:
            raise CodesignError(
                f"bag {path} has no image topic {topic}; its image topics are {', '.join(topics)}"
            )
        return topic
    filled = sorted({c.topic for c in images if _has_messages(recording, c)}) or topics
    if len(filled) > 1:
        raise CodesignError(
            f"bag {path} has several image topics: {', '.join(filled)}; choose one with {option}"
        )
    return filled[0]


def _has_messages(recording: Recording, channel: Channel) -> bool:
    if channel.count is not None:
        return channel.count > 0
    return next(iter(recording.messages([channel.topic])), None) is not None
