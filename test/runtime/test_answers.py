"""What a network's outputs mean, by the task of its bundle."""

from dataclasses import replace

import numpy as np
import pytest

from codesign_ros.pixels.boxes import Selection, decode_detections
from codesign_ros.runtime.answers import Answer, answer_from, classified
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError
from support.tiny import CLASSES


def test_softmax_and_best_class():
    logits = np.array([[1.0, 3.0, 2.0]], np.float32)
    answer = classified(logits, CLASSES)
    expected = np.exp(logits[0]) / np.exp(logits[0]).sum()
    np.testing.assert_allclose(answer.class_scores, expected, rtol=1e-6)
    assert (answer.label, answer.class_names, answer.detections) == ("helmets", CLASSES, ())
    assert answer.score == max(answer.class_scores)


def test_softmax_of_large_logits_is_finite():
    answer = classified(np.array([[3e38, 0, -3e38]], np.float32), CLASSES)
    assert answer == Answer(
        label="empty", score=1.0, class_names=CLASSES, class_scores=(1.0, 0.0, 0.0)
    )


@pytest.mark.parametrize("task", ["classification", "detection", "features"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_gives_no_answer(tiny_bundle, task, bad):
    outputs = {"out": np.array([[0, bad, 1]], np.float32)}
    with pytest.raises(CodesignError, match="the network's output 'out' is not finite"):
        answer_from(outputs, replace(tiny_bundle, task=task), Selection())


def test_a_classifier_gives_scores(tiny_bundle):
    answer = answer_from({"logits": np.array([[0, 1, 2]], np.float32)}, tiny_bundle, Selection())
    assert (answer.label, answer.detections) == (CLASSES[2], ())


def test_a_detector_gives_the_boxes_that_the_selection_lets_through(tiny_bundle):
    output = np.zeros((1, 7, 3), np.float32)
    output[0, :4] = np.array([[0, 0, 10, 10], [20, 20, 40, 60], [50, 5, 60, 9]]).T
    output[0, 5] = 0.9, 0.5, 0.2
    detector = replace(tiny_bundle, task="detection")
    selection = Selection(score_threshold=0.4, iou_threshold=0.5, max_detections=1)
    answer = answer_from({"boxes": output}, detector, selection)
    assert answer == Answer(detections=(Box(CLASSES[1], 0, 0, 10, 10, float(np.float32(0.9))),))
    everything = answer_from({"boxes": output}, detector, Selection())
    assert list(everything.detections) == decode_detections(output, CLASSES)
    assert len(everything.detections) == 3


def test_features_have_no_meaning(tiny_bundle):
    bundle = replace(tiny_bundle, task="features", classes=())
    outputs = {"a": np.ones((1, 8), np.float32), "b": np.ones((1, 2, 3, 4), np.float32)}
    assert answer_from(outputs, bundle, Selection()) == Answer()
