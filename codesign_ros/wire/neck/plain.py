"""The entropy coder of ``rans.c`` in Python, to the same bytes; many times slower."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

PROBABILITY_BITS = 16
STATE_BYTES = 4
_LOWEST_STATE = 1 << 23
_SLOTS = (1 << PROBABILITY_BITS) - 1


def encode(symbols: np.ndarray, rows: np.ndarray, cumulative: np.ndarray) -> bytes:
    """Write symbols; see ``coder.Coder``."""
    starts = cumulative[rows, symbols]
    frequencies = cumulative[rows, symbols.astype(np.intp) + 1] - starts
    state, backwards = _LOWEST_STATE, bytearray()
    # The decoder takes last what is written first.
    for start, frequency in zip(starts[::-1].tolist(), frequencies[::-1].tolist(), strict=True):
        limit = frequency << 15
        while state >= limit:
            backwards.append(state & 255)
            state >>= 8
        above, rest = divmod(state, frequency)
        state = (above << PROBABILITY_BITS) + rest + start
    backwards.reverse()
    return state.to_bytes(STATE_BYTES, "little") + bytes(backwards)


def decode(
    data: memoryview, rows: np.ndarray, cumulative: np.ndarray, likely: int
) -> np.ndarray | None:
    """Read symbols; see ``coder.Coder``."""
    state = int.from_bytes(data[:STATE_BYTES], "little")
    if len(data) < STATE_BYTES or not _LOWEST_STATE <= state < 1 << 31:
        return None
    table, rest, symbols = cumulative.tolist(), iter(data[STATE_BYTES:]), bytearray()
    for number in rows.tolist():
        row, slot = table[number], state & _SLOTS
        symbol = bisect_right(row, slot) - 1
        start = row[symbol]
        state = (row[symbol + 1] - start) * (state >> PROBABILITY_BITS) + slot - start
        while state < _LOWEST_STATE:
            byte = next(rest, None)
            if byte is None:
                return None
            state = state << 8 | byte
        symbols.append(symbol)
    if state != _LOWEST_STATE or next(rest, None) is not None:
        return None
    return np.frombuffer(symbols, np.uint8)
