"""Every encoding, with what cv_bridge would make of it, and what does not fit."""

import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.pixels.decode import ImageError, to_rgb
from codesign_ros.pixels.raw import BRIDGED, RAW

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
# What is smooth comes back from a mosaic, and from colours that pixels share.
SMOOTH = (
    np.dstack([np.full((24, 32), value, np.float64) for value in (200, 120, 60)])
    + np.linspace(0, 40, 32)[None, :, None]
)
SMOOTH = SMOOTH.round().astype(np.uint8)
BAYER = {"rggb": (0, 1, 1, 2), "bggr": (2, 1, 1, 0), "gbrg": (1, 2, 0, 1), "grbg": (1, 0, 2, 1)}


def padded(rows, step):
    """(H, bytes) -> (H, step), the padding filled with 0xEE."""
    out = np.full((rows.shape[0], step), 0xEE, np.uint8)
    out[:, : rows.shape[1]] = rows
    return out.tobytes()


def mosaic(rgb, order):
    """A camera's pixels (H, W): in each square of four only one colour each."""
    out = np.empty(rgb.shape[:2], rgb.dtype)
    for at, channel in enumerate(BAYER[order]):
        row, column = divmod(at, 2)
        out[row::2, column::2] = rgb[row::2, column::2, channel]
    return out


def planes(rgb):
    """Y (H, W), U and V (H, W) of BT.601 with limited range, as cameras send them."""
    red, green, blue = (rgb[..., at].astype(float) for at in range(3))
    luma = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
    u = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    v = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
    return tuple(plane.round().astype(np.uint8) for plane in (luma, u, v))


def rows_of(encoding, rgb):
    """What a camera sends of a picture, as rows (rows, bytes), numbers of 16 bits little-endian."""
    luma, u, v = planes(rgb)
    height, width = luma.shape
    if encoding in ("nv12", "nv21"):
        chroma = (u, v) if encoding == "nv12" else (v, u)
        pairs = np.dstack([plane[::2, ::2] for plane in chroma]).reshape(height // 2, width)
        return np.vstack((luma, pairs))
    if encoding == "nv24":
        return np.vstack((luma, np.dstack((u, v)).reshape(2 * height, width)))
    if encoding in ("yuv422", "uyvy", "yuyv", "yuv422_yuy2"):
        shared = np.empty_like(luma)
        shared[:, ::2], shared[:, 1::2] = u[:, ::2], v[:, ::2]
        both = (shared, luma) if encoding in ("yuv422", "uyvy") else (luma, shared)
        return np.dstack(both).reshape(height, 2 * width)
    grey = np.repeat(luma[..., None], 3, axis=2)
    alpha = np.full((height, width, 1), 9, np.uint8)
    name = encoding.rstrip("0123456789") if not encoding.endswith(("C1", "C3", "C4")) else encoding
    pixels = {
        "rgb": rgb, "bgr": rgb[..., ::-1], "8UC3": rgb[..., ::-1],
        "rgba": np.dstack((rgb, alpha)), "bgra": np.dstack((rgb[..., ::-1], alpha)),
        "8UC4": np.dstack((rgb[..., ::-1], alpha)),
        "mono": grey[..., 0], "8UC1": grey[..., 0],
        **{f"bayer_{order}": mosaic(rgb, order) for order in BAYER},
    }[name]  # fmt: skip
    pixels = np.ascontiguousarray(pixels)
    if encoding.endswith("16"):
        pixels = (pixels.astype("<u2") * 257).view(np.uint8)
    return pixels.reshape(height, -1)


@pytest.mark.parametrize("encoding", RAW)
@pytest.mark.parametrize("last_row", ["padded", "bare"])
def test_every_encoding_with_padded_rows(encoding, last_row):
    rows = rows_of(encoding, SMOOTH)
    step = rows.shape[1] + 6
    data = padded(rows, step)
    if last_row == "bare":
        data = data[:-6]
    found = to_rgb(data, encoding, height=24, width=32, step=step)
    assert found.shape == (24, 32, 3)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert found.flags.writeable
    expected = SMOOTH
    if encoding.startswith(("mono", "8UC1")):
        expected = np.repeat(planes(SMOOTH)[0][..., None], 3, axis=2)
    # The border of a mosaic has neighbours on one side only.
    inside = np.s_[2:-2, 2:-2]
    exact = not encoding.startswith(("bayer", "nv", "yu", "uy"))
    assert np.abs(found[inside].astype(int) - expected[inside]).max() <= (0 if exact else 4)


@pytest.mark.parametrize("encoding", [name for name in RAW if name.endswith("16")])
def test_byte_order_of_16_bits(encoding):
    values = np.random.default_rng(1).integers(0, 1 << 16, (6, 8 * 4), dtype=np.uint16)
    channels = 4 if "a16" in encoding else 3 if encoding[:3] in ("rgb", "bgr") else 1
    values = np.ascontiguousarray(values[:, : 8 * channels])
    size = {"height": 6, "width": 8, "step": 16 * channels}
    little = to_rgb(values.astype("<u2").tobytes(), encoding, **size)
    big = to_rgb(values.astype(">u2").tobytes(), encoding, **size, big_endian=True)
    assert np.array_equal(little, big)
    wrong = to_rgb(values.astype(">u2").tobytes(), encoding, **size)
    assert not np.array_equal(little, wrong)


def test_the_brightest_and_the_darkest_of_16_bits():
    values = np.array([[0, 128, 129, 32768, 65535, 65535]], "<u2")
    found = to_rgb(values.tobytes(), "mono16", height=1, width=6, step=12)
    assert found[0, :, 0].tolist() == [0, 0, 1, 128, 255, 255]


@given(padding=st.integers(0, 13), encoding=st.sampled_from(["rgb8", "bgr8", "rgba8", "bgra8"]))
def test_colours_keep_every_bit(padding, encoding):
    rows = rows_of(encoding, RGB)
    step = rows.shape[1] + padding
    found = to_rgb(padded(rows, step), encoding, height=6, width=8, step=step)
    assert np.array_equal(found, RGB)


@pytest.mark.parametrize("encoding", RAW)
def test_the_result_does_not_share_memory(encoding):
    data = bytearray(rows_of(encoding, SMOOTH).tobytes())
    step = rows_of(encoding, SMOOTH).shape[1]
    found = to_rgb(data, encoding, height=24, width=32, step=step)
    before = found.copy()
    data[:] = bytes(len(data))
    assert np.array_equal(found, before)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoding": "i420"}, "'i420' is not supported; known are jpeg, png, 8UC1"),
        ({"encoding": "RGB8"}, "'RGB8' is not supported; did you mean rgb8?; known are"),
        ({"encoding": "YUYV"}, "'YUYV' is not supported; did you mean yuyv?; known are"),
        ({"encoding": "rgb8\nrgb8\x1b[2J"}, r"'rgb8\nrgb8\x1b[2J' is not supported"),
        ({"encoding": "rgb8 "}, "'rgb8 ' is not supported; did you mean rgb8?"),
        *(
            ({"encoding": kind}, f"'{kind}' is depth")
            for kind in ("16UC1", "32FC1", "8UC2", "8SC3", "16UC2", "16SC3", "32SC1", "64FC3")
        ),
        ({"height": 0}, "no usable size"),
        ({"width": -8}, "no usable size"),
        ({"height": 1 << 20, "width": 1 << 20}, "no usable size"),
        ({"step": 23}, "less than one row"),
        ({"encoding": "rgb16", "step": 47}, "less than one row of 48"),
        ({"step": 25}, "step 25 x height 6"),
        ({"height": 5}, "144 bytes"),
        ({"height": 7}, "144 bytes"),
        ({"encoding": "yuyv", "width": 7, "step": 24}, "the width must be even"),
        ({"encoding": "nv12", "height": 7, "step": 24}, "the height must be even"),
        ({"encoding": "nv12", "step": 24}, "and 3 rows of colour is 216"),
        ({"encoding": "bayer_rggb8", "height": 2, "step": 72}, "it needs 3 rows"),
        ({"encoding": "jpeg"}, "neither JPEG nor PNG"),
    ],
)
def test_mismatch_is_one_clear_line(changes, words):
    fields = {"encoding": "rgb8", "height": 6, "width": 8, "step": 24, **changes}
    with pytest.raises(ImageError) as caught:
        to_rgb(RGB.tobytes(), fields.pop("encoding"), **fields)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def bridge(pixels, encoding):
    """What cv_bridge does for ``rgb8`` (cv_bridge.cpp, ``toCvCopyImpl``): colours, then depth."""
    code = {
        "mono": cv2.COLOR_GRAY2RGB, "bgr": cv2.COLOR_BGR2RGB, "rgba": cv2.COLOR_RGBA2RGB,
        "bgra": cv2.COLOR_BGRA2RGB, "bayer_rggb": cv2.COLOR_BayerBG2RGB,
        "bayer_bggr": cv2.COLOR_BayerRG2RGB, "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
        "bayer_grbg": cv2.COLOR_BayerGB2RGB, "yuv": cv2.COLOR_YUV2RGB_UYVY,
        "yuv422_yuy": cv2.COLOR_YUV2RGB_YUY2, "rgb": None,
    }[encoding.rstrip("0123456789")]  # fmt: skip
    rgb = pixels if code is None else cv2.cvtColor(pixels, code)
    return rgb if rgb.dtype == np.uint8 else np.rint(rgb * (255 / 65535)).astype(np.uint8)


@pytest.mark.parametrize("encoding", sorted(BRIDGED))
def test_a_converter_gets_what_cv_bridge_takes(encoding):
    rows = rows_of(encoding, SMOOTH)
    size = {"height": 24, "width": 32, "step": rows.shape[1]}
    seen = []

    def convert(pixels, name):
        seen.append((pixels.dtype.isnative, pixels.flags.c_contiguous, name))
        return bridge(pixels, name)

    found = to_rgb(rows.tobytes(), encoding, **size, convert=convert)
    assert seen == [(True, True, encoding)]
    assert np.abs(found.astype(int) - to_rgb(rows.tobytes(), encoding, **size)).max() <= 1


def test_a_converter_is_not_asked_for_what_cv_bridge_has_not():
    for encoding in set(RAW) - BRIDGED:
        rows = rows_of(encoding, SMOOTH)
        to_rgb(rows.tobytes(), encoding, height=24, width=32, step=rows.shape[1], convert=sys.exit)
