"""Average precision of weighted frames, against COCO's on frames that stand there so often."""

import numpy as np
import pytest

from codesign_ros.evaluation.average_precision import measure
from codesign_ros.evaluation.rate.resampled import (
    counts,
    drawings,
    matched,
    precisions,
)
from codesign_ros.types.boxes import Box

CLASSES = ("person", "helmet", "head")


def made_up(frames, seed):
    """Frames with true boxes, and found ones near them and elsewhere."""
    rng = np.random.default_rng(seed)

    def some(count, score):
        corners, sizes = rng.uniform(0, 300, (count, 2)), rng.uniform(10, 120, (count, 2))
        return [
            Box(CLASSES[rng.integers(3)], x, y, x + w, y + h, score())
            for (x, y), (w, h) in zip(corners, sizes, strict=True)
        ]

    def score():
        return float(np.float32(rng.random()))

    truths = [some(rng.integers(0, 6), lambda: 1.0) for _ in range(frames)]
    found = []
    for truth in truths:
        near = [
            Box(b.label, *(np.array([b.x_min, b.y_min, b.x_max, b.y_max]) + rng.normal(0, 2, 4)),
                score())
            for b in truth
            for _ in range(rng.integers(0, 3))
        ]  # fmt: skip
        found.append(near + some(rng.integers(0, 8), score))
    return truths, found


def measured(truths, found, weights):
    pairs = list(zip(truths, found, strict=True))
    objects = np.array([counts(truth, CLASSES) for truth in truths])
    return precisions([matched(*pair, CLASSES) for pair in pairs], objects, weights)


@pytest.mark.parametrize("seed", range(5))
def test_every_frame_once_is_cocos_average_precision(seed):
    truths, found = made_up(40, seed)
    own, coco = measured(truths, found, np.ones((1, 40), int)), measure(truths, found, CLASSES)
    assert own.ap[0] == pytest.approx(coco.coco["ap"], abs=1e-12)
    assert own.mean_map50[0] == pytest.approx(coco.mean_map50, abs=1e-12)
    assert own.map50[0] == pytest.approx([coco.map50[name] for name in CLASSES], abs=1e-12)
    assert 0.05 < own.ap[0] < 0.9


def test_weights_are_frames_that_stand_there_so_often():
    truths, found = made_up(30, 7)
    weights = drawings(30, 4, 1)
    own = measured(truths, found, weights)
    assert len({*own.ap}) == 5
    for drawing, row in enumerate(weights):
        again = [number for number, count in enumerate(row) for _ in range(count)]
        coco = measure([truths[i] for i in again], [found[i] for i in again], CLASSES)
        assert own.ap[drawing] == pytest.approx(coco.coco["ap"], abs=1e-12)
        assert own.mean_map50[drawing] == pytest.approx(coco.mean_map50, abs=1e-12)


def test_a_class_that_no_drawn_frame_has_counts_for_nothing():
    truths = [[Box("person", 0, 0, 9, 9)], [Box("head", 0, 0, 9, 9)]]
    found = [[Box("person", 0, 0, 9, 9, 0.9)], []]
    own = measured(truths, found, np.array([[1, 1], [2, 0], [0, 2]]))
    assert own.ap.tolist() == [0.5, 1.0, 0.0]
    assert np.isnan(own.map50).tolist() == [[0, 1, 0], [0, 1, 1], [1, 1, 0]]


def test_classes_that_do_not_count_are_left_out():
    truths = [[Box("person", 0, 0, 9, 9), Box("head", 20, 0, 29, 9)]]
    found = [Box("person", 0, 0, 9, 9, 0.5), Box("head", 0, 0, 9, 9, 0.9)]
    (rows,) = [matched(truths[0], found, ("person",))]
    assert rows["right"].tolist() == [0b1111111111]
    assert counts(truths[0], ("person",)) == [1]


def test_drawings_are_of_all_frames_and_of_whole_blocks():
    weights = drawings(25, 50, 10)
    assert weights.shape == (51, 25)
    assert (weights[0] == 1).all()
    blocks = weights[:, [0, 10, 20]]
    assert (weights == np.repeat(blocks, 10, axis=1)[:, :25]).all()
    assert (blocks[1:].sum(1) == 3).all()
    assert len({*map(tuple, blocks[1:])}) > 5
    assert (drawings(25, 50, 10) == weights).all()
