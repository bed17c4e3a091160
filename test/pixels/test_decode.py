import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.pixels.decode import (
    ImageError,
    compressed_encoding,
    compressed_size,
    to_rgb,
)

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def padded(rows, step):
    """(H, bytes) -> (H, step), the padding filled with 0xEE."""
    out = np.full((rows.shape[0], step), 0xEE, np.uint8)
    out[:, : rows.shape[1]] = rows
    return out.tobytes()


def jpeg():
    smooth = cv2.resize(RGB, (64, 48), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", smooth)[1].tobytes()


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("rgba8", np.dstack((RGB, np.full((6, 8), 9, np.uint8)))),
        ("bgra8", np.dstack((RGB[..., ::-1], np.full((6, 8), 9, np.uint8)))),
    ],
)
@given(padding=st.integers(0, 13))
def test_colour_with_padded_rows(encoding, pixels, padding):
    row_bytes = 8 * pixels.shape[2]
    data = padded(pixels.reshape(6, row_bytes), row_bytes + padding)
    found = to_rgb(data, encoding, height=6, width=8, step=row_bytes + padding)
    assert np.array_equal(found, RGB)
    assert found.flags.c_contiguous
    assert found.flags.writeable


def test_grey_becomes_three_equal_channels():
    grey = RGB[..., 0]
    found = to_rgb(padded(grey, 11), "mono8", height=6, width=8, step=11)
    assert np.array_equal(found, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(("encoding", "order"), [("yuv422_yuy2", "yuyv"), ("uyvy", "uyvy")])
def test_packed_yuv_follows_bt601(encoding, order):
    y, u, v = 120, 90, 200
    pair = {"yuyv": (y, u, y, v), "uyvy": (u, y, v, y)}[order]
    data = np.array(pair * 8, np.uint8).tobytes()
    found = to_rgb(data, encoding, height=4, width=4, step=8)
    luma = 1.164 * (y - 16)
    expected = (luma + 1.596 * (v - 128), luma - 0.813 * (v - 128) - 0.391 * (u - 128))
    assert np.abs(found[..., 0] - expected[0]).max() <= 2
    assert np.abs(found[..., 1] - expected[1]).max() <= 2


def test_result_does_not_share_memory():
    data = bytearray(RGB.tobytes())
    found = to_rgb(data, "rgb8", height=6, width=8, step=24)
    data[0] ^= 0xFF
    assert np.array_equal(found, RGB)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoding": "bayer_rggb8"}, "not supported"),
        ({"height": 0}, "no usable size"),
        ({"width": -8}, "no usable size"),
        ({"height": 1 << 20, "width": 1 << 20}, "no usable size"),
        ({"step": 23}, "less than one row"),
        ({"step": 25}, "step 25 x height 6"),
        ({"height": 5}, "144 bytes"),
        ({"encoding": "yuyv", "width": 7, "step": 24}, "even"),
        ({"encoding": "jpeg"}, "neither JPEG nor PNG"),
    ],
)
def test_mismatch_is_one_clear_line(changes, words):
    fields = {"encoding": "rgb8", "height": 6, "width": 8, "step": 24, **changes}
    with pytest.raises(ImageError, match=words) as caught:
        to_rgb(RGB.tobytes(), fields.pop("encoding"), **fields)
    assert "\n" not in str(caught.value)


def test_png_is_lossless_and_jpeg_is_close():
    png = cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()
    assert np.array_equal(to_rgb(png, "png"), RGB)
    assert compressed_size(png) == (6, 8)
    assert compressed_encoding(jpeg()) == "jpeg"
    assert compressed_size(jpeg()) == (48, 64)
    smooth = cv2.resize(RGB, (64, 48), interpolation=cv2.INTER_CUBIC)[..., ::-1]
    assert np.abs(to_rgb(jpeg(), "jpeg").astype(int) - smooth).mean() < 12


def test_zeros_after_a_jpeg_are_allowed():
    assert to_rgb(jpeg() + bytes(16), "jpeg").shape == (48, 64, 3)


def test_declared_encoding_must_be_true():
    with pytest.raises(ImageError, match="said to be png but is jpeg"):
        to_rgb(jpeg(), "png")


@settings(deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), png=st.booleans())
def test_a_cut_picture_is_refused(share, png):
    whole = cv2.imencode(".png", RGB)[1].tobytes() if png else jpeg()
    with pytest.raises(ImageError):
        to_rgb(whole[: int(share * len(whole))], "png" if png else "jpeg")


@settings(deadline=None)
@given(data=st.binary(max_size=64), png=st.booleans())
def test_noise_after_a_good_start_is_refused(data, png):
    start = b"\x89PNG\r\n\x1a\n" if png else b"\xff\xd8\xff"
    with pytest.raises(ImageError):
        to_rgb(start + data, "png" if png else "jpeg")


def test_a_header_that_claims_gigabytes_is_refused_before_decoding():
    whole = bytearray(jpeg())
    at = whole.index(b"\xff\xc0")
    whole[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageError, match="65535x65535"):
        to_rgb(bytes(whole), "jpeg")
