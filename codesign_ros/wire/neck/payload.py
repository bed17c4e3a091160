"""Codes of a neck to a payload and back, and a latent to codes and back.

A payload is its format (1 byte), the level (1 byte), a checksum (4 bytes, little endian: CRC-32 of
all other bytes, begun with the digest of the tables) and what the entropy coder wrote. How many
codes there are is told by the tables alone, so no length in a payload asks for memory.
"""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np

from codesign_ros.types import CodesignError
from codesign_ros.wire.neck.coder import coder
from codesign_ros.wire.neck.plain import PROBABILITY_BITS, STATE_BYTES
from codesign_ros.wire.neck.tables import CodeTables
from codesign_ros.wire.refusal import WireError

FORMAT = 1

_HEAD = struct.Struct("<BB")
_CHECKSUM = struct.Struct("<I")
HEADER_BYTES = _HEAD.size + _CHECKSUM.size

# What rounding in the coder's state costs a symbol at most [bit]: log2(1 + 2^16 / 2^23).
_ROUNDING_BITS = math.log2(1 + 1 / 128)


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


def most_payload_bytes(tables: CodeTables, level: int) -> int:
    """What a payload of this level cannot exceed, whatever the codes [bytes]."""
    rarest = tables.frequencies[level].min(-1).astype(np.float64)
    bits = (PROBABILITY_BITS - np.log2(rarest) + _ROUNDING_BITS).sum()
    return HEADER_BYTES + STATE_BYTES + math.ceil(bits * tables.elements / tables.shape[0] / 8)


def encode_codes(codes: np.ndarray, tables: CodeTables, level: int) -> bytes:
    """Write codes.

    Args:
        codes: whole numbers (C, H, W).
        tables: of the neck.
        level: which frequencies.

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
    body = coder().encode(symbols, tables.rows, tables.cumulative[level])
    return sealed(level, body, tables)


def sealed(level: int, body: bytes, tables: CodeTables) -> bytes:
    """Put the header before what the entropy coder wrote."""
    head = _HEAD.pack(FORMAT, level)
    return b"".join((head, _CHECKSUM.pack(_checksum(head, body, tables)), body))


def decode_codes(
    payload: bytes | bytearray | memoryview, tables: CodeTables
) -> tuple[np.ndarray, int]:
    """Read codes, trusting nothing.

    Args:
        payload: any bytes.
        tables: of the receiver's own neck.

    Returns:
        int8 (C, H, W), and the level.

    Raises:
        WireError: it is not a payload of this neck; nothing else is ever raised.
    """
    data = memoryview(payload).cast("B")
    if data.nbytes < HEADER_BYTES + STATE_BYTES:
        raise WireError("length", f"a neck's payload of {data.nbytes} bytes is cut off")
    format_, level = _HEAD.unpack_from(data)
    if format_ != FORMAT:
        raise WireError("codec", f"a neck's payload has format {format_}, not {FORMAT}")
    if level >= tables.levels:
        raise WireError(
            "params", f"a neck's payload has level {level}; levels are 0 to {tables.levels - 1}"
        )
    most = most_payload_bytes(tables, level)
    if data.nbytes > most:
        raise WireError(
            "length", f"a neck's payload of {data.nbytes} bytes; {most} is the most of its level"
        )
    (checksum,) = _CHECKSUM.unpack_from(data, _HEAD.size)
    body = data[HEADER_BYTES:]
    if checksum != _checksum(data[: _HEAD.size], body, tables):
        raise WireError("corrupt", "a neck's payload is damaged, or of another network's neck")
    symbols = coder().decode(body, tables.rows, tables.cumulative[level], -tables.low)
    if symbols is None:
        raise WireError("corrupt", "a neck's payload does not end with its last code")
    codes = (symbols.astype(np.int16) + tables.low).astype(np.int8)
    return codes.reshape(tables.shape), level


def _check_level(tables: CodeTables, level: int) -> None:
    if not 0 <= level < tables.levels:
        raise CodesignError(f"the neck has no level {level}; levels are 0 to {tables.levels - 1}")


def _checksum(head: bytes | memoryview, body: bytes | memoryview, tables: CodeTables) -> int:
    return zlib.crc32(body, zlib.crc32(head, tables.digest))
