"""Bags of ROS 1."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader, ReaderError

from codesign_ros.data.storage.channel import ROS1, Channel, StorageError
from codesign_ros.types.errors import one_line

ROS1_MAGIC = b"#ROSBAG V"
"""What a bag of ROS 1 begins with, of any version."""


class Ros1File:
    """An open bag of ROS 1."""

    is_cut = False  # one that is, is refused

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._of_id = {each.id: _channel(each) for each in reader.connections}
        self.channels = tuple(self._of_id.values())

    def messages(self, topics: Collection[str]) -> Iterator[tuple[Channel, int, bytes]]:
        """Yield messages in the order of recording."""
        wanted = [each for each in self._reader.connections if each.topic in topics]
        for connection, stamp_ns, data in self._reader.messages(wanted):
            yield self._of_id[connection.id], stamp_ns, bytes(data)


def _channel(connection: Connection) -> Channel:
    return Channel(
        topic=connection.topic,
        msgtype=connection.msgtype,
        encoding=ROS1,
        definition=connection.msgdef.data,
        definition_format="ros1msg",
        count=connection.msgcount,
    )


@contextmanager
def open_ros1(path: Path) -> Iterator[Ros1File]:
    """Open a bag of ROS 1."""
    reader = Reader(path)
    try:
        reader.open()
        with closing(reader):
            yield Ros1File(reader)
    except ReaderError as error:
        if str(error).startswith(("Bag is not indexed", "Bag index")):
            raise StorageError(
                "its index, which a recorder writes last, is missing or cut off; `rosbag reindex` "
                "writes it anew"
            ) from None
        if str(error).endswith("is not supported."):
            raise StorageError(
                f"it is a bag of ROS 1 in a form that is not read here ({one_line(error)}); "
                "`rosbag filter IN OUT True` writes one that is"
            ) from None
        raise
