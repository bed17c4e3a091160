"""A topic as a storage file describes it, and what a storage file is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CDR = "cdr"
ROS1 = "ros1"


class StorageError(Exception):
    """A storage file cannot be read; the text says why, without naming the file."""


@dataclass(frozen=True)
class Channel:
    """One topic of one type in one storage file.

    Attributes:
        topic: its name.
        msgtype: as ROS 2 writes it, such as ``sensor_msgs/msg/Image``.
        encoding: how its messages are written: ``cdr``, ``ros1``, or something we do not read.
        definition: the fields of its type as text; empty where the file does not have them.
        definition_format: ``ros2msg``, ``ros2idl``, or whatever the file says.
        count: messages by the file's own index; None where it has none.
    """

    topic: str
    msgtype: str
    encoding: str
    definition: str
    definition_format: str
    count: int | None


class StorageFile(Protocol):
    """An open storage file.

    Attributes:
        channels: the topics in it.
        is_cut: whether its end is missing, so that it has fewer messages than were recorded.
    """

    channels: tuple[Channel, ...]
    is_cut: bool

    def messages(self, topics: Collection[str]) -> Iterator[tuple[Channel, int, bytes]]:
        """Yield channel, time of recording [ns] and bytes of the messages of some topics.

        Raises:
            StorageError: the file is damaged.
        """


class OpenStorage(Protocol):
    """Opens a storage file."""

    def __call__(self, path: Path) -> AbstractContextManager[StorageFile]:
        """Open a file.

        Raises:
            StorageError: it is damaged, or no such file.
        """
