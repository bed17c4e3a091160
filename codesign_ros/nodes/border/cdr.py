"""Reads a serialized message's lengths against limits, before memory is taken for it.

Decoding believes what a message says of itself: 2 MB that claim two million tensors make a node
take 500 MB before they are found to be too short. Here nothing is kept of a message; it is walked
through once, by the layout that its type has in CDR (DDS XTypes 1.3, 7.4.1: plain CDR, version 1).
"""

from __future__ import annotations

import importlib
import itertools
import re
import struct
from collections.abc import Callable
from typing import Any

from codesign_ros.nodes.border.limits import Limits
from codesign_ros.types.errors import CodesignError

HEADER_BYTES = 4
"""Before every serialized message [bytes]."""
COUNTS = {0: struct.Struct(">I"), 1: struct.Struct("<I")}
"""How counts are written, by the second byte of the header; the first is 0 in both."""
_SIZES = {
    **dict.fromkeys(("boolean", "octet", "uint8", "int8", "char", "byte"), 1),
    **dict.fromkeys(("uint16", "int16"), 2),
    **dict.fromkeys(("uint32", "int32", "float"), 4),
    **dict.fromkeys(("uint64", "int64", "double"), 8),
}
_WIDEST = 8
# No message may write more than one line of a log, or write it backwards.
_NOT_TEXT = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Writers fill up to a multiple of four bytes.
_PADDING_BYTES = 3

# Takes the message without its header, where a field begins and how counts are written; returns
# where it ends, which may be beyond the message's end.
_Walk = Callable[[memoryview, int, struct.Struct], int]


class Layout:
    """The layout of one type of messages.

    Args:
        kind: the type, of a message or of one side of a service.
        limits: what is taken of it.
    """

    def __init__(self, kind: Any, limits: Limits) -> None:
        self._name = kind.__name__.lstrip("_")
        self._limits = limits
        self._walk = _message(kind, limits)

    def check(self, data: bytes) -> None:
        """Check a serialized message.

        Raises:
            CodesignError: it is too large, or a part of it is; a string is no text of one line; or
                the bytes are no message of this type.
        """
        most = self._limits.message_bytes
        if len(data) > most:
            raise CodesignError(f"{self._name} of {len(data)} bytes; at most {most} are taken")
        view = memoryview(data)
        count = COUNTS.get(view[1]) if len(data) >= HEADER_BYTES and view[0] == 0 else None
        if count is None:
            raise CodesignError(f"{self._name} of {len(data)} bytes has no header of CDR")
        body = view[HEADER_BYTES:]
        try:
            end = self._walk(body, 0, count)
        except CodesignError as error:
            raise CodesignError(f"{self._name}: {error}") from None
        except struct.error:
            end = len(body) + 1
        if end > len(body):
            raise CodesignError(
                f"{self._name} of {len(data)} bytes is cut off, or of another version of the "
                "package"
            )
        if end < len(body) - _PADDING_BYTES:
            raise CodesignError(
                f"{self._name} goes on for {len(body) - end} bytes after its end; is it of another "
                "version of the package?"
            )


def _message(kind: Any, limits: Limits) -> _Walk:
    return _one_after_another(_steps(kind, limits))


def _steps(kind: Any, limits: Limits) -> list[_Walk | int]:
    """What a message has in it, those within it too; a number is an int, its size [bytes]."""
    steps: list[_Walk | int] = []
    for name, words in kind.get_fields_and_field_types().items():
        if "/" in words and not words.endswith(("]", ">")):
            steps += _steps(_kind(words), limits)
        else:
            steps.append(_SIZES[words] if words in _SIZES else _field(name, words, limits))
    return steps


def _one_after_another(steps: list[_Walk | int]) -> _Walk:
    """Walk along these; numbers in a row are passed in one step."""
    walks: list[_Walk] = []
    for are_numbers, group in itertools.groupby(steps, lambda step: isinstance(step, int)):
        members: list[Any] = list(group)
        walks += [_numbers(members)] if are_numbers else members

    def walk(body: memoryview, at: int, count: struct.Struct) -> int:
        for each in walks:
            at = each(body, at, count)
        return at

    return walks[0] if len(walks) == 1 else walk


def _kind(words: str) -> Any:
    package, _, kind = words.partition("/")
    return getattr(importlib.import_module(f"{package}.msg"), kind)


def _field(name: str, words: str, limits: Limits) -> _Walk:
    """Make the walk over one field, by the words in which rosidl tells its type."""
    if words.startswith("sequence<"):
        of = words[len("sequence<") : -1].partition(",")[0]
        return _sequence(name, of, limits)
    if words.endswith("]"):
        of, _, size = words[:-1].rpartition("[")
        return _one_after_another([_SIZES.get(of) or _field(name, of, limits)] * int(size))
    if words in _SIZES:
        return _numbers([_SIZES[words]])
    if words.startswith("string"):
        return _string(name, limits.strings.get(name, limits.string_bytes))
    return _message(_kind(words), limits)


def _numbers(sizes: list[int]) -> _Walk:
    # Each stands at a multiple of its size, so how long all are depends on where they begin.
    lengths = []
    for begin in range(_WIDEST):
        at = begin
        for size in sizes:
            at += -at % size + size
        lengths.append(at - begin)

    def walk(body: memoryview, at: int, count: struct.Struct) -> int:
        return at + lengths[at % _WIDEST]

    return walk


def _string(name: str, most: int) -> _Walk:
    def walk(body: memoryview, at: int, count: struct.Struct) -> int:
        at += -at % 4
        (length,) = count.unpack_from(body, at)
        # The zero at the end counts.
        if length > most + 1:
            raise CodesignError(f"{name} has {length - 1} bytes, at most {most} are taken")
        at += 4 + length
        # Some decoders take a last character that is no zero as a part of the text.
        if length and at <= len(body) and body[at - 1] != 0:
            raise CodesignError(f"{name} does not end with a zero")
        try:
            text = str(body[at - length : at - 1], "utf-8") if length else ""
        except UnicodeDecodeError:
            raise CodesignError(f"{name} is no text in UTF-8") from None
        if not text.isprintable() and _NOT_TEXT.search(text):
            raise CodesignError(f"{name} has control characters in it")
        return at

    return walk


def _sequence(name: str, of: str, limits: Limits) -> _Walk:
    most = limits.sequences.get(name, limits.entries)
    size = _SIZES.get(of)
    entry = _field(name, of, limits)

    def walk(body: memoryview, at: int, count: struct.Struct) -> int:
        at += -at % 4
        (entries,) = count.unpack_from(body, at)
        if entries > most:
            raise CodesignError(f"{name} has {entries} entries, at most {most} are taken")
        at += 4
        if size is not None:
            return at + (-at % size + entries * size if entries else 0)
        for _ in range(entries):
            at = entry(body, at, count)
        return at

    return walk
