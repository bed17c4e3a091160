"""What people see of a detector, counted by hand and against COCO's reference code."""

import numpy as np
import pytest

from codesign_ros.evaluation.average_precision import measure
from codesign_ros.evaluation.operating_point import Matches, OperatingPoint, match
from codesign_ros.types.boxes import Box

CLASSES = ("helmet", "head")


def box(label, x, score=1.0, size=10.0):
    return Box(label, x, 0.0, x + size, size, score)


def test_pairs_of_a_frame():
    truths = [box("helmet", 0), box("helmet", 100), box("head", 200)]
    found = [
        box("helmet", 1, 0.6),  # right, but the surer one takes the object
        box("helmet", 0, 0.9),
        box("helmet", 200, 0.8),  # a head that is taken for a helmet
        box("head", 105, 0.7),  # overlaps a third of the second: nothing
    ]
    matches = match(truths, found)
    assert matches == Matches(((0, 1),), ((2, 2),), (1,), (0, 3))
    assert matches.mistakes == 4
    assert match([], []) == Matches((), (), (), ())
    assert match(truths, []).missed == (0, 1, 2)
    assert match([], found).wrong == (0, 1, 2, 3)


def test_a_box_takes_its_own_class_before_another():
    truths = [box("head", 0), box("helmet", 1)]
    assert match(truths, [box("helmet", 0, 0.5), box("head", 1, 0.9)]).right == ((0, 1), (1, 0))


def test_counts_by_class():
    truths = [[box("helmet", 0), box("head", 50)], [box("helmet", 0)]]
    found = [[box("helmet", 0, 0.9), box("helmet", 50, 0.5)], [box("helmet", 0, 0.2)]]
    point = OperatingPoint.of_frames(truths, found, CLASSES, 0.3)
    assert point.confusion.tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 0]]
    document = point.to_json()
    assert document["score"] == 0.3
    assert document["classes"] == {
        "helmet": {"true": 2, "found": 2, "right": 1, "recall": 0.5, "precision": 0.5},
        "head": {"true": 1, "found": 0, "right": 0, "recall": 0.0, "precision": None},
    }
    # A box of just this score is shown, as the head node shows it.
    assert OperatingPoint.of_frames(truths, found, CLASSES, 0.2).right("helmet") == 2


@pytest.mark.parametrize("seed", range(5))
def test_recall_is_that_of_the_reference(seed):
    """Whose precision falls to 0 behind the recall that is reached."""
    rng = np.random.default_rng(seed)

    def boxes(count):
        labels = rng.choice(CLASSES, count)
        return [box(str(label), *rng.uniform((0, 0, 15), (60, 1, 30)).tolist()) for label in labels]

    truths = [boxes(4) for _ in range(30)]
    found = [boxes(6) for _ in range(30)]
    point = OperatingPoint.of_frames(truths, found, CLASSES, 0.0)
    metrics = measure(truths, found, CLASSES)
    for name in CLASSES:
        reached = np.count_nonzero(metrics.precision50[name]) - 1
        assert reached == int(np.floor(100 * point.recall(name) + 1e-9))
        assert metrics.map30[name] > metrics.map50[name] > 0
    assert point.confusion.sum() - point.confusion[:, -1].sum() == 6 * 30
