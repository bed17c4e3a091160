"""MCAP files (mcap.dev/spec), whatever else is recorded in them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from mcap.exceptions import EndOfFile, RecordLengthLimitExceeded
from mcap.reader import NonSeekingReader, SeekingReader
from mcap.records import Channel as McapChannel
from mcap.records import Message, Schema, Statistics
from mcap.summary import Summary

from codesign_ros.data.storage.channel import Channel, StorageError

MCAP_MAGIC = b"\x89MCAP0\r\n"
"""What an MCAP file begins with, and ends with."""


class McapFile:
    """An open MCAP file, which may have lost its end: a recorder that is killed writes none.

    Attributes:
        is_cut: whether its end is missing; then what stands whole before it is all there is.
    """

    def __init__(self, stream: IO[bytes], size: int) -> None:
        """Read what is in it.

        Args:
            stream: the file.
            size: its length [bytes].

        Raises:
            StorageError: its start is missing, or all but that.
        """
        if stream.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
            raise StorageError("it is damaged: no MCAP file")
        stream.seek(max(0, size - len(MCAP_MAGIC)))
        self.is_cut = stream.read() != MCAP_MAGIC or size <= len(MCAP_MAGIC)
        self._stream, self._size = stream, size
        self._summary = None if self.is_cut else self._reader().get_summary()
        self._counted = _statistics(self._summary)
        # A summary need not repeat what stands among the messages; without that it is no index.
        self._is_whole = self._summary is not None and _names_all(self._summary)
        if self._summary is not None and self._is_whole:
            schemas, channels = self._summary.schemas, self._summary.channels
        else:
            schemas, channels = self._scan()
            if self.is_cut and not channels:
                raise StorageError("it is damaged: it was cut off before its first message")
        self._of_id = {
            number: self._channel(channel, schemas.get(channel.schema_id))
            for number, channel in channels.items()
        }
        self.channels = tuple(self._of_id.values())

    def messages(self, topics: Collection[str]) -> Iterator[tuple[Channel, int, bytes]]:
        """Yield messages, in the order of recording where the file has an index."""
        indexed = self._is_whole and self._summary is not None and bool(self._summary.chunk_indexes)
        # Without an index, sorting would take the whole file into memory.
        found = (
            self._reader().iter_messages(list(topics), log_time_order=True)
            if indexed
            else self._linear(list(topics))
        )
        for _, channel, message in found:
            yield self._of_id[channel.id], message.log_time, message.data

    def _reader(self) -> SeekingReader:
        self._stream.seek(0)
        return SeekingReader(self._stream, validate_crcs=True, record_size_limit=self._size)

    def _linear(
        self, topics: Collection[str] | None = None
    ) -> Iterator[tuple[Schema | None, McapChannel, Message]]:
        """Yield messages as they stand in the file, to its end or to where it was cut off."""
        self._stream.seek(0)
        stream = cast(IO[bytes], _WholeReads(self._stream)) if self.is_cut else self._stream
        reader = NonSeekingReader(stream, validate_crcs=True, record_size_limit=self._size)
        try:
            yield from reader.iter_messages(topics, log_time_order=False)
        except (EndOfFile, RecordLengthLimitExceeded):  # the last record is longer than the rest
            if not self.is_cut:
                raise

    def _scan(self) -> tuple[dict[int, Schema], dict[int, McapChannel]]:
        """Look at every message for what no summary tells."""
        schemas: dict[int, Schema] = {}
        channels: dict[int, McapChannel] = {}
        for schema, channel, _ in self._linear():
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


class _WholeReads:
    """A file that was cut off: reading ends before half a record, which mcap takes as it is."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Read so many bytes.

        Raises:
            EndOfFile: there are fewer.
        """
        data = self._stream.read(size)
        if len(data) < size:
            raise EndOfFile
        return data


def _names_all(summary: Summary) -> bool:
    """Whether a summary names the channels, and what is on each."""
    channels = summary.channels.values()
    return bool(channels) and all(
        channel.schema_id in summary.schemas or not channel.schema_id for channel in channels
    )


def _statistics(summary: Summary | None) -> Statistics | None:
    return None if summary is None else summary.statistics


@contextmanager
def open_mcap(path: Path) -> Iterator[McapFile]:
    """Open an MCAP file."""
    with path.open("rb") as stream:
        yield McapFile(stream, path.stat().st_size)
