"""Headers of JPEGs, against OpenCV's own files and damaged ones."""

import contextlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros import jpeg

# Samples of the colours: two by two pixels share one (4:2:0), or each has its own (4:4:4).
HALVED = ((2, 2), (1, 1), (1, 1))
WHOLE = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 65, 3), np.uint8)


def encoded(*options, picture=PICTURE):
    return cv2.imencode(".jpg", picture, options)[1].tobytes()


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (encoded(), (jpeg.BASELINE, 48, 65, 3, HALVED)),
        (encoded(picture=PICTURE[..., 0]), (jpeg.BASELINE, 48, 65, 1, ((1, 1),))),
        (encoded(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (0xC2, 48, 65, 3, HALVED)),
        (encoded(cv2.IMWRITE_JPEG_RST_INTERVAL, 4), (jpeg.BASELINE, 48, 65, 3, HALVED)),
        (encoded(*WHOLE), (jpeg.BASELINE, 48, 65, 3, ((1, 1),) * 3)),
    ],
)
def test_header_of_what_opencv_writes(data, header):
    assert jpeg.frame_header(data) == header
    assert jpeg.frame_header(data).shape == header[1:4]
    assert jpeg.frame_header(data).has_whole_colours == (len({*header[4]}) == 1)


def test_segments_before_the_frame_and_fill_bytes_do_not_matter():
    data = encoded()
    comment = b"\xff\xfe\x00\x05abc"
    for extra in (comment, b"\xff\xff" + comment, b"\xff\xe1\x00\x02"):
        assert jpeg.frame_header(data[:2] + extra + data[2:]) == jpeg.frame_header(data)
    found = dict(jpeg.segments(data[:2] + comment + data[2:]))
    assert bytes(found[0xFE]) == b"abc"


def test_all_that_is_cut_off_before_the_frame_header_is_refused():
    data = encoded()
    at = data.index(b"\xff\xc0") + 19  # the header of three components
    for size in range(at):
        with pytest.raises(ValueError):  # noqa: PT011 - any of its texts
            jpeg.frame_header(data[:size])
    assert jpeg.frame_header(data[:at]).width == 65


@given(st.binary(max_size=300), st.booleans())
def test_whatever_comes_it_ends(data, started):
    with contextlib.suppress(ValueError):
        assert jpeg.frame_header(jpeg.START * started + data).components < 256
