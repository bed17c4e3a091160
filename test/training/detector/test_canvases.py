"""Augmented pictures: boxes stay on their objects whatever is done to them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.training.detector.canvases import Augmentation, CanvasSampler
from codesign_ros.types.tensors import InputSpec

SPEC = InputSpec(96, 128)
# Colours of the two classes' squares; nothing else in the pictures has them.
COLOURS = np.array([[250, 20, 20], [20, 20, 250]])
PLAIN = Augmentation(
    gain=(1.0, 1.0),
    gamma=(1.0, 1.0),
    saturation=(1.0, 1.0),
    hue_degrees=0.0,
    degradation=None,
    scale=(0.6, 1.7),
    side_px=4.0,
)


class Squares:
    """Grey pictures of one size with coloured rectangles, which are the objects."""

    def __init__(self, count, height, width, seed=0):
        rng = np.random.default_rng(seed)
        self.pictures, self.truths = [], []
        for _ in range(count):
            picture = np.full((height, width, 3), 128, np.uint8)
            rows = []
            # One in each half, so that neither hides the other.
            for label in range(int(rng.integers(0, 3))):
                x = int(rng.integers(0, width // 2 - 30)) + label * width // 2
                y = int(rng.integers(0, height - 30))
                w, h = rng.integers(12, 30, 2)
                picture[y : y + h, x : x + w] = COLOURS[label]
                rows.append([x, y, x + w, y + h, label])
            self.pictures.append(picture)
            self.truths.append(np.array(rows, np.float32).reshape(-1, 5))

    def __len__(self):
        return len(self.pictures)

    def image(self, index):
        return self.pictures[index]

    def boxes(self, index):
        return self.truths[index][:, :4]

    def labels(self, index):
        return self.truths[index][:, 4].astype(np.int64)


def check(batch, tolerance):
    """Each box encloses just the pixels of its class's colour around it."""
    for image, boxes, labels in zip(batch.images, batch.boxes, batch.labels, strict=True):
        assert len(boxes) == len(labels)
        for box, label in zip(boxes, labels, strict=True):
            near = np.abs(image.astype(int) - COLOURS[label]).sum(2) < 120
            x, y = int(box[[0, 2]].mean()), int(box[[1, 3]].mean())
            assert near[y, x], "the middle of a box is not on its object"
            row, column = near[y], near[:, x]
            ends = [
                x - np.argmin(row[: x + 1][::-1]) + 1 if not row[: x + 1].all() else 0,
                y - np.argmin(column[: y + 1][::-1]) + 1 if not column[: y + 1].all() else 0,
                x + np.argmin(row[x:]) if not row[x:].all() else len(row),
                y + np.argmin(column[y:]) if not column[y:].all() else len(column),
            ]
            np.testing.assert_allclose(box, ends, atol=tolerance)


@pytest.mark.parametrize("size", [(96, 128), (150, 100), (60, 300), (400, 640)])
def test_boxes_stay_on_their_objects(size):
    data = Squares(12, *size)
    sampler = CanvasSampler(data, SPEC, 3, PLAIN)
    for _ in range(4):
        check(sampler.frames(3), 1.6)
    alone = CanvasSampler(data, SPEC, 3, Augmentation(**{**vars(PLAIN), "mosaic": 0.0}))
    for _ in range(6):
        check(alone.canvases(4, 64, 96), 1.6)


def test_a_mosaic_holds_four_pictures():
    data = Squares(8, 96, 128)
    always = Augmentation(**{**vars(PLAIN), "mosaic": 1.0, "around_object": 1.0})
    sampler = CanvasSampler(data, SPEC, 0, always)
    batch = sampler.canvases(2, 96, 128)
    check(batch, 1.6)
    # Eight pictures went into two mosaics: none is left over, none came twice.
    assert sampler.state()["order"] == []


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_the_same_seed_draws_the_same_and_goes_on_from_its_state(seed):
    data = Squares(5, 96, 128)
    first, second = (CanvasSampler(data, SPEC, seed, Augmentation()) for _ in range(2))
    first.canvases(3, 64, 64)
    state = first.state()
    ahead = [first.canvases(2, 64, 64), first.frames(2)]
    second.restore(state)
    for a, b in zip(ahead, [second.canvases(2, 64, 64), second.frames(2)], strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        for x, y in zip((*a.boxes, *a.labels), (*b.boxes, *b.labels), strict=True):
            np.testing.assert_array_equal(x, y)


def test_every_picture_is_used_before_one_is_used_again():
    data = Squares(7, 96, 128)
    seen = []
    data.image = lambda index: (seen.append(index), data.pictures[index])[1]
    CanvasSampler(data, SPEC, 0, Augmentation()).frames(14)
    assert sorted(seen[:7]) == sorted(seen[7:]) == list(range(7))


def test_what_is_hardly_left_has_no_label():
    data = Squares(1, 96, 128)
    data.truths[0] = np.array([[100, 40, 120, 60, 0]], np.float32)
    sampler = CanvasSampler(data, SPEC, 0, PLAIN)
    scale, size = np.ones(2), (96, 128)
    placed = [
        sampler._placed(data.image(0), data.boxes(0), data.labels(0), scale, offset, size)
        for offset in (np.array([0, 0]), np.array([18, 0]), np.array([26, 0]), np.array([40, 0]))
    ]
    assert [boxes.tolist() for _, boxes, _ in placed] == [
        [[100, 40, 120, 60]],
        [[118, 40, 128, 60]],
        [],
        [],
    ]
