"""Frames one after the other, each written after one that the receiver is known to have.

The writer refers to no frame but one that was acknowledged (its answer came), and of late enough
that the reader still holds it. So a lost frame costs that frame alone, without a word between the
two: the next one refers to one that did arrive.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from codesign_ros.wire.neck.payload import CodedFrame, decode_codes, encode_codes
from codesign_ros.wire.neck.tables import CodeTables

FRAMES = 16
"""How many frames reader and writer hold: one is acknowledged before so many more are sent."""


class Written(NamedTuple):
    """A frame's payload in the way that takes fewer bytes, and written for itself.

    The second needs no other frame: whoever keeps it can read it whenever.
    """

    shortest: bytes
    alone: bytes


class CodeWriter:
    """Writes the frames of one head; ``acknowledge`` and ``reset`` may be called by any thread."""

    def __init__(self, tables: CodeTables) -> None:
        self._tables = tables
        self._lock = threading.Lock()
        self._sent: OrderedDict[int, CodedFrame] = OrderedDict()
        self._newest: CodedFrame | None = None

    def write(self, codes: np.ndarray, level: int, sequence: int) -> Written:
        """Write a frame for itself, and after another one if that takes fewer bytes.

        Args:
            codes: int8 (C, H, W); kept, so that they must not change afterwards.
            level: which gains and frequencies.
            sequence: number of the frame, above those before.

        Raises:
            CodesignError: see ``encode_codes``.
        """
        shortest = alone = encode_codes(codes, self._tables, level)
        with self._lock:
            after = self._newest if self._tables.after is not None else None
        if after is not None:
            shortest = min(alone, encode_codes(codes, self._tables, level, after), key=len)
        with self._lock:
            self._sent[sequence] = CodedFrame(sequence, codes, level)
            while len(self._sent) > FRAMES:
                gone, _ = self._sent.popitem(last=False)
                if self._newest is not None and self._newest.sequence == gone:
                    self._newest = None
        return Written(shortest, alone)

    def acknowledge(self, sequence: int) -> None:
        """The receiver has decoded that frame."""
        with self._lock:
            frame = self._sent.get(sequence)
            if frame and (self._newest is None or sequence > self._newest.sequence):
                self._newest = frame

    def reset(self) -> None:
        """Nothing is known of the receiver any more: it is another one, or refused a frame."""
        with self._lock:
            self._sent.clear()
            self._newest = None


class CodeReader:
    """Reads the frames of one ``CodeWriter``; for one thread."""

    def __init__(self, tables: CodeTables) -> None:
        self._tables = tables
        self._held: OrderedDict[int, CodedFrame] = OrderedDict()

    def read(
        self, payload: bytes | bytearray | memoryview, sequence: int
    ) -> tuple[np.ndarray, int]:
        """Read a frame, trusting nothing.

        Args:
            payload: any bytes.
            sequence: number of the frame.

        Returns:
            int8 (C, H, W), which must not be changed, and the level.

        Raises:
            WireError: see ``decode_codes``.
        """
        codes, level = decode_codes(payload, self._tables, self._held)
        key = sequence % (1 << 32)
        self._held[key] = CodedFrame(sequence, codes, level)
        self._held.move_to_end(key)
        while len(self._held) > FRAMES:
            self._held.popitem(last=False)
        return codes, level
