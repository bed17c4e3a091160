"""The log that SQLite keeps beside a database (sqlite.org/walformat.html): whether it is whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np

LOG_SUFFIX = "-wal"
"""What the log's name has behind that of its database."""

_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
# In which order the bytes of a checksum's words are read.
_ORDERS = {b"\x37\x7f\x06\x82": "<u4", b"\x37\x7f\x06\x83": ">u4"}
_PAGES_BYTES = tuple(1 << power for power in range(9, 17))


def log_is_cut(log: Path) -> bool:
    """Whether more was written to a log than SQLite takes, which passes over the rest in silence.

    It takes whole transactions up to the first frame whose checksum is wrong, or whose salts are
    not the header's. Frames of other salts behind are left over from a time when the log was
    longer; one that has the header's own is lost.
    """
    with log.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        order, page_bytes = _ORDERS.get(header[:4]), int.from_bytes(header[8:12], "big")
        if len(header) < _HEADER_BYTES or order is None or page_bytes not in _PAGES_BYTES:
            return True
        sums = _Checksum(order, _FRAME_HEADER_BYTES + page_bytes)
        if sums.add(header[:24]) != header[24:]:
            return True
        goes_on = is_committed = True
        while frame := file.read(_FRAME_HEADER_BYTES + page_bytes):
            if len(frame) < _FRAME_HEADER_BYTES + page_bytes:
                return True
            is_own = frame[8:16] == header[16:24]
            # What a frame's checksum is over: page number, size after a commit, and the page.
            goes_on = goes_on and is_own and sums.add(frame[:8] + frame[24:]) == frame[16:24]
            if is_own and not goes_on:
                return True
            if goes_on:
                is_committed = any(frame[4:8])
    return not is_committed


class _Checksum:
    """SQLite's running checksum: of each pair of words x, y it makes a += x + b, then b += y + a.

    So every word counts as often as a Fibonacci number says, the last one least, modulo 2**32.

    Args:
        order: of the bytes in a word, as numpy has it.
        most_bytes: how many are added at once at most.
    """

    def __init__(self, order: str, most_bytes: int) -> None:
        self._order = order
        self._first, self._second = 0, 0
        numbers = [1, 0]
        while len(numbers) < most_bytes // 4 + 2:
            numbers.insert(0, (numbers[0] + numbers[1]) % 2**32)
        self._fibonacci = np.array(numbers, np.uint32)

    def add(self, data: bytes) -> bytes:
        """Go on over some bytes, a multiple of eight; return both sums as they are stored."""
        words = np.frombuffer(data, self._order).astype(np.uint32)
        # What was summed up before counts as a word in front of the first, and with the first.
        words = np.insert(words, 0, self._second)
        words[1] = (int(words[1]) + self._first) % 2**32
        often = self._fibonacci[-len(words) - 1 :]
        self._first = int(np.dot(words, often[1:]))
        self._second = int(np.dot(words, often[:-1]))
        return self._first.to_bytes(4, "big") + self._second.to_bytes(4, "big")
