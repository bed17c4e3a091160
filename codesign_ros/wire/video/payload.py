"""One frame of a stream as a payload, and what is checked before it is decoded.

A payload is its format and flags (1 byte), the number of its stream (4 bytes, little endian), its
place in it (4), a checksum (4) and H.264 of one picture (Annex B). The checksum is a CRC-32 of all
other bytes, begun with that of the frame before: so a payload fits no other stream, and no stream
that lacks a frame.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from codesign_ros.wire.refusal import WireError
from codesign_ros.wire.video.sps import picture_size

FORMAT = 1
KEY = 16
"""Flag beside the format: the frame is the first of its stream, and needs no other."""

_HEAD = struct.Struct("<BII")
_CHECKSUM = struct.Struct("<I")
HEADER_BYTES = _HEAD.size + _CHECKSUM.size

# No frame of ours is larger than its pixels and this much for headers.
_OVERHEAD_BYTES = 4096
_SLICE, _KEY_SLICE, _SEI, _SPS, _PPS = 1, 5, 6, 7, 8
# Our encoder writes one slice, and before it three units at most.
_MOST_UNITS = 8
_START = b"\0\0\1"


class Place(NamedTuple):
    """Where a stream is: its number, that of its newest frame, and that frame's checksum."""

    stream: int
    number: int
    checksum: int


def sealed(stream: int, number: int, before: int, picture: bytes) -> tuple[bytes, Place]:
    """Put the header before a picture.

    Args:
        stream: number of the stream, below 2^32.
        number: place of the frame in it; 0 = it is the first.
        before: checksum of the frame before; 0 of the first.
        picture: H.264.

    Returns:
        The payload, and where the stream is then.
    """
    head = _HEAD.pack(FORMAT | (0 if number else KEY), stream, number)
    checksum = _checksum(head, picture, before)
    return b"".join((head, _CHECKSUM.pack(checksum), picture)), Place(stream, number, checksum)


def opened(
    payload: bytes | bytearray | memoryview, height: int, width: int, after: Place | None
) -> tuple[memoryview, Place]:
    """Check a payload, trusting nothing.

    Args:
        payload: any bytes.
        height: of the pictures that are expected [px], an even number.
        width: likewise.
        after: where the receiver's stream is; None = it has none.

    Returns:
        H.264 of one picture of that size, and where the stream is then.

    Raises:
        WireError: it is not the next payload of this stream, nor the first of another (reason
            ``reference``), or nothing that our encoder writes; nothing else is ever raised.
    """
    data = memoryview(payload).cast("B")
    if not HEADER_BYTES < data.nbytes <= 3 * height * width + _OVERHEAD_BYTES:
        raise WireError("length", f"a frame of H.264 of {data.nbytes} bytes")
    form, stream, number = _HEAD.unpack_from(data)
    if form not in (FORMAT, FORMAT | KEY) or (form == FORMAT | KEY) != (number == 0):
        raise WireError("codec", f"a frame of H.264 has format {form}, not {FORMAT}")
    before = 0
    if number:
        if after is None or (stream, number - 1) != after[:2]:
            raise WireError(
                "reference",
                f"a frame of H.264 is written after frame {number - 1} of a stream, which is not "
                "here",
            )
        before = after.checksum
    (checksum,) = _CHECKSUM.unpack_from(data, _HEAD.size)
    picture = data[HEADER_BYTES:]
    if checksum != _checksum(data[: _HEAD.size], picture, before):
        raise WireError("corrupt", "a frame of H.264 is damaged, or of another stream")
    _check_units(picture, height, width, is_key=number == 0)
    return picture, Place(stream, number, checksum)


def _checksum(head: bytes | memoryview, picture: bytes | memoryview, before: int) -> int:
    return zlib.crc32(picture, zlib.crc32(head, before))


def _check_units(picture: memoryview, height: int, width: int, *, is_key: bool) -> None:
    """Check that there is one picture, and that its size is the expected one wherever it is said.

    Raises:
        WireError: it is not so.
    """
    macroblocks = -(-height // 16), -(-width // 16)
    kinds = []
    for unit in _units(bytes(picture)):
        kind = unit[0] & 31
        kinds.append(kind)
        if len(kinds) > _MOST_UNITS or kind not in (_SLICE, _KEY_SLICE, _SEI, _SPS, _PPS):
            raise WireError("corrupt", "a frame of H.264 has units that our encoder does not write")
        if kind == _SPS:
            try:
                size = picture_size(unit)
            except ValueError as error:
                raise WireError("corrupt", f"a frame of H.264 {error}") from None
            if size != (macroblocks, height, width):
                raise WireError(
                    "shape",
                    f"a frame of H.264 has {size.height} x {size.width} pixels, expected "
                    f"{height} x {width}",
                )
    # A picture amid a stream that is nothing like the one before may need no other either.
    slices = [kind for kind in kinds if kind in (_SLICE, _KEY_SLICE)]
    if len(slices) != 1 or (is_key and (slices[0], kinds[0]) != (_KEY_SLICE, _SPS)):
        raise WireError("corrupt", "a frame of H.264 is not one picture of one slice")


def _units(picture: bytes) -> Iterator[bytes]:
    """NAL units of a byte stream; none where it does not begin with one."""
    start = picture.find(_START, 0, 4)
    while start >= 0:
        begin = start + len(_START)
        start = picture.find(_START, begin)
        unit = picture[begin : start if start >= 0 else None]
        if not unit:
            raise WireError("corrupt", "a frame of H.264 has an empty unit")
        yield unit
