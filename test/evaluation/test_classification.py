"""Accuracy and confusion against counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.evaluation.classification import accuracy, confusion_matrix, recalls


def test_by_hand():
    confusion = confusion_matrix([0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 0], 4)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]
    assert accuracy(confusion) == pytest.approx(4 / 6)
    assert recalls(confusion) == [0.5, 1.0, pytest.approx(2 / 3), None]


def test_nothing_counted():
    confusion = confusion_matrix([], [], 3)
    assert confusion.tolist() == [[0] * 3] * 3
    assert accuracy(confusion) is None
    assert recalls(confusion) == [None] * 3


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_same_as_counting(pairs):
    truth, predicted = zip(*pairs, strict=True)
    confusion = confusion_matrix(truth, predicted, 3)
    for i in range(3):
        for j in range(3):
            assert confusion[i, j] == pairs.count((i, j))
    assert accuracy(confusion) == np.mean(np.array(truth) == np.array(predicted))


@pytest.mark.parametrize(
    ("truth", "predicted"), [([0, 1], [0]), ([0, 3], [0, 1]), ([0, -1], [0, 1]), ([0], [3])]
)
def test_refused(truth, predicted):
    with pytest.raises(ValueError, match=r"class"):
        confusion_matrix(truth, predicted, 3)
