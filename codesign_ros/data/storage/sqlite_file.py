"""SQLite files as rosbag2_storage_sqlite3 writes them, of all its schema versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from codesign_ros.data.storage.channel import Channel, StorageError
from codesign_ros.data.storage.sqlite_log import LOG_SUFFIX, log_is_cut
from codesign_ros.types.errors import one_line

SQLITE_MAGIC = b"SQLite format 3\0"
"""What a SQLite file begins with."""

_HEADER_BYTES = 100


class SqliteFile:
    """An open SQLite file.

    Attributes:
        is_cut: whether the log beside it lacks its end; a file that does is refused.
    """

    def __init__(self, database: sqlite3.Connection, *, is_cut: bool = False) -> None:
        """Read what is in it.

        Raises:
            StorageError: it is the database of something else.
        """
        self._database = database
        self.is_cut = is_cut
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        if not {"topics", "messages"} <= tables:
            raise StorageError("it has no tables of topics and messages: it is no recording of ROS")
        definitions: dict[str, tuple[str, str]] = {}
        if "message_definitions" in tables:
            query = "SELECT topic_type, encoding, encoded_message_definition"
            rows = database.execute(f"{query} FROM message_definitions ORDER BY id DESC")
            definitions = {kind: (encoding, text) for kind, encoding, text in rows}
        counts = dict(database.execute("SELECT topic_id, count(*) FROM messages GROUP BY topic_id"))
        self._of_id = {}
        rows = database.execute("SELECT id, name, type, serialization_format FROM topics")
        for number, topic, msgtype, encoding in rows:
            form, text = definitions.get(msgtype, ("", ""))
            count = counts.get(number, 0)
            self._of_id[number] = Channel(topic, msgtype, encoding, text, form, count)
        self.channels = tuple(self._of_id.values())

    def messages(self, topics: Collection[str]) -> Iterator[tuple[Channel, int, bytes]]:
        """Yield messages in the order of recording; whatever a column holds comes as bytes.

        Raises:
            StorageError: a time of recording is no whole number.
        """
        numbers = [number for number, channel in self._of_id.items() if channel.topic in topics]
        marks = ", ".join("?" * len(numbers))
        # SQLite keeps a text or nothing in a column of bytes: no message, which costs one frame.
        query = (
            "SELECT topic_id, timestamp, CAST(data AS BLOB) FROM messages"
            f" WHERE topic_id IN ({marks}) ORDER BY timestamp, id"
        )
        for number, stamp_ns, data in self._database.execute(query, numbers):
            channel = self._of_id[number]
            if not isinstance(stamp_ns, int):
                raise StorageError(
                    f"a message on {channel.topic} has a time of recording that is no whole number "
                    f"of nanoseconds: {one_line(str(stamp_ns)[:40])}"
                )
            yield channel, stamp_ns, data or b""


@contextmanager
def open_sqlite(path: Path) -> Iterator[SqliteFile]:
    """Open a SQLite file, with what a recorder that was killed left in ``-wal`` beside it."""
    _check(path)
    path = path.resolve()  # the log lies beside the file, not beside a link to it
    log = path.with_name(path.name + LOG_SUFFIX)
    # An immutable file is read without a lock, and without the log beside it.
    has_log = log.exists() and log.stat().st_size > 0
    mode = "mode=ro" if has_log else "mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True)
        with closing(connection) as database:
            yield SqliteFile(database, is_cut=has_log and log_is_cut(log))
    except sqlite3.DatabaseError as error:
        reason = f"it is damaged: {one_line(error)}"
        if "immutable" not in mode:
            reason = (
                f"{log.name} beside it has what the recorder had not stored yet, and cannot be "
                f"read here ({one_line(error)}); copy both to a folder that can be written"
            )
        raise StorageError(reason) from None


def _check(path: Path) -> None:
    """SQLite reads a file that lost its end until it needs a lost page; look before that.

    Raises:
        StorageError: the file is no database, or shorter than its header says.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(SQLITE_MAGIC):
        raise StorageError("it is damaged: not a SQLite database")
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(header[28:32], "big")
    size = path.stat().st_size
    if size < page * pages:
        raise StorageError(f"it is damaged: {size} bytes of {page * pages}; it was cut off")
