import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.pixels.decode import (
    ImageError,
    compressed_encoding,
    compressed_size,
    picture_end,
    to_rgb,
)

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def jpeg():
    smooth = cv2.resize(RGB, (64, 48), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", smooth)[1].tobytes()


def test_png_is_lossless_and_jpeg_is_close():
    png = cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()
    assert np.array_equal(to_rgb(png, "png"), RGB)
    assert compressed_size(png) == (6, 8)
    assert compressed_encoding(jpeg()) == "jpeg"
    assert compressed_size(jpeg()) == (48, 64)
    smooth = cv2.resize(RGB, (64, 48), interpolation=cv2.INTER_CUBIC)[..., ::-1]
    assert np.abs(to_rgb(jpeg(), "jpeg").astype(int) - smooth).mean() < 12


BEHIND = {
    "newline": b"\n",
    "zeros": bytes(16),
    "fill bytes": b"\xff" * 64,
    "a phone's trailer": b"\0\0SEFH" + bytes(range(1, 40)) + b"SEFT",
    "a film": b"\0\0\0\x18ftypmp42" + bytes(range(1, 200)),
    "another picture": jpeg(),
    "half of another": jpeg()[:200],
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("name", [".jpg", ".png"])
def test_what_comes_behind_a_picture_does_not_matter(name, behind):
    whole = cv2.imencode(name, RGB)[1].tobytes()
    encoding = compressed_encoding(whole)
    assert picture_end(whole + behind) == len(whole)
    assert np.array_equal(to_rgb(whole + behind, encoding), to_rgb(whole, encoding))


@pytest.mark.parametrize(
    "options",
    [(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2), ()],
    ids=["progressive", "restarts", "plain"],
)
def test_the_end_of_a_thumbnail_is_not_the_end(options):
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = cv2.imencode(".jpg", noise, options)[1].tobytes()
    with_thumbnail = whole[:2] + b"\xff\xe1" + (len(jpeg()) + 2).to_bytes(2, "big") + jpeg()
    with_thumbnail += whole[2:]
    assert picture_end(with_thumbnail + b"more") == len(with_thumbnail)
    with pytest.raises(ImageError, match="cut off"):
        to_rgb(with_thumbnail[:-2] + b"more", "jpeg")


def test_exif_turns_no_frame():
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    turned = jpeg()[:2] + segment + jpeg()[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (64, 48, 3)
    assert np.array_equal(to_rgb(turned, "jpeg"), to_rgb(jpeg(), "jpeg"))


def test_a_depth_image_is_no_picture():
    depth = cv2.imencode(".png", np.full((6, 8), 1500, np.uint16))[1].tobytes()
    with pytest.raises(ImageError, match="png image 8x6 of 16 bits of grey is depth"):
        to_rgb(depth, "png")
    with pytest.raises(ImageError, match="is depth"):
        compressed_size(depth)
    colour = cv2.imencode(".png", RGB.astype(np.uint16)[..., ::-1] * 257)[1].tobytes()
    assert np.array_equal(to_rgb(colour, "png"), RGB)


def test_what_the_sender_calls_another_format_is_said():
    with pytest.raises(ImageError, match=r"neither JPEG nor PNG \(format 'h264'\)"):
        compressed_encoding(b"\0\0\0\1\x67", "h264")


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
