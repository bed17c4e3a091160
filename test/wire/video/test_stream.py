"""Frames as a stream of H.264: read as FFmpeg alone reads them, in order alone, never trusted."""

import contextlib
import struct
import zlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codesign_ros.types.errors import CodesignError
from codesign_ros.wire.refusal import WireError
from codesign_ros.wire.video import stream
from codesign_ros.wire.video.payload import HEADER_BYTES, KEY
from codesign_ros.wire.video.sps import picture_size
from codesign_ros.wire.video.stream import REFRESH_FRAMES, FrameReader, FrameWriter
from support.tiny import tiny_frames

av = pytest.importorskip("av")

HEIGHT, WIDTH, RATE = 64, 96, 23


def film(count, height=HEIGHT, width=WIDTH):
    """A camera that moves over a picture, two pixels a frame."""
    first, other = tiny_frames(2, seed=5)
    wide = np.concatenate([first, other], 1)
    pan = [np.roll(wide, -2 * number, 1)[:height, :width] for number in range(count)]
    return [np.ascontiguousarray(frame) for frame in pan]


@pytest.fixture
def writer():
    return FrameWriter(HEIGHT, WIDTH, RATE)


@pytest.fixture
def reader():
    return FrameReader(HEIGHT, WIDTH)


def refused(reader, payload):
    with pytest.raises(WireError) as caught:
        reader.read(payload)
    return caught.value.reason


def is_key(payload):
    return bool(payload[0] & KEY)


def resealed(payload, picture, before=0):
    """The payload with another picture and the checksum that it then has."""
    head = payload[:9]
    checksum = zlib.crc32(picture, zlib.crc32(head, before))
    return head + struct.pack("<I", checksum) + picture


@pytest.mark.parametrize("size", [(64, 96), (63, 95), (48, 33)])
def test_each_frame_is_what_ffmpeg_alone_makes_of_it(size):
    """Against one encoder and one decoder that see the film without a wire between."""
    from codesign_ros.evaluation.rate.video import FORMATS, VideoCoder

    alone = VideoCoder(FORMATS[0], RATE, 30.0)
    writer, reader = FrameWriter(*size, RATE), FrameReader(*size)
    keys = []
    for number, frame in enumerate(film(REFRESH_FRAMES + 10, *size)):
        payload = writer.write(frame, number)
        coded = alone.code(frame)
        np.testing.assert_array_equal(reader.read(payload), coded.image)
        assert len(payload) == coded.payload_bytes + HEADER_BYTES
        keys.append(is_key(payload))
    assert keys == [True] + [False] * (REFRESH_FRAMES + 9)


def test_a_frame_costs_less_after_the_one_before(writer):
    sizes = [len(writer.write(frame, number)) for number, frame in enumerate(film(20))]
    assert np.mean(sizes[1:]) < 0.5 * sizes[0]
    assert len(writer.alone(film(1)[0])) == sizes[0]


def test_a_film_that_jumps_to_other_scenes(writer, reader):
    """The encoder may write a picture there that needs no other, in the same stream."""
    from codesign_ros.evaluation.rate.video import FORMATS, VideoCoder

    alone = VideoCoder(FORMATS[0], RATE, 30.0)
    scenes = [np.roll(scene, 3 * n, 1) for scene in tiny_frames(4, seed=8) for n in range(40)]
    kinds = set()
    for number, frame in enumerate(scenes):
        payload = writer.write(frame, number)
        assert is_key(payload) == (number == 0)
        kinds |= {
            payload[at + 3] & 31 for at in range(len(payload)) if payload[at : at + 3] == b"\0\0\1"
        }
        np.testing.assert_array_equal(reader.read(payload), alone.code(frame).image)
    assert {1, 5} <= kinds


def test_a_coarser_rate_takes_fewer_bytes_and_loses_more():
    sizes, errors = [], []
    for rate in (18, 23, 28):
        writer, reader = FrameWriter(HEIGHT, WIDTH, rate), FrameReader(HEIGHT, WIDTH)
        payloads = [writer.write(frame, number) for number, frame in enumerate(film(10))]
        read = [reader.read(payload) for payload in payloads]
        sizes.append(sum(map(len, payloads)))
        errors.append(np.abs(np.subtract(read, film(10), dtype=float)).mean())
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)


def test_after_a_lost_frame_nothing_is_read_until_a_stream_begins(writer, reader):
    frames = film(8)
    for number in (0, 1):
        reader.read(writer.write(frames[number], number))
    writer.write(frames[2], 2)  # lost
    for number in (3, 4):
        assert refused(reader, writer.write(frames[number], number)) == "reference"
    writer.forget(3)
    begun = writer.write(frames[5], 5)
    assert is_key(begun)
    # The word that the fourth was refused too comes late, and says nothing of the new stream.
    writer.forget(4)
    after = writer.write(frames[6], 6)
    assert not is_key(after)
    for payload, frame in ((begun, frames[5]), (after, frames[6])):
        assert np.abs(reader.read(payload).astype(int) - frame).mean() < 8
    writer.forget(6)
    assert is_key(writer.write(frames[7], 7))


def test_no_frame_is_read_twice_or_by_another_stream(writer, reader):
    frames = film(4)
    key, *others = [writer.write(frame, number) for number, frame in enumerate(frames)]
    assert refused(reader, others[0]) == "reference"
    reader.read(key)
    reader.read(others[0])
    assert refused(reader, others[0]) == "reference"
    other = FrameWriter(HEIGHT, WIDTH, RATE)
    theirs = [other.write(frame, number) for number, frame in enumerate(frames)]
    assert refused(reader, theirs[2]) == "reference"
    reader.read(others[1])  # what was refused has changed nothing
    # The same numbers with another frame before them: the checksum tells.
    stolen = resealed(others[2], others[2][HEADER_BYTES:], before=12345)
    assert refused(reader, stolen) == "corrupt"
    reader.read(others[2])


def test_a_frame_that_is_not_of_the_stream_is_a_defect(writer):
    with pytest.raises(CodesignError, match=r"frames of this stream are uint8 \(64, 96, 3\), not"):
        writer.write(film(1)[0][:60], 0)
    assert is_key(writer.write(film(1)[0], 1))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_changed_payload_is_refused(data):
    writer, reader = FrameWriter(HEIGHT, WIDTH, RATE), FrameReader(HEIGHT, WIDTH)
    key, after = (writer.write(frame, number) for number, frame in enumerate(film(2)))
    if data.draw(st.booleans()):
        reader.read(key)
        key = after
    changed = bytearray(key)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(changed)))
    changed = changed[:cut] if data.draw(st.booleans()) else changed
    if bytes(changed) != key:
        assert refused(reader, changed) in ("length", "codec", "reference", "corrupt")


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_somebody_made_on_purpose_is_refused_or_read_as_a_picture(data):
    """With the checksum that its content has: what remains is up to our checks, and to FFmpeg."""
    writer, reader = FrameWriter(HEIGHT, WIDTH, RATE), FrameReader(HEIGHT, WIDTH)
    key = writer.write(film(1)[0], 0)
    picture = bytearray(key[HEADER_BYTES:])
    for _ in range(data.draw(st.integers(1, 8))):
        picture[data.draw(st.integers(0, len(picture) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.none() | st.integers(0, len(picture)))
    picture = bytes(picture[:end]) + data.draw(st.binary(max_size=20))
    with contextlib.suppress(WireError):
        read = reader.read(resealed(key, picture))
        assert (read.shape, read.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)


@pytest.mark.parametrize("size", [(64, 98), (80, 96), (62, 96), (16, 384), (2000, 3000)])
def test_another_size_is_refused_before_a_decoder_is_made(size, reader, monkeypatch):
    frame = np.zeros((*size, 3), np.uint8)
    payload = FrameWriter(*size, RATE).write(frame, 0)
    monkeypatch.setattr(reader, "_new_decoder", lambda *args: pytest.fail("a decoder was made"))
    assert refused(reader, payload) == "shape"


@pytest.mark.parametrize("size", [(64, 96), (62, 90), (480, 640), (1080, 1920)])
@pytest.mark.parametrize("profile", ["baseline", "main", "high"])
def test_the_size_that_a_stream_announces_is_what_ffmpeg_reads(size, profile):
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = size
    encoder.pix_fmt, encoder.framerate = "yuv420p", 30
    encoder.time_base = Fraction(1, 30)
    encoder.options = {"tune": "zerolatency", "preset": "ultrafast", "profile": profile}
    frame = av.VideoFrame(size[1], size[0], "yuv420p")
    frame.pts = 0
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    (packet,) = encoder.encode(frame)
    data = bytes(packet)
    start = data.index(b"\0\0\1\x67") + 3
    found = picture_size(data[start : data.index(b"\0\0\1", start)])
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    (read,) = decoder.decode(av.Packet(data))
    assert (found.height, found.width) == (read.height, read.width) == size
    assert found.macroblocks == (decoder.coded_height // 16, decoder.coded_width // 16)


@given(sps=st.binary(max_size=40))
def test_any_bytes_are_a_size_or_no_parameter_set(sps):
    try:
        size = picture_size(sps)
    except ValueError:
        return
    assert min(size.macroblocks) > 0


def test_without_pyav_there_is_one_clear_line(monkeypatch):
    for writes, what, lacking in ((True, "written", "libx264"), (False, "read", "h264")):
        stream._av.cache_clear()
        with monkeypatch.context() as patched:
            patched.setitem(__import__("sys").modules, "av", None)
            with pytest.raises(CodesignError, match=f"H.264 cannot be {what} here: PyAV is not"):
                (FrameWriter(HEIGHT, WIDTH, RATE) if writes else FrameReader(HEIGHT, WIDTH))
        with monkeypatch.context() as patched:
            patched.setattr(stream, "ENCODER", "libx264-not")
            patched.setattr(stream, "DECODER", "h264-not")
            with pytest.raises(CodesignError, match=f"this build of PyAV has no {lacking}-not"):
                (FrameWriter(HEIGHT, WIDTH, RATE) if writes else FrameReader(HEIGHT, WIDTH))
    stream._av.cache_clear()
