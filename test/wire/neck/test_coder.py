"""The coder in C against the one in Python: the same bytes, and the same of any bytes."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.wire.neck import coder, plain
from codesign_ros.wire.neck.tables import TOTAL, frequencies_of


@pytest.fixture(scope="module")
def native():
    """Missing means that the build left it out, which is a failure and no reason to skip."""
    return coder.native_coder()


@st.composite
def tables(draw):
    """Cumulative frequencies (rows, symbols + 1), some of them as uneven as they can be."""
    symbols = draw(st.sampled_from([2, 3, 21, 63, 256]))
    rows = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.random((rows, symbols)) ** draw(st.sampled_from([1, 8, 100])) + 1e-300
    ends = np.cumsum(frequencies_of(weights), axis=-1, dtype=np.uint32)
    return np.concatenate([np.zeros((rows, 1), np.uint32), ends], axis=-1)


@st.composite
def messages(draw):
    """(symbols, rows, table); symbols are likely ones, or any."""
    table = draw(tables())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.sampled_from([0, 1, 2, 7, 100, 1000]))
    rows = rng.integers(0, len(table), n).astype(np.uint16)
    if draw(st.booleans()):
        slots = rng.integers(0, TOTAL, n)
        symbols = (table[rows] <= slots[:, np.newaxis]).sum(-1) - 1
    else:
        symbols = rng.integers(0, table.shape[1] - 1, n)
    return symbols.astype(np.uint8), rows, table


@settings(max_examples=300, deadline=None)
@given(message=messages(), data=st.data())
def test_both_write_the_same_bytes_and_read_them(native, message, data):
    symbols, rows, table = message
    written = native.encode(symbols, rows, table)
    assert written == plain.encode(symbols, rows, table)
    likely = data.draw(st.integers(0, table.shape[1] - 2))
    for each in (native, plain):
        read = each.decode(memoryview(written), rows, table, likely)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, symbols)


@settings(max_examples=300, deadline=None)
@given(message=messages(), data=st.data())
def test_both_make_the_same_of_any_bytes(native, message, data):
    symbols, rows, table = message
    written = bytearray(native.encode(symbols, rows, table))
    if data.draw(st.booleans()):
        written = data.draw(st.binary(max_size=40))
    else:
        written[data.draw(st.integers(0, len(written) - 1))] ^= data.draw(st.integers(1, 255))
    read = [each.decode(memoryview(written), rows, table, 1) for each in (native, plain)]
    if read[0] is None:
        assert read[1] is None
    else:
        np.testing.assert_array_equal(*read)
        assert read[0].max(initial=0) < table.shape[1] - 1


@pytest.mark.parametrize("which", ["native", "plain"])
def test_a_byte_more_or_less_is_no_end(which, native):
    rng = np.random.default_rng(0)
    table = np.uint32([[0, 20000, 60000, TOTAL]])
    symbols, rows = rng.integers(0, 3, 500).astype(np.uint8), np.zeros(500, np.uint16)
    each = native if which == "native" else plain
    written = each.encode(symbols, rows, table)
    for wrong in (*(written[:end] for end in range(len(written))), written + b"\0"):
        assert each.decode(memoryview(wrong), rows, table, 0) is None


def test_length_is_close_to_the_entropy(native):
    rng = np.random.default_rng(1)
    p = np.array([0.001, 0.01, 0.05, 0.88, 0.05, 0.008, 0.001])
    frequencies = frequencies_of(p)
    table = np.concatenate([[0], np.cumsum(frequencies)]).astype(np.uint32)[np.newaxis]
    symbols = rng.choice(7, size=32000, p=p).astype(np.uint8)
    counts = np.bincount(symbols)
    counted = -(counts * np.log2(counts / counts.sum())).sum() / 8
    written = native.encode(symbols, np.zeros(32000, np.uint16), table)
    assert counted < len(written) < 1.01 * counted


def test_the_rarest_symbols_fit_what_is_set_aside(native):
    """Each of them takes 16 bits and a little."""
    table = np.uint32([[0, 1, TOTAL]])
    symbols, rows = np.zeros(20000, np.uint8), np.zeros(20000, np.uint16)
    written = native.encode(symbols, rows, table)
    assert len(written) >= 40000
    np.testing.assert_array_equal(native.decode(memoryview(written), rows, table, 1), symbols)


def test_the_slow_one_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(coder, "LIBRARY", "libnowhere.so")
    coder.coder.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert coder.coder() is plain
            assert coder.coder() is plain
    finally:
        coder.coder.cache_clear()
    (record,) = caplog.records
    assert "the coder in C was not built; build the package again" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_library_of_another_build_is_not_used(monkeypatch):
    monkeypatch.setattr(coder, "_INTERFACE", 0)
    with pytest.raises(OSError, match="of another build of the package"):
        coder.native_coder()
