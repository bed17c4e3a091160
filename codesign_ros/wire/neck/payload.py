"""Codes of a neck to a payload and back, and a latent to codes and back.

A payload is its format and flags (1 byte), the level (1 byte), a checksum (4 bytes, little endian:
CRC-32 of all other bytes, begun with the digest of the tables) and what the entropy coder wrote.
How many codes there are is told by the tables alone, so no length in a payload asks for memory.

Where a frame is written after another one, whose codes at the same place say what to expect, that
one's sequence number follows the checksum (4 bytes, modulo 2^32), and the checksum is of its codes
too.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codesign_ros.types.errors import CodesignError
from codesign_ros.wire.neck.coder import coder
from codesign_ros.wire.neck.plain import PROBABILITY_BITS, STATE_BYTES
from codesign_ros.wire.neck.tables import CodeTables
from codesign_ros.wire.refusal import WireError

FORMAT = 1
AFTER = 16
"""Flag beside the format: the frame is written after another one."""

_HEAD = struct.Struct("<BB")
_CHECKSUM = struct.Struct("<I")
_SEQUENCE = struct.Struct("<I")
HEADER_BYTES = _HEAD.size + _CHECKSUM.size
# Sequence numbers are told apart modulo this.
_SEQUENCES = 1 << 32

# What rounding in the coder's state costs a symbol at most [bit]: log2(1 + 2^16 / 2^23).
_ROUNDING_BITS = math.log2(1 + 1 / 128)


@dataclass(frozen=True, eq=False)
class CodedFrame:
    """A frame that both ends have: its sequence number, codes (int8 (C, H, W)) and their level."""

    sequence: int
    codes: np.ndarray
    level: int


def quantise(latent: np.ndarray, tables: CodeTables, level: int) -> np.ndarray:
    """Round a latent to codes.

    Args:
        latent: float32 (1, C, H, W).
        tables: of the neck.
        level: which gains.

    Returns:
        int8 (C, H, W).

    Raises:
        CodesignError: another shape or type, values that are not finite, or no such level.
    """
    _check_level(tables, level)
    if latent.shape != (1, *tables.shape) or latent.dtype != np.float32:
        raise CodesignError(
            f"the neck's latent is float32 {(1, *tables.shape)}, not {latent.dtype} {latent.shape}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = latent[0] * tables.gains[level][:, np.newaxis, np.newaxis]
    np.rint(scaled, out=scaled)
    np.clip(scaled, tables.low, tables.high, out=scaled)
    if np.isnan(scaled).any():
        raise CodesignError("the neck's latent has values that are no numbers; look at its input")
    return scaled.astype(np.int8)


def dequantise(codes: np.ndarray, tables: CodeTables, level: int) -> np.ndarray:
    """Make a latent of codes: one product each, so that equal codes are equal everywhere.

    Args:
        codes: whole numbers (C, H, W).
        tables: of the neck.
        level: with which they were made.

    Returns:
        float32 (1, C, H, W).
    """
    return (codes.astype(np.float32) * tables.steps[level][:, np.newaxis, np.newaxis])[np.newaxis]


def most_payload_bytes(tables: CodeTables, level: int, after: bool = False) -> int:
    """What a payload of this level cannot exceed, whatever the codes [bytes].

    Args:
        tables: of the neck.
        level: of the codes.
        after: whether the frame is written after another one.
    """
    frequencies, header = tables.frequencies[level], HEADER_BYTES
    if after and tables.after is not None:
        frequencies, header = tables.after[level].min(1), HEADER_BYTES + _SEQUENCE.size
    rarest = frequencies.min(-1).astype(np.float64)
    bits = (PROBABILITY_BITS - np.log2(rarest) + _ROUNDING_BITS).sum()
    return header + STATE_BYTES + math.ceil(bits * tables.elements / tables.shape[0] / 8)


def encode_codes(
    codes: np.ndarray, tables: CodeTables, level: int, after: CodedFrame | None = None
) -> bytes:
    """Write codes.

    Args:
        codes: whole numbers (C, H, W).
        tables: of the neck.
        level: which frequencies.
        after: a frame that the receiver has, if the codes are to be written after it; only where
            ``tables.after`` is there.

    Raises:
        CodesignError: another shape, codes out of the tables' range, or no such level.
    """
    _check_level(tables, level)
    if codes.shape != tables.shape or codes.dtype.kind not in "iu":
        raise CodesignError(
            f"the neck's codes are whole numbers {tables.shape}, not {codes.dtype} {codes.shape}"
        )
    if codes.min() < tables.low or codes.max() > tables.high:
        raise CodesignError(
            f"the neck's codes are in {tables.low}..{tables.high}, "
            f"not in {codes.min()}..{codes.max()}"
        )
    symbols = (codes.astype(np.int16) - tables.low).astype(np.uint8).reshape(-1)
    rows, cumulative = _rows_and_table(tables, level, after)
    return sealed(level, coder().encode(symbols, rows, cumulative), tables, after)


def sealed(level: int, body: bytes, tables: CodeTables, after: CodedFrame | None = None) -> bytes:
    """Put the header before what the entropy coder wrote."""
    head = _HEAD.pack(FORMAT, level)
    if after is not None:
        head = _HEAD.pack(FORMAT | AFTER, level)
        body = _SEQUENCE.pack(after.sequence % _SEQUENCES) + body
    return b"".join((head, _CHECKSUM.pack(_checksum(head, body, tables, after)), body))


def decode_codes(
    payload: bytes | bytearray | memoryview,
    tables: CodeTables,
    known: Mapping[int, CodedFrame] | None = None,
) -> tuple[np.ndarray, int]:
    """Read codes, trusting nothing.

    Args:
        payload: any bytes.
        tables: of the receiver's own neck.
        known: frames that the payload may be written after, by their sequence numbers modulo 2^32.

    Returns:
        int8 (C, H, W), and the level.

    Raises:
        WireError: it is not a payload of this neck, or is written after a frame that is not known
            (reason ``reference``); nothing else is ever raised.
    """
    data = memoryview(payload).cast("B")
    if data.nbytes < HEADER_BYTES + STATE_BYTES:
        raise WireError("length", f"a neck's payload of {data.nbytes} bytes is cut off")
    format_, level = _HEAD.unpack_from(data)
    refers = format_ == FORMAT | AFTER and tables.after is not None
    if format_ != FORMAT and not refers:
        raise WireError("codec", f"a neck's payload has format {format_}, not {FORMAT}")
    if level >= tables.levels:
        raise WireError(
            "params", f"a neck's payload has level {level}; levels are 0 to {tables.levels - 1}"
        )
    most = most_payload_bytes(tables, level, refers)
    if data.nbytes > most:
        raise WireError(
            "length", f"a neck's payload of {data.nbytes} bytes; {most} is the most of its level"
        )
    after, body = None, data[HEADER_BYTES:]
    if refers:
        (sequence,) = _SEQUENCE.unpack_from(body)
        after = (known or {}).get(sequence)
        if after is None:
            raise WireError(
                "reference",
                f"a neck's payload is written after frame {sequence}, which is not here",
            )
    (checksum,) = _CHECKSUM.unpack_from(data, _HEAD.size)
    if checksum != _checksum(data[: _HEAD.size], body, tables, after):
        raise WireError("corrupt", "a neck's payload is damaged, or of another network's neck")
    rows, cumulative = _rows_and_table(tables, level, after)
    start = _SEQUENCE.size if refers else 0
    symbols = coder().decode(body[start:], rows, cumulative, -tables.low)
    if symbols is None:
        raise WireError("corrupt", "a neck's payload does not end with its last code")
    codes = (symbols.astype(np.int16) + tables.low).astype(np.int8)
    return codes.reshape(tables.shape), level


def _rows_and_table(
    tables: CodeTables, level: int, after: CodedFrame | None
) -> tuple[np.ndarray, np.ndarray]:
    """What the entropy coder needs: the row of each code, and the table."""
    if after is None:
        return tables.rows, tables.cumulative[level]
    before = after.codes
    if after.level != level:
        # As this level would have rounded it: one product and one rounding, the same everywhere.
        before = quantise(dequantise(before, tables, after.level), tables, level)
    assert tables.cumulative_after is not None, "these tables know no frame before"
    return tables.rows_after(before), tables.cumulative_after[level]


def _check_level(tables: CodeTables, level: int) -> None:
    if not 0 <= level < tables.levels:
        raise CodesignError(f"the neck has no level {level}; levels are 0 to {tables.levels - 1}")


def _checksum(
    head: bytes | memoryview,
    body: bytes | memoryview,
    tables: CodeTables,
    after: CodedFrame | None,
) -> int:
    crc = tables.digest if after is None else zlib.crc32(after.codes.tobytes(), tables.digest)
    return zlib.crc32(body, zlib.crc32(head, crc))
