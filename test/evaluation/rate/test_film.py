"""A film as video makes it: what FFmpeg alone makes of it, frame by frame."""

import cv2
import numpy as np
import pytest

from codesign_ros.evaluation.rate.film import coded_films
from codesign_ros.evaluation.rate.video import FORMATS, VideoCoder
from codesign_ros.types.codec_names import H264_CODECS, H264_RATES
from support.tiny import tiny_frames

pytest.importorskip("av")


def test_all_rates_of_frames_and_of_a_cameras_jpegs():
    first, other = tiny_frames(2, seed=3).astype(float)
    images = np.stack([np.uint8(first + 0.05 * n * (other - first)) for n in range(8)])
    steps = []
    films = coded_films(images, H264_CODECS, lambda *state: steps.append(state))
    assert steps == [(number + 1, 8) for number in range(8)]
    assert {*films} == {*H264_CODECS, *(f"jpeg+{codec}" for codec in H264_CODECS)}
    for codec, rate in zip(H264_CODECS, H264_RATES, strict=True):
        plain, anew = (VideoCoder(FORMATS[0], rate, 30.0) for _ in range(2))
        for number, image in enumerate(images):
            np.testing.assert_array_equal(films[codec][number], plain.code(image).image)
            quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
            _, jpeg = cv2.imencode(".jpg", image[..., ::-1], quality)
            camera = np.ascontiguousarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1])
            np.testing.assert_array_equal(films[f"jpeg+{codec}"][number], anew.code(camera).image)
