import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.wire.neck import coder, payload, plain
from codesign_ros.wire.neck.film import FRAMES, CodeReader, CodeWriter
from codesign_ros.wire.neck.payload import (
    AFTER,
    CodedFrame,
    decode_codes,
    encode_codes,
    most_payload_bytes,
)
from codesign_ros.wire.refusal import WireError
from support.neck_tables import codes_of, film_of, film_tables, neck_tables

TABLES = film_tables()
FILM = film_of(TABLES, 0, 6, np.random.default_rng(1))


def refers(data):
    return bool(data[0] & AFTER)


def refuse(reader, data, sequence):
    with pytest.raises(WireError) as raised:
        reader.read(data, sequence)
    assert "\n" not in str(raised.value)
    return raised.value.reason


def test_after_a_frame_before_there_are_fewer_bytes():
    writer, reader = CodeWriter(TABLES), CodeReader(TABLES)
    sizes = []
    for sequence, codes in enumerate(FILM):
        data = writer.write(codes, 0, sequence).shortest
        assert refers(data) == (sequence > 0)
        read, level = reader.read(data, sequence)
        np.testing.assert_array_equal(read, codes)
        assert level == 0
        sizes.append(len(data))
        writer.acknowledge(sequence)
    alone = [len(encode_codes(codes, TABLES, 0)) for codes in FILM]
    assert sum(sizes[1:]) < 0.8 * sum(alone[1:])


def test_what_stands_alone_is_always_there_too():
    writer = CodeWriter(TABLES)
    for sequence, codes in enumerate(FILM):
        written = writer.write(codes, 0, sequence)
        assert written.alone == encode_codes(codes, TABLES, 0)
        assert len(written.shortest) <= len(written.alone)
        writer.acknowledge(sequence)


def test_a_frame_unlike_the_one_before_is_written_for_itself():
    writer = CodeWriter(TABLES)
    writer.write(FILM[0], 0, 0)
    writer.acknowledge(0)
    other = codes_of(TABLES, 0, np.random.default_rng(9))
    assert writer.write(other, 0, 1).shortest == encode_codes(other, TABLES, 0)


def test_without_tables_for_it_every_frame_stands_alone():
    tables = neck_tables()
    writer = CodeWriter(tables)
    for sequence, codes in enumerate(FILM):
        assert writer.write(codes, 0, sequence).shortest == encode_codes(codes, tables, 0)
        writer.acknowledge(sequence)
    data = encode_codes(FILM[1], TABLES, 0, CodedFrame(0, FILM[0], 0))
    assert refuse(CodeReader(tables), data, 1) == "codec"


def test_a_lost_frame_costs_that_frame_alone():
    writer, reader = CodeWriter(TABLES), CodeReader(TABLES)
    reader.read(writer.write(FILM[0], 0, 0).shortest, 0)
    writer.acknowledge(0)
    writer.write(FILM[1], 0, 1)  # lost, so nobody acknowledges it
    data = writer.write(FILM[2], 0, 2).shortest
    assert refers(data)
    np.testing.assert_array_equal(reader.read(data, 2)[0], FILM[2])


def test_a_receiver_without_the_frame_refuses_and_names_it():
    writer = CodeWriter(TABLES)
    writer.write(FILM[0], 0, 70)
    writer.acknowledge(70)
    data = writer.write(FILM[1], 0, 71).shortest
    with pytest.raises(WireError, match="is written after frame 70, which is not here") as raised:
        CodeReader(TABLES).read(data, 71)
    assert raised.value.reason == "reference"
    writer.reset()
    assert not refers(writer.write(FILM[1], 0, 72).shortest)


def test_another_frame_of_the_same_number_is_refused():
    """As after a restart, when numbers begin anew."""
    data = encode_codes(FILM[1], TABLES, 0, CodedFrame(0, FILM[0], 0))
    reader = CodeReader(TABLES)
    reader.read(encode_codes(FILM[3], TABLES, 0), 0)
    assert refuse(reader, data, 1) == "corrupt"


def test_only_what_both_hold_is_referred_to():
    writer, reader = CodeWriter(TABLES), CodeReader(TABLES)
    for sequence in range(FRAMES):
        data = writer.write(FILM[0], 0, sequence).shortest
        reader.read(data, sequence)
        writer.acknowledge(0)
    assert refers(data)
    # Frame 0 is the oldest that both hold; the next frame written pushes it out.
    last = writer.write(FILM[0], 0, FRAMES).shortest
    assert refers(last)
    reader.read(last, FRAMES)
    assert not refers(writer.write(FILM[0], 0, FRAMES + 1).shortest)
    assert refuse(reader, encode_codes(FILM[0], TABLES, 0, CodedFrame(0, FILM[0], 0)), 17) == (
        "reference"
    )


def test_an_older_acknowledgement_changes_nothing():
    writer = CodeWriter(TABLES)
    for sequence in (0, 1):
        writer.write(FILM[sequence], 0, sequence)
    writer.acknowledge(1)
    expected = encode_codes(FILM[2], TABLES, 0, CodedFrame(1, FILM[1], 0))
    for sequence in (0, 99):
        writer.acknowledge(sequence)
    assert writer.write(FILM[2], 0, 2).shortest == expected


def test_the_level_may_change_between_frames():
    writer, reader = CodeWriter(TABLES), CodeReader(TABLES)
    reader.read(writer.write(FILM[0], 0, 0).shortest, 0)
    writer.acknowledge(0)
    # What level 1, of half the gains, makes of the same latent.
    codes = np.rint(FILM[0] / 2).astype(np.int8)
    data = writer.write(codes, 1, 1).shortest
    assert refers(data)
    read, level = reader.read(data, 1)
    np.testing.assert_array_equal(read, codes)
    assert level == 1


def test_numbers_of_frames_wrap():
    reader = CodeReader(TABLES)
    first = 2**40 + 2**32 - 1
    reader.read(encode_codes(FILM[0], TABLES, 0), first)
    data = encode_codes(FILM[1], TABLES, 0, CodedFrame(first, FILM[0], 0))
    np.testing.assert_array_equal(reader.read(data, first + 1)[0], FILM[1])


@pytest.mark.parametrize("level", range(3))
def test_what_one_coder_writes_the_other_reads(level, monkeypatch):
    native = coder.native_coder()
    before = CodedFrame(0, FILM[0], 0)
    codes = codes_of(TABLES, level, np.random.default_rng(level))
    written = []
    for writes, reads in ((native, plain), (plain, native)):
        monkeypatch.setattr(payload, "coder", lambda each=writes: each)
        written.append(encode_codes(codes, TABLES, level, before))
        monkeypatch.setattr(payload, "coder", lambda each=reads: each)
        np.testing.assert_array_equal(decode_codes(written[-1], TABLES, {0: before})[0], codes)
    assert written[0] == written[1]


@pytest.mark.parametrize("code", [-10, 0, 10])
def test_no_codes_exceed_the_bound(code):
    codes = np.full(TABLES.shape, code, np.int8)
    for level in range(TABLES.levels):
        data = encode_codes(codes, TABLES, level, CodedFrame(0, FILM[0], 0))
        assert len(data) <= most_payload_bytes(TABLES, level, after=True)


def test_every_flipped_bit_and_every_end_is_refused():
    before = CodedFrame(0, FILM[0], 0)
    whole = encode_codes(FILM[1], TABLES, 0, before)
    reasons = set()
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError) as raised:
            decode_codes(data, TABLES, {0: before})
        reasons.add(raised.value.reason)
    assert reasons == {"codec", "params", "corrupt", "reference"}
    for end in range(len(whole)):
        with pytest.raises(WireError):
            decode_codes(whole[:end], TABLES, {0: before})


@settings(max_examples=100, deadline=None)
@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(["arrives", "lost", "answer lost", "refused"]), st.integers(0, 2)
        ),
        max_size=40,
    ),
    delay=st.integers(0, FRAMES + 2),
)
def test_whatever_is_lost_every_frame_that_arrives_is_read(events, delay):
    writer, reader = CodeWriter(TABLES), CodeReader(TABLES)
    answers = []
    for sequence, (event, level) in enumerate(events):
        codes = FILM[sequence % len(FILM)]
        data = writer.write(codes, level, sequence).shortest
        if event == "refused":  # by a receiver that is another one now
            reader = CodeReader(TABLES)
            writer.reset()
            answers.clear()
        elif event != "lost":
            np.testing.assert_array_equal(reader.read(data, sequence)[0], codes)
        if event == "arrives":
            answers.append(sequence)
        while answers and answers[0] + delay <= sequence:
            writer.acknowledge(answers.pop(0))
