import struct
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.types.errors import CodesignError
from codesign_ros.wire.neck import coder, payload, plain
from codesign_ros.wire.neck.payload import (
    HEADER_BYTES,
    decode_codes,
    dequantise,
    encode_codes,
    most_payload_bytes,
    quantise,
)
from codesign_ros.wire.neck.tables import CodeTables, frequencies_of
from codesign_ros.wire.refusal import REASONS, WireError
from support.neck_tables import codes_of, neck_tables

TABLES = neck_tables()
CODES = codes_of(TABLES, 1, np.random.default_rng(0))
PAYLOAD = encode_codes(CODES, TABLES, 1)


def refuse(data, tables=TABLES):
    """Decode, and return the reason of the refusal that must come."""
    with pytest.raises(WireError) as raised:
        decode_codes(data, tables)
    assert raised.value.reason in REASONS
    assert "\n" not in str(raised.value)
    return raised.value.reason


def sealed(level, body, format_=payload.FORMAT):
    """A payload whose checksum is right, whatever is in it."""
    head = bytes([format_, level])
    checksum = zlib.crc32(body, zlib.crc32(head, TABLES.digest))
    return head + struct.pack("<I", checksum) + body


@pytest.mark.parametrize("level", range(3))
def test_there_and_back(level):
    codes = codes_of(TABLES, level, np.random.default_rng(level))
    data = encode_codes(codes.astype(np.int16), TABLES, level)
    for buffer in (data, bytearray(data), memoryview(data), np.frombuffer(data, np.uint8).data):
        read, of_level = decode_codes(buffer, TABLES)
        assert of_level == level
        assert read.dtype == np.int8
        np.testing.assert_array_equal(read, codes)
    read[:] = 0  # it is the caller's own


def test_format_by_hand():
    """Written once by this code; a change of it is a change of the format."""
    tables = CodeTables(np.ones((1, 2), np.float32), frequencies_of(np.eye(2, 3)[np.newaxis] + 1),
                        -1, (2, 1, 2))  # fmt: skip
    codes = np.int8([[[-1, 0]], [[1, 1]]])
    assert encode_codes(codes, tables, 0).hex() == "0100beeab0ac00001f40"


@pytest.mark.parametrize("writer", ["native", "plain"])
def test_what_one_coder_writes_the_other_reads(writer, monkeypatch):
    both = {"native": coder.native_coder(), "plain": plain}
    monkeypatch.setattr(payload, "coder", lambda: both.pop(writer))
    data = encode_codes(CODES, TABLES, 1)
    ((_, other),) = both.items()
    monkeypatch.setattr(payload, "coder", lambda: other)
    read, _ = decode_codes(data, TABLES)
    np.testing.assert_array_equal(read, CODES)


@pytest.mark.parametrize("code", [-10, 0, 10])
def test_no_codes_exceed_the_bound(code):
    for level in range(TABLES.levels):
        data = encode_codes(np.full(TABLES.shape, code, np.int8), TABLES, level)
        assert len(data) <= most_payload_bytes(TABLES, level)


def test_the_bound_is_close():
    """Codes that are the rarest of their channel come near it."""
    rarest = TABLES.frequencies[2].argmin(-1) + TABLES.low
    codes = np.broadcast_to(rarest[:, np.newaxis, np.newaxis], TABLES.shape)
    most = most_payload_bytes(TABLES, 2)
    assert most - 8 <= len(encode_codes(codes, TABLES, 2)) <= most


def test_each_wrong_field_has_its_reason():
    body = PAYLOAD[HEADER_BYTES:]
    assert sealed(1, body) == PAYLOAD
    assert refuse(b"") == "length"
    assert refuse(PAYLOAD[: HEADER_BYTES + 3]) == "length"
    assert refuse(PAYLOAD + bytes(most_payload_bytes(TABLES, 1))) == "length"
    assert refuse(sealed(1, body, payload.FORMAT + 1)) == "codec"
    assert refuse(sealed(TABLES.levels, body)) == "params"
    assert refuse(sealed(0, body)) == "corrupt"
    assert refuse(sealed(1, body[:-1])) == "corrupt"
    assert refuse(sealed(1, body + b"\0")) == "corrupt"
    assert refuse(sealed(1, b"\xff" * 4)) == "corrupt"


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (6, 7, 5)},
        {"low": -9},
        {"gains": TABLES.gains * np.float32(2)},
        {"frequencies": TABLES.frequencies[..., ::-1].copy()},
    ],
)
def test_a_payload_of_other_tables_is_refused(change):
    assert refuse(PAYLOAD, replace(TABLES, **change)) == "corrupt"


@pytest.mark.parametrize("which", ["native", "plain"])
def test_every_flipped_bit_and_every_end_is_refused(which, monkeypatch):
    each = coder.native_coder() if which == "native" else plain
    monkeypatch.setattr(payload, "coder", lambda: each)
    for bit in range(8 * len(PAYLOAD)):
        data = bytearray(PAYLOAD)
        data[bit // 8] ^= 1 << bit % 8
        assert refuse(data) in ("codec", "params", "corrupt")
    for end in range(len(PAYLOAD)):
        assert refuse(PAYLOAD[:end]) in ("length", "corrupt")


@settings(max_examples=500, deadline=None)
@given(body=st.binary(max_size=120), level=st.integers(0, 2), right=st.booleans())
def test_any_bytes_are_refused_or_decode_to_codes_in_range(body, level, right):
    """Even with a checksum that is right, as only a hostile peer makes it."""
    data = sealed(level, body) if right else body
    try:
        codes, _ = decode_codes(data, TABLES)
    except WireError:
        return
    assert codes.shape == TABLES.shape
    assert codes.min() >= TABLES.low
    assert codes.max() <= TABLES.high


def test_refusals_take_no_memory():
    tables = neck_tables((32, 100, 100), most=31)
    for derived in ("rows", "cumulative", "digest"):
        getattr(tables, derived)
    huge = bytes([payload.FORMAT, 0]) + bytes(50 << 20)
    tracemalloc.start()
    try:
        assert refuse(huge, tables) == "length"
        assert refuse(huge[:50000], tables) == "corrupt"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize("level", [-1, 3])
def test_there_is_no_such_level(level):
    latent = np.zeros((1, *TABLES.shape), np.float32)
    for call in (
        lambda: encode_codes(CODES, TABLES, level),
        lambda: quantise(latent, TABLES, level),
    ):
        with pytest.raises(CodesignError, match=rf"no level {level}; levels are 0 to 2"):
            call()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (CODES[:1], r"whole numbers \(6, 5, 7\), not int8 \(1, 5, 7\)"),
        (CODES.astype(np.float32), "not float32"),
        (np.full(TABLES.shape, 11), r"in -10..10, not in 11..11"),
        (np.full(TABLES.shape, -300, np.int16), r"in -10..10, not in -300"),
    ],
)
def test_codes_that_cannot_be_written_are_refused(codes, message):
    with pytest.raises(CodesignError, match=message):
        encode_codes(codes, TABLES, 0)


def test_codes_are_the_nearest_and_clipped():
    latent = np.random.default_rng(3).normal(size=(1, *TABLES.shape), scale=3).astype(np.float32)
    latent[0, 0, 0, :4] = 1e38, -1e38, np.inf, -np.inf
    codes = quantise(latent, TABLES, 1)
    assert codes.dtype == np.int8
    assert codes[0, 0, :4].tolist() == [10, -10, 10, -10]
    exact = latent[0].astype(np.float64) * TABLES.gains[1].astype(np.float64)[:, None, None]
    inside = np.abs(exact) < 10
    assert np.abs(codes - exact)[inside].max() < 0.5 + 1e-6
    assert (np.abs(codes[~inside]) == 10).all()


def test_half_a_code_goes_to_the_even_one():
    tables = replace(TABLES, gains=np.ones_like(TABLES.gains))
    latent = np.zeros((1, *TABLES.shape), np.float32)
    latent[0, 0, 0, :4] = 0.5, 1.5, -0.5, -2.5
    assert quantise(latent, tables, 0)[0, 0, :4].tolist() == [0, 2, 0, -2]


def test_a_latent_is_one_product_of_each_code():
    latent = dequantise(CODES, TABLES, 1)
    assert latent.dtype == np.float32
    assert latent.shape == (1, *TABLES.shape)
    for channel in range(TABLES.shape[0]):
        step = np.float32(1) / TABLES.gains[1, channel]
        np.testing.assert_array_equal(latent[0, channel], CODES[channel].astype(np.float32) * step)
    np.testing.assert_array_equal(quantise(latent, TABLES, 1), CODES)


@pytest.mark.parametrize(
    ("latent", "message"),
    [
        (np.zeros((6, 5, 7), np.float32), r"float32 \(1, 6, 5, 7\), not float32 \(6, 5, 7\)"),
        (np.zeros((1, 6, 5, 7)), "not float64"),
        (np.full((1, 6, 5, 7), np.nan, np.float32), "no numbers"),
    ],
)
def test_a_latent_that_makes_no_codes_is_refused(latent, message):
    with pytest.raises(CodesignError, match=message):
        quantise(latent, TABLES, 0)
