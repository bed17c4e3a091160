"""MCAP files (mcap.dev/spec), whatever else is recorded in them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mcap.reader import SeekingReader
from mcap.records import Channel as McapChannel
from mcap.records import Schema, Statistics
from mcap.summary import Summary

from codesign_ros.data.storage.channel import Channel, StorageError

_MAGIC = b"\x89MCAP0\r\n"


class McapFile:
    """An open MCAP file."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        """Read what is in it.

        Args:
            stream: the file.
            size: its length [bytes].

        Raises:
            StorageError: its start or end is missing.
        """
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise StorageError("it is damaged: no MCAP file")
        stream.seek(max(0, size - len(_MAGIC)))
        if stream.read() != _MAGIC:
            raise StorageError("it is damaged: its end is missing; `mcap recover` saves the rest")
        stream.seek(0)
        self._stream, self._size = stream, size
        self._summary = self._reader().get_summary()
        self._counted = _statistics(self._summary)
        if self._summary is not None and self._summary.channels:
            schemas, channels = self._summary.schemas, self._summary.channels
        else:
            schemas, channels = self._scan()
        self._of_id = {
            number: self._channel(channel, schemas.get(channel.schema_id))
            for number, channel in channels.items()
        }
        self.channels = tuple(self._of_id.values())

    def messages(self, topics: Collection[str]) -> Iterator[tuple[Channel, int, bytes]]:
        """Yield messages, in the order of recording where the file has an index."""
        reader = self._reader()
        indexed = self._summary is not None and bool(self._summary.chunk_indexes)
        # Without an index, sorting would take the whole file into memory.
        for _, channel, message in reader.iter_messages(list(topics), log_time_order=indexed):
            yield self._of_id[channel.id], message.log_time, message.data

    def _reader(self) -> SeekingReader:
        self._stream.seek(0)
        return SeekingReader(self._stream, validate_crcs=True, record_size_limit=self._size)

    def _scan(self) -> tuple[dict[int, Schema], dict[int, McapChannel]]:
        """Look at every message for what no summary tells."""
        schemas: dict[int, Schema] = {}
        channels: dict[int, McapChannel] = {}
        for schema, channel, _ in self._reader().iter_messages(log_time_order=False):
            channels[channel.id] = channel
            if schema is not None:
                schemas[schema.id] = schema
        return schemas, channels

    def _channel(self, channel: McapChannel, schema: Schema | None) -> Channel:
        definition = schema.data.decode("utf-8", "replace") if schema else ""
        count = self._counted.channel_message_counts.get(channel.id, 0) if self._counted else None
        return Channel(
            topic=channel.topic,
            msgtype=schema.name if schema else "",
            encoding=channel.message_encoding,
            definition=definition,
            definition_format=schema.encoding if schema else "",
            count=count,
        )


def _statistics(summary: Summary | None) -> Statistics | None:
    return None if summary is None else summary.statistics


@contextmanager
def open_mcap(path: Path) -> Iterator[McapFile]:
    """Open an MCAP file."""
    with path.open("rb") as stream:
        yield McapFile(stream, path.stat().st_size)
