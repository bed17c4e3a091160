import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codesign_ros.types.codec_names import JPEG444_CODECS
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import TensorSpec
from codesign_ros.wire import codecs
from codesign_ros.wire.codecs import (
    FRAME_CODECS,
    TENSOR_CODECS,
    codecs_for,
    encode,
)
from codesign_ros.wire.decode import WireLimits, decode


def shapes() -> st.SearchStrategy[tuple[int, ...]]:
    return hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)


def floats(limit: float) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(
        np.float32, shapes(), elements=st.floats(-limit, limit, width=32, allow_subnormal=True)
    )


def there_and_back(array: np.ndarray, codec: str) -> np.ndarray:
    encoded = encode("t", array, codec)
    return decode(encoded, TensorSpec("t", array.shape, str(array.dtype)), WireLimits())


@given(
    array=hnp.arrays(np.float32, shapes(), elements=st.floats(width=32)),
    codec=st.sampled_from(["raw", "raw+zstd"]),
)
def test_raw_keeps_every_float_bit(array, codec):
    assert there_and_back(array, codec).tobytes() == array.tobytes()


@given(
    array=hnp.arrays(np.uint8, shapes()),
    codec=st.sampled_from(["raw", "raw+zstd"]),
)
def test_raw_keeps_every_byte(array, codec):
    np.testing.assert_array_equal(there_and_back(array, codec), array)


@given(array=floats(60000.0), codec=st.sampled_from(["fp16", "fp16+zstd"]))
def test_fp16_is_the_nearest_half(array, codec):
    np.testing.assert_array_equal(there_and_back(array, codec), array.astype(np.float16))


@settings(max_examples=200)
@given(
    array=st.one_of(floats(2.0**125), floats(1.0), floats(2.0**-140)),
    codec=st.sampled_from(["uint8", "uint8+zstd", "uint4", "uint4+zstd"]),
)
def test_affine_error_is_at_most_half_a_step(array, codec):
    decoded = there_and_back(array, codec).astype(np.float64)
    levels = 255 if codec.startswith("uint8") else 15
    # The step of each channel, computed apart in float64.
    exact = array.astype(np.float64)
    axes = tuple(i for i in range(array.ndim) if array.ndim < 3 or i != 1)
    low, high = exact.min(axes, keepdims=True), exact.max(axes, keepdims=True)
    half_step = np.maximum((high - low) / levels, np.finfo(np.float32).tiny) / 2
    rounding = np.spacing(np.maximum(abs(low), abs(high)).astype(np.float32))
    assert (np.abs(decoded - exact) <= half_step * (1 + 1e-4) + rounding).all()


def test_affine_by_hand():
    channel = np.array([[0.0, 1.0], [2.0, 15.0]], np.float32)
    array = np.stack([channel, 10 - 2 * channel])[np.newaxis]
    encoded = encode("t", array, "uint4")
    np.testing.assert_array_equal(encoded.scale, np.float32([1, 2]))
    np.testing.assert_array_equal(encoded.offset, np.float32([0, -20]))
    # Codes 0 1 2 15 and 15 14 13 0, the first of each two in the low half.
    assert encoded.data == bytes([0x10, 0xF2, 0xEF, 0x0D])
    assert encoded.payload_bytes == 4 + 4 * 4


def test_small_tensor_has_one_scale():
    assert encode("t", np.ones((1, 10), np.float32), "uint8").scale.shape == (1,)
    assert encode("t", np.ones((1, 10, 2, 2), np.float32), "uint8").scale.shape == (10,)


@pytest.mark.parametrize(
    ("codec", "size"), [("raw", 4 * 45), ("fp16", 2 * 45), ("uint8", 45 + 40), ("uint4", 23 + 40)]
)
def test_payload_size(codec, size):
    array = np.random.default_rng(0).normal(size=(1, 5, 3, 3)).astype(np.float32)
    assert encode("t", array, codec).payload_bytes == size


def test_not_contiguous_array():
    array = np.arange(120, dtype=np.float32).reshape(1, 4, 5, 6).transpose(0, 1, 3, 2)
    for codec in ("raw", "fp16"):
        np.testing.assert_array_equal(there_and_back(array, codec), array)
    np.testing.assert_allclose(there_and_back(array, "uint8"), array, atol=30 / 255)


def test_encoding_leaves_its_argument_alone():
    array = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)
    before = array.copy()
    for codec in TENSOR_CODECS:
        encode("t", array, codec)
    np.testing.assert_array_equal(array, before)


def test_decoded_array_is_new_and_writable():
    for codec in TENSOR_CODECS:
        decoded = there_and_back(np.ones((1, 3, 4, 5), np.float32), codec)
        assert decoded.flags.writeable
        assert decoded.flags.c_contiguous
        assert decoded.dtype == np.float32


def test_jpeg_keeps_colours_and_their_order():
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:, :32, 0] = 200
    frame[:, 32:, 2] = 120
    decoded = there_and_back(frame, "jpeg")
    assert np.abs(decoded[:, 4:28].astype(int) - (200, 0, 0)).max() < 8
    assert np.abs(decoded[:, 36:60].astype(int) - (0, 0, 120)).max() < 8


def test_whole_colours_keep_what_halved_ones_lose():
    # Red and blue in turn, column by column: 4:2:0 mixes them.
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:, ::2, 0] = frame[:, 1::2, 2] = 200
    errors = {
        codec: np.abs(there_and_back(frame, codec).astype(int) - frame).mean()
        for codec in ("jpeg", "jpeg444.90")
    }
    assert errors["jpeg"] > 40
    assert errors["jpeg444.90"] < 4


def test_a_ladder_of_qualities():
    y, x = np.mgrid[:96, :128]
    noise = np.random.default_rng(0).normal(0, 12, (96, 128, 3))
    frame = np.stack([2 * y, x, 200 - y], 2) + noise
    frame = frame.clip(0, 255).astype(np.uint8)
    sizes = [encode("image", frame, codec).payload_bytes for codec in JPEG444_CODECS]
    losses = [
        np.abs(there_and_back(frame, codec).astype(int) - frame).mean() for codec in JPEG444_CODECS
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.5 * sizes[0]
    assert losses == sorted(losses)
    # The largest that can be sent stays below the bound that the receiver has.
    noise = np.random.default_rng(0).integers(0, 2, (96, 128, 3), np.uint8) * 255
    there_and_back(noise, "jpeg444.90")


def test_an_old_opencv_cannot_write_whole_colours(monkeypatch):
    monkeypatch.setattr(codecs, "_SAMPLING", None)
    frame = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(CodesignError, match=r"codec 'jpeg444\.50' needs OpenCV 4\.7 or newer"):
        encode("image", frame, "jpeg444.50")
    there_and_back(frame, "jpeg")


def test_zstd_shrinks_what_repeats():
    array = np.zeros((1, 16, 20, 20), np.float32)
    assert encode("t", array, "raw+zstd").payload_bytes < 100


def test_codecs_for():
    assert codecs_for(TensorSpec("image", (8, 6, 3), "uint8")) == FRAME_CODECS
    assert codecs_for(TensorSpec("t", (1, 8, 6, 3), "uint8")) == ("raw", "raw+zstd")
    assert codecs_for(TensorSpec("t", (1, 3, 6, 6))) == TENSOR_CODECS
    assert codecs_for(TensorSpec("t", (4,), "float64")) == ()


@pytest.mark.parametrize(
    ("array", "codec", "message"),
    [
        (np.ones((1, 2), np.float32), "gzip", r"unknown codec 'gzip'; known: raw, raw\+zstd, fp16"),
        (np.ones((4, 4, 3), np.float32), "jpeg", "'jpeg' cannot carry tensor 't'"),
        (np.ones((4, 4, 4), np.uint8), "jpeg", "'jpeg' cannot carry tensor 't'"),
        (np.ones((4, 4, 3), np.uint8), "uint4", "'uint4' cannot carry tensor 't'"),
        (np.ones((1, 2)), "raw", "usable: none"),
        (np.ones((1, 0), np.float32), "uint8", "no elements"),
        (np.zeros((70000, 1, 3), np.uint8), "jpeg", "cannot become a JPEG"),
        (np.float32([1e6]), "fp16", "beyond fp16"),
        (np.float32([np.nan]), "fp16", "not finite"),
        (np.float32([np.nan, 1.0]), "uint8", "not finite"),
        (np.float32([np.inf, 1.0]), "uint4", "not finite"),
        (np.float32([-np.inf, np.inf]), "uint8+zstd", "not finite"),
        (np.float32([3e38, -3e38]), "uint8", "beyond"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_what_cannot_be_encoded_is_one_line(array, codec, message):
    with pytest.raises(CodesignError, match=message) as raised:
        encode("t", array, codec)
    assert "\n" not in str(raised.value)
