"""Reads frames from ROS bags, without ROS: MCAP, SQLite and ROS 1 bags, files or directories."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from codesign_ros.data.frames import SourceFrame
from codesign_ros.pixels.decode import compressed_encoding, compressed_size
from codesign_ros.resources import resource_path
from codesign_ros.types import Box, CodesignError, GroundTruth, one_line

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
TRUTH_TYPE = "codesign_ros/msg/GroundTruth"
IMAGE_TOPIC = "/camera/image_raw"
COMPRESSED_TOPIC = "/camera/image_raw/compressed"
TRUTH_TOPIC = "/camera/ground_truth"
BAG_SUFFIXES = (".mcap", ".db3", ".bag")

# Older bags have ground truth in the type of answers, as it was then.
_OLD_TRUTH_TYPE = "codesign_ros/msg/InferenceResult"
_OLD_TRUTH_FIELDS = (
    "std_msgs/Header header, uint64 sequence, uint32 epoch, uint8 status, string reason, "
    "string served_by, string label, float32 score, string[] class_names, "
    "float32[] class_scores, Detection[] detections, uint32 payload_bytes, float32 response_s, "
    "float32 head_s, float32 encode_s, float32 link_s, float32 queue_s, float32 decode_s, "
    "float32 tail_s"
).replace(", ", "\n")
_SQLITE_MAGIC = b"SQLite format 3\0"


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """ROS 2's messages and this package's own, for bags that do not say what is in theirs.

    ``InferenceResult`` is what it was in older bags: of newer ones nothing in that type is read.
    """
    store = get_typestore(Stores.ROS2_HUMBLE)
    own: dict[str, Any] = {}
    for path in sorted(resource_path("msg").glob("*.msg")):
        own.update(get_types_from_msg(path.read_text(), f"codesign_ros/msg/{path.stem}"))
    own.update(get_types_from_msg(_OLD_TRUTH_FIELDS, _OLD_TRUTH_TYPE))
    store.register(own)
    return store


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: a storage file, or a directory that has one."""
    if path.is_dir():
        return (path / "metadata.yaml").exists() or bool(_storage_files(path))
    return path.suffix in BAG_SUFFIXES


def _storage_files(directory: Path) -> list[Path]:
    return sorted(p for p in directory.iterdir() if p.suffix in (".mcap", ".db3"))


class BagSource:
    """The frames of one image topic of a bag, with ground truth where the bag has it.

    Opening checks that the bag is whole; a bag that is cut off is refused, not played in part.
    """

    live = False

    def __init__(self, path: Path, *, topic: str | None = None) -> None:
        """Open a bag.

        Args:
            path: A bag directory, or a bare .mcap, .db3 or .bag file.
            topic: The image topic; may be left out where there is only one.

        Raises:
            CodesignError: The path is missing, is no bag, is damaged, or has no such image topic.
        """
        self.path = path
        _check_files(path)
        with self._reader() as reader:
            connections = _image_connections(reader.connections, path, topic)
            self.topic = connections[0].topic
            self.frames: int | None = sum(c.msgcount for c in connections)
            if self.frames == 0:
                raise CodesignError(f"bag {path}: there is no message on topic {self.topic}")
            stamps = [stamp for _, stamp, _ in reader.messages(connections)]
            self._check_count(len(stamps))
            self._truth = _ground_truth(reader)
        seconds = (stamps[-1] - stamps[0]) * 1e-9
        self.fps = (len(stamps) - 1) / seconds if seconds > 0 else 30.0

    def __iter__(self) -> Iterator[SourceFrame]:
        """Yield the frames in the order of recording.

        Raises:
            CodesignError: A message cannot be read.
        """
        with self._reader() as reader:
            connections = [c for c in reader.connections if c.topic == self.topic]
            count = 0
            for connection, recorded_ns, raw in reader.messages(connections):
                message: Any = reader.deserialize(raw, connection.msgtype)
                yield self._frame(message, connection.msgtype, recorded_ns)
                count += 1
            self._check_count(count)

    @property
    def truths(self) -> tuple[GroundTruth, ...]:
        """What is in the frames whose truth the bag has."""
        return tuple(self._truth.values())

    def _check_count(self, count: int) -> None:
        if count != self.frames:
            raise CodesignError(
                f"bag {self.path} is damaged: {count} of {self.frames} frames on {self.topic}"
            )

    def _frame(self, message: Any, msgtype: str, recorded_ns: int) -> SourceFrame:
        # A driver that does not stamp its pictures leaves zero: the recorder's stamp is next best.
        stamp_ns = _stamp_ns(message.header) or recorded_ns
        data = message.data.tobytes()
        truth = self._truth.get(stamp_ns)
        if msgtype == COMPRESSED_TYPE:
            height, width = compressed_size(data)
            return SourceFrame(stamp_ns, data, compressed_encoding(data), height, width, 0, truth)
        return SourceFrame(
            stamp_ns,
            data,
            str(message.encoding),
            int(message.height),
            int(message.width),
            int(message.step),
            truth,
        )

    @contextmanager
    def _reader(self) -> Iterator[AnyReader]:
        """An open reader; whatever goes wrong inside becomes one CodesignError."""
        try:
            with AnyReader([self.path], default_typestore=typestore()) as reader:
                yield reader
        except CodesignError:
            raise
        # A parser fed with broken bytes fails in many ways (struct, zstd, yaml, apsw, assertions).
        except Exception as error:
            reason = one_line(error) or type(error).__name__
            raise CodesignError(f"bag {self.path} is damaged or no bag: {reason}") from error


def _check_files(path: Path) -> None:
    """Refuse what is plainly missing, no bag, or cut off.

    Raises:
        CodesignError: With what is wrong.
    """
    if not path.exists():
        raise CodesignError(f"bag {path} does not exist")
    if path.is_dir():
        files = _storage_files(path)
        if not (path / "metadata.yaml").exists():
            hint = (
                "its recording was not finished; mend it with `ros2 bag reindex`"
                if files
                else "it is not a bag directory"
            )
            raise CodesignError(f"bag {path} has no metadata.yaml: {hint}")
    elif path.suffix not in BAG_SUFFIXES:
        raise CodesignError(f"{path} is not a bag (expected a directory or {BAG_SUFFIXES})")
    else:
        files = [path]
    for file in files:
        if file.suffix == ".db3":
            _check_sqlite(file)


def _check_sqlite(path: Path) -> None:
    """SQLite reads a file that lost its end until it needs a lost page; look before that.

    Raises:
        CodesignError: The file is no database, or shorter than its header says.
    """
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(_SQLITE_MAGIC):
        raise CodesignError(f"bag {path} is damaged: not a SQLite database")
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(header[28:32], "big")
    if path.stat().st_size < page * pages:
        raise CodesignError(
            f"bag {path} is damaged: {path.stat().st_size} bytes of {page * pages}; it was cut off"
        )


def _image_connections(
    connections: list[Connection], path: Path, topic: str | None
) -> list[Connection]:
    """The connections of the wanted image topic.

    Raises:
        CodesignError: There is none, or several and none was named.
    """
    images = [c for c in connections if c.msgtype in (IMAGE_TYPE, COMPRESSED_TYPE)]
    topics = sorted({c.topic for c in images})
    if not topics:
        have = ", ".join(sorted({c.topic for c in connections})) or "no topics at all"
        raise CodesignError(f"bag {path} has no image topic (it has {have})")
    if topic is None:
        if len(topics) > 1:
            raise CodesignError(
                f"bag {path} has several image topics, choose one with topic: {', '.join(topics)}"
            )
        topic = topics[0]
    elif topic not in topics:
        raise CodesignError(
            f"bag {path} has no image topic {topic}; its image topics are {', '.join(topics)}"
        )
    return [c for c in images if c.topic == topic]


def _ground_truth(reader: AnyReader) -> dict[int, GroundTruth]:
    """Ground truth by the stamp of its frame [ns]; empty where the bag has none."""
    connections = [
        c
        for c in reader.connections
        if c.msgtype == TRUTH_TYPE
        or (c.msgtype == _OLD_TRUTH_TYPE and c.topic.endswith("ground_truth"))
    ]
    if not connections:
        return {}
    truths = {}
    for connection, _, raw in reader.messages(connections):
        message: Any = reader.deserialize(raw, connection.msgtype)
        found = message.boxes if connection.msgtype == TRUTH_TYPE else message.detections
        boxes = tuple(Box(d.label, d.x_min, d.y_min, d.x_max, d.y_max, d.score) for d in found)
        truths[_stamp_ns(message.header)] = GroundTruth(message.label, boxes)
    return truths


def _stamp_ns(header: Any) -> int:
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
