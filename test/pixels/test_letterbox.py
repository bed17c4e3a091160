import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.pixels.letterbox import PAD_VALUE, Letterbox, letterbox, normalise
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

SPEC = InputSpec(height=40, width=64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25))


def test_frame_of_the_right_size_is_handed_through():
    frame = np.zeros((40, 64, 3), np.uint8)
    assert letterbox(frame, SPEC) is frame


@pytest.mark.parametrize(
    ("shape", "inside"),
    [
        ((80, 64, 3), np.s_[:, 16:48]),  # tall: 32 wide, bars left and right
        ((20, 64, 3), np.s_[10:30, :]),  # wide: bars above and below
        ((20, 32, 3), np.s_[:, :]),  # same aspect, enlarged
        ((400, 640, 3), np.s_[:, :]),  # same aspect, shrunk
    ],
)
def test_aspect_is_kept_and_the_rest_is_grey(shape, inside):
    frame = np.full(shape, (200, 20, 10), np.uint8)
    image = letterbox(frame, SPEC)
    assert image.shape == (40, 64, 3)
    assert (image[inside] == (200, 20, 10)).all()
    outside = np.ones((40, 64), bool)
    outside[inside] = False
    assert (image[outside] == PAD_VALUE).all()


def test_shrinking_averages():
    stripes = np.zeros((80, 128, 3), np.uint8)
    stripes[:, 1::2] = 100
    assert (letterbox(stripes, SPEC) == 50).all()


@settings(max_examples=60)
@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_every_size_fits(height, width):
    box = Letterbox.of(height, width, SPEC)
    assert box.left >= 0
    assert box.top >= 0
    assert box.left + box.width <= SPEC.width
    assert box.top + box.height <= SPEC.height
    assert letterbox(np.zeros((height, width, 3), np.uint8), SPEC).shape == (40, 64, 3)


@given(
    height=st.integers(1, 2000),
    width=st.integers(1, 2000),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_boxes_come_back(height, width, corners):
    geometry = Letterbox.of(height, width, SPEC)
    box = Box(
        "head",
        corners[0] * width,
        corners[1] * height,
        corners[2] * width,
        corners[3] * height,
        0.5,
    )
    back = geometry.to_frame(geometry.to_input(box))
    assert (back.label, back.score) == ("head", 0.5)
    np.testing.assert_allclose(
        [back.x_min, back.y_min, back.x_max, back.y_max],
        [box.x_min, box.y_min, box.x_max, box.y_max],
        atol=1e-6 * max(height, width),
    )


def test_a_box_lies_on_its_pixels():
    frame = np.zeros((100, 100, 3), np.uint8)
    frame[20:60, 40:80] = 255
    moved = Letterbox.of(100, 100, SPEC).to_input(Box("head", 40, 20, 80, 60))
    image = letterbox(frame, SPEC)
    rows = slice(round(moved.y_min), round(moved.y_max))
    columns = slice(round(moved.x_min), round(moved.x_max))
    assert (image[rows, columns] > 127).all()
    assert (image[:, :, 0] > 127).sum() == 16 * 16


def test_normalise_is_the_formula():
    image = np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    result = normalise(image, SPEC)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    exact = (image / 255 - np.array(SPEC.mean)) / np.array(SPEC.std)
    np.testing.assert_allclose(result[0], exact.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((40, 64), np.uint8),
        np.zeros((40, 64, 4), np.uint8),
        np.zeros((40, 64, 3), np.float32),
        np.zeros((0, 64, 3), np.uint8),
    ],
)
def test_what_is_not_a_frame_is_refused(frame):
    with pytest.raises(CodesignError, match=r"uint8 \(height, width, 3\)"):
        letterbox(frame, SPEC)


def test_normalise_wants_the_input_size():
    with pytest.raises(CodesignError, match=r"takes uint8 \(40, 64, 3\), not uint8 \(64, 40, 3\)"):
        normalise(np.zeros((64, 40, 3), np.uint8), SPEC)
