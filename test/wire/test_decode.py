import struct
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.types.tensors import TensorSpec
from codesign_ros.wire.codecs import (
    FRAME_CODECS,
    KNOWN_CODECS,
    TENSOR_CODECS,
    encode,
)
from codesign_ros.wire.decode import WireError, WireLimits, decode
from codesign_ros.wire.refusal import REASONS
from codesign_ros.wire.tensor import EncodedTensor

RNG = np.random.default_rng(0)
TENSOR = RNG.normal(size=(1, 4, 5, 7)).astype(np.float32)
SPEC = TensorSpec("stage1.0", TENSOR.shape)
FRAME = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
FRAME_SPEC = TensorSpec("image", FRAME.shape, "uint8")
GOOD = [(encode(SPEC.name, TENSOR, codec), SPEC) for codec in TENSOR_CODECS] + [
    (encode(FRAME_SPEC.name, FRAME, codec), FRAME_SPEC) for codec in FRAME_CODECS
]
GOOD_IDS = [f"{spec.dtype}-{encoded.codec}" for encoded, spec in GOOD]


def refuse(encoded: EncodedTensor, spec: TensorSpec, limits: WireLimits | None = None) -> str:
    """Decode, and return the reason of the refusal that must come."""
    with pytest.raises(WireError) as raised:
        decode(encoded, spec, limits or WireLimits())
    assert raised.value.reason in REASONS
    assert "\n" not in str(raised.value)
    return raised.value.reason


@pytest.mark.parametrize(("encoded", "spec"), GOOD, ids=GOOD_IDS)
def test_each_wrong_field_has_its_reason(encoded, spec):
    assert refuse(replace(encoded, name="stage9"), spec) == "name"
    assert refuse(replace(encoded, dtype="float64"), spec) == "dtype"
    assert refuse(replace(encoded, shape=(*spec.shape, 1)), spec) == "shape"
    assert refuse(replace(encoded, shape=(2**32 - 1,) * 4), spec) == "shape"
    assert refuse(replace(encoded, codec="pickle"), spec) == "codec"
    assert refuse(encoded, spec, WireLimits(max_tensor_bytes=spec.nbytes - 1)) == "limit"
    extra = np.append(encoded.scale, np.float32(1))
    assert refuse(replace(encoded, scale=extra), spec) == "params"
    assert refuse(replace(encoded, offset=extra), spec) == "params"
    decode(encoded, spec, WireLimits(max_tensor_bytes=spec.nbytes))


@pytest.mark.parametrize(("encoded", "spec"), GOOD, ids=GOOD_IDS)
def test_every_truncation_is_refused(encoded, spec):
    # Every place near the ends, some in the middle.
    size = len(encoded.data)
    for end in {*range(min(size, 40)), *range(40, size, 37), *range(max(size - 40, 0), size)}:
        assert refuse(replace(encoded, data=encoded.data[:end]), spec) in ("length", "corrupt")


@pytest.mark.parametrize(("encoded", "spec"), GOOD, ids=GOOD_IDS)
def test_bytes_after_the_end_are_refused(encoded, spec):
    assert refuse(replace(encoded, data=bytes(encoded.data) + b"\0"), spec) in (
        "length",
        "corrupt",
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0, 3e38])
@pytest.mark.parametrize("codec", ["uint8", "uint4+zstd"])
def test_scale_out_of_range_is_refused(codec, bad):
    encoded = encode(SPEC.name, TENSOR, codec)
    scale = encoded.scale.copy()
    scale[2] = bad
    assert refuse(replace(encoded, scale=scale), SPEC) == "params"
    if bad != -1.0:
        assert refuse(replace(encoded, offset=scale), SPEC) == "params"
        assert refuse(replace(encoded, scale=scale, offset=-scale), SPEC) == "params"


@pytest.mark.parametrize("codec", ["raw+zstd", "fp16+zstd", "uint8+zstd", "uint4+zstd"])
def test_every_flipped_bit_in_zstd_is_refused_or_harmless(codec):
    encoded = encode(SPEC.name, TENSOR, codec)
    whole = decode(encoded, SPEC, WireLimits())
    refused = 0
    for bit in range(0, 8 * len(encoded.data), 3):
        data = bytearray(encoded.data)
        data[bit // 8] ^= 1 << bit % 8
        try:
            decoded = decode(replace(encoded, data=bytes(data)), SPEC, WireLimits())
        except WireError:
            refused += 1
        else:
            # Bits that zstd itself does not use.
            np.testing.assert_array_equal(decoded, whole)
    assert refused > 8 * len(encoded.data) / 3 * 0.98


def bomb(size: int, *, declared: bool) -> bytes:
    compressor = zstandard.ZstdCompressor(level=1, write_content_size=declared)
    return compressor.compress(bytes(size))


def lying_frame(declared: int, actual: int) -> bytes:
    """Return a zstd frame whose header declares 256..65791 bytes and which holds ``actual``."""
    # RFC 8878 3.1.1: magic; single segment, content size in two bytes (less 256); one last RLE
    # block, whose three-byte header holds the number of times that its one byte repeats.
    header = b"\x28\xb5\x2f\xfd" + bytes([0x60]) + struct.pack("<H", declared - 256)
    return header + (1 | 1 << 1 | actual << 3).to_bytes(3, "little") + b"\0"


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (bomb(1 << 28, declared=True), ("length",)),
        (bomb(1 << 28, declared=False), ("length",)),
        (bomb(SPEC.nbytes, declared=False), ("length",)),
        (lying_frame(SPEC.nbytes, 120_000), ("corrupt",)),
        (lying_frame(SPEC.nbytes, SPEC.nbytes - 1), ("corrupt",)),
        (bomb(SPEC.nbytes, declared=True) * 2, ("corrupt",)),
        # Not a single segment; a window of 1 GiB for the right content size; no blocks follow.
        (
            b"\x28\xb5\x2f\xfd" + bytes([0x40, 20 << 3]) + struct.pack("<H", SPEC.nbytes - 256),
            ("limit",),
        ),
        # A skippable frame in front.
        (struct.pack("<II", 0x184D2A50, 4) + b"abcd", ("corrupt", "length")),
        (b"", ("corrupt",)),
    ],
    ids=[
        "declared",
        "undeclared",
        "right-size-undeclared",
        "lie-long",
        "lie-short",
        "two-frames",
        "window",
        "skippable",
        "empty",
    ],
)
def test_zstd_bombs_are_refused_without_memory(data, reasons):
    encoded = EncodedTensor(SPEC.name, "float32", SPEC.shape, "raw+zstd", data)
    tracemalloc.start()
    reason = refuse(encoded, SPEC)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reason in reasons
    assert peak_bytes < 1 << 20


def test_a_lying_frame_that_tells_the_truth_is_read():
    encoded = EncodedTensor(
        SPEC.name, "float32", SPEC.shape, "raw+zstd", lying_frame(SPEC.nbytes, SPEC.nbytes)
    )
    np.testing.assert_array_equal(decode(encoded, SPEC, WireLimits()), np.zeros(SPEC.shape))


def jpeg(frame: np.ndarray, *flags: int) -> bytes:
    return cv2.imencode(".jpg", frame, list(flags))[1].tobytes()


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (jpeg(np.zeros((25, 32, 3), np.uint8)), ("shape",)),
        (jpeg(np.zeros((32, 24, 3), np.uint8)), ("shape",)),
        (jpeg(np.zeros((3000, 4000, 3), np.uint8)), ("length", "shape")),
        (jpeg(np.zeros((24, 32), np.uint8)), ("shape",)),
        (jpeg(FRAME, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), ("corrupt",)),
        (cv2.imencode(".png", FRAME)[1].tobytes(), ("corrupt",)),
        (jpeg(FRAME)[:-200] + b"\xff\xd9" + bytes(6000) + b"\xff\xd9", ("length",)),
        (b"\xff\xd8\xff\xd9", ("corrupt",)),
        (b"\xff\xd8" + b"\xff\xfe\x00\x02" * 3 + b"\xff\xd9", ("corrupt",)),
        (b"", ("corrupt",)),
    ],
    ids=[
        "taller",
        "turned",
        "huge",
        "grey",
        "progressive",
        "png",
        "padded",
        "no-header",
        "comments",
        "empty",
    ],
)
def test_wrong_jpegs_are_refused(data, reasons):
    encoded = EncodedTensor("image", "uint8", FRAME.shape, "jpeg", data)
    assert refuse(encoded, FRAME_SPEC) in reasons


def test_halved_colours_are_no_4_4_4():
    halved = jpeg(FRAME)
    assert refuse(
        EncodedTensor("image", "uint8", FRAME.shape, "jpeg444.50", halved), FRAME_SPEC
    ) == ("codec")
    whole = encode("image", FRAME, "jpeg444.50")
    decode(whole, FRAME_SPEC, WireLimits())
    # Components without samples: what the header says of them is checked before the decoder runs.
    data = bytearray(whole.data)
    place = data.index(b"\xff\xc0")
    data[place + 11] = 0
    assert refuse(replace(whole, data=bytes(data)), FRAME_SPEC) == "codec"
    data[place + 9] = 200
    assert refuse(replace(whole, data=bytes(data)), FRAME_SPEC) == "corrupt"


def test_jpeg_that_lies_about_its_size_is_refused_before_memory_is_taken():
    data = bytearray(jpeg(np.zeros((24, 32, 3), np.uint8)))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", 65500, 65500)
    assert refuse(EncodedTensor("image", "uint8", FRAME.shape, "jpeg", data), FRAME_SPEC) == "shape"


def test_jpeg_orientation_tag_does_not_turn_the_frame():
    # An Exif block with orientation 6 (quarter turn), put after the start marker.
    tiff = b"MM\0\x2a\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    block = b"Exif\0\0" + tiff
    data = jpeg(FRAME)
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(block)) + block + data[2:]
    decoded = decode(
        EncodedTensor("image", "uint8", FRAME.shape, "jpeg", data), FRAME_SPEC, WireLimits()
    )
    assert decoded.shape == FRAME.shape


def test_any_buffer_is_read():
    encoded = encode(SPEC.name, TENSOR, "raw")
    for buffer in (bytearray(encoded.data), memoryview(encoded.data), memoryview(TENSOR)):
        np.testing.assert_array_equal(
            decode(replace(encoded, data=buffer), SPEC, WireLimits()), TENSOR
        )


float32_arrays = st.lists(st.floats(width=32), max_size=6).map(np.float32)


@settings(max_examples=400)
@given(
    good=st.sampled_from(GOOD),
    codec=st.none() | st.sampled_from([*KNOWN_CODECS, "", "raw+", "jpeg+zstd"]) | st.text(),
    data=st.none() | st.binary(max_size=700),
    edit=st.none() | st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=8)),
    scale=st.none() | float32_arrays,
    offset=st.none() | float32_arrays,
    shape=st.none() | st.lists(st.integers(0, 2**32 - 1), max_size=6).map(tuple),
    name=st.none() | st.text(),
    dtype=st.none() | st.text(),
)
def test_whatever_comes_it_is_decoded_or_refused(
    good, codec, data, edit, scale, offset, shape, name, dtype
):
    encoded, spec = good
    fields = {
        "codec": codec,
        "data": data,
        "scale": scale,
        "offset": offset,
        "shape": shape,
        "name": name,
        "dtype": dtype,
    }
    encoded = replace(encoded, **{key: value for key, value in fields.items() if value is not None})
    if edit is not None and len(encoded.data) > 0:
        place = edit[0] % len(encoded.data)
        changed = bytearray(encoded.data)
        changed[place : place + len(edit[1])] = edit[1]
        encoded = replace(encoded, data=bytes(changed))
    try:
        decoded = decode(encoded, spec, WireLimits())
    except WireError as error:
        assert error.reason in REASONS  # noqa: PT017 - any other exception fails the test
    else:
        assert decoded.shape == spec.shape
        assert str(decoded.dtype) == spec.dtype
