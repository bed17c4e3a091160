"""Coders of frames: what they write is real, and finer ones keep more."""

import sys

import cv2
import numpy as np
import pytest

from codesign_ros.evaluation.rate.coders import jpeg, still_coders, webp
from codesign_ros.evaluation.rate.video import FORMATS, VideoCoder, video_coders
from codesign_ros.types.errors import CodesignError
from support.tiny import tiny_frames

FRAMES = tiny_frames(6, seed=3)


def error(coded, image):
    return float(np.square(coded.image.astype(float) - image).mean())


def test_names_are_one_of_a_kind():
    names = [coder.name for coder in still_coders()]
    assert len(names) == len({*names}) == 13


@pytest.mark.parametrize("family", ["jpeg420", "jpeg444", "webp"])
def test_a_finer_quality_takes_more_bytes_and_keeps_more(family):
    image = FRAMES[0]
    coded = [coder.code(image) for coder in still_coders() if coder.family == family]
    sizes = [each.payload_bytes for each in coded]
    errors = [error(each, image) for each in coded]
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)
    assert len(coded) >= 3


def test_bytes_are_those_of_the_file():
    image = FRAMES[0]
    _, data = cv2.imencode(".webp", image[..., ::-1].copy(), [cv2.IMWRITE_WEBP_QUALITY, 75])
    coded = webp(75).code(image)
    assert coded.payload_bytes == len(data)
    assert (coded.image == cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]).all()


def test_whole_colours_keep_the_edges_of_colours():
    """Columns of one brightness, red and green in turn."""
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, ::2] = (200, 0, 0)
    image[:, 1::2] = (0, 102, 0)
    halved, whole = (error(jpeg(sampling, 95).code(image), image) for sampling in ("420", "444"))
    assert whole < halved / 10


def test_without_pyav_one_line_says_what_is_left_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    coders, notes = video_coders(30.0)
    assert coders == []
    assert notes == ["h264, h265, av1 are left out: PyAV is not installed (pip install av)"]


def test_a_build_without_an_encoder(monkeypatch):
    av = pytest.importorskip("av")

    def codec(name, _mode):
        if name == "libx265":
            raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(av.codec, "Codec", codec)
    coders, notes = video_coders(30.0)
    assert {coder.family for coder in coders} == {"h264", "av1"}
    assert notes == ["h265 is left out: this build of PyAV has no libx265 or no hevc"]


@pytest.mark.parametrize("format_", FORMATS, ids=lambda each: each.family)
def test_video_gives_each_frame_at_once_and_alike_again(format_):
    pytest.importorskip("av")
    # Pictures of odd size that have little to do with each other.
    film = [cv2.resize(frame, (193, 129)) for frame in FRAMES]
    fine, again, coarse = (
        [coder.code(image) for image in film]
        for coder in (
            VideoCoder(format_, format_.rates[0], 30.0),
            VideoCoder(format_, format_.rates[0], 30.0),
            VideoCoder(format_, format_.rates[-1], 30.0),
        )
    )
    assert [each.payload_bytes for each in fine] == [each.payload_bytes for each in again]
    assert sum(each.payload_bytes for each in coarse) < sum(each.payload_bytes for each in fine)
    for number, (one, other, coded) in enumerate(zip(fine, again, coarse, strict=True)):
        assert one.image.shape == (129, 193, 3)
        assert (one.image == other.image).all()
        assert error(one, film[number]) < error(coded, film[number])
        # It is this frame, not the one before.
        assert error(one, film[number]) < error(one, film[number - 1])


def test_a_frame_that_no_encoder_takes():
    with pytest.raises(CodesignError, match=r"cannot be written as webp.75"):
        webp(75).code(np.zeros((1, 20_000, 3), np.uint8))
