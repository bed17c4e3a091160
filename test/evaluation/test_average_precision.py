"""Average precision against a slow implementation of COCO's rules, and cases done by hand."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from codesign_ros.evaluation.average_precision import (
    COCO_KEYS,
    DetectionMetrics,
    jackknifed_map50,
    measure,
)
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError

CLASSES = ("person", "helmet", "head")
AREAS = ((0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10))


def box(label, x, y, width, height, score=1.0):
    return Box(label, x, y, x + width, y + height, score)


def area(b):
    return (b.x_max - b.x_min) * (b.y_max - b.y_min)


def iou(a, b):
    width = max(0.0, min(a.x_max, b.x_max) - max(a.x_min, b.x_min))
    height = max(0.0, min(a.y_max, b.y_max) - max(a.y_min, b.y_min))
    return width * height / (area(a) + area(b) - width * height)


def matched(truth, found, threshold, low, high):
    """For one frame and class: (score, right, counts) of each box found, and how many are true."""
    outside = [not low <= area(t) <= high for t in truth]
    order = sorted(range(len(truth)), key=lambda i: outside[i])
    taken = set()
    results = []
    for prediction in sorted(found, key=lambda b: -b.score)[:100]:
        best, choice = min(threshold, 1 - 1e-10), None
        for i in order:
            if i in taken:
                continue
            # An object of the right size goes before any of another size.
            if choice is not None and not outside[choice] and outside[i]:
                break
            if iou(prediction, truth[i]) >= best:
                best, choice = iou(prediction, truth[i]), i
        if choice is not None:
            taken.add(choice)
            results.append((prediction.score, True, not outside[choice]))
        else:
            results.append((prediction.score, False, low <= area(prediction) <= high))
    return results, outside.count(False)


def slow_ap(truths, predictions, label, threshold, low, high):
    results, objects = [], 0
    for truth, found in zip(truths, predictions, strict=True):
        of_class = [[b for b in boxes if b.label == label] for boxes in (truth, found)]
        some, count = matched(*of_class, threshold, low, high)
        results += some
        objects += count
    if not objects:
        return None
    right = [hit for _, hit, counts in sorted(results, key=lambda r: -r[0]) if counts]
    hits = np.cumsum(right) if right else np.zeros(0)
    recall = hits / objects
    precision = hits / np.arange(1, len(right) + 1)
    total = 0.0
    for level in np.linspace(0, 1, 101):
        reached = precision[recall >= level]
        total += reached.max() if reached.size else 0.0
    return total / 101


def mean(values):
    known = [v for v in values if v is not None]
    return np.mean(known) if known else None


coordinate = st.integers(0, 60)
side = st.integers(1, 120)
label = st.sampled_from(CLASSES)
truth_box = st.builds(box, label, coordinate, coordinate, side, side)
found_box = st.builds(
    box, label, coordinate, coordinate, side, side, st.integers(0, 8).map(lambda n: n / 8)
)


@st.composite
def frames(draw):
    """Some frames; part of what is found is a true box, shifted a little."""
    truths, predictions = [], []
    for _ in range(draw(st.integers(1, 4))):
        truth = draw(st.lists(truth_box, max_size=4))
        near = [
            box(
                t.label,
                t.x_min + draw(st.integers(0, 3)),
                t.y_min,
                t.x_max - t.x_min,
                t.y_max - t.y_min,
                draw(st.sampled_from((0.3, 0.6, 0.9))),
            )
            for t in truth
        ]
        truths.append(truth)
        predictions.append(near + draw(st.lists(found_box, max_size=3)))
    return truths, predictions


def is_on_a_threshold(truths, predictions):
    """Whether an overlap is one of the thresholds that have no exact number, as 0.85."""
    pairs = (
        pair
        for truth, found in zip(truths, predictions, strict=True)
        for pair in itertools.product(truth, found)
    )
    overlaps = np.array([iou(*pair) for pair in pairs] or [0.0])
    return bool((np.abs(overlaps[:, None] - np.linspace(0.55, 0.95, 9)) < 1e-9).any())


@settings(max_examples=60, deadline=None)
@given(frames())
def test_against_the_slow_implementation(drawn):
    truths, predictions = drawn
    # What rounding makes of that is nobody's business.
    assume(not is_on_a_threshold(truths, predictions))
    measured = measure(truths, predictions, CLASSES)
    for name in CLASSES:
        expected = slow_ap(truths, predictions, name, 0.5, *AREAS[0])
        assert measured.map50[name] == (expected and pytest.approx(expected, abs=1e-9))
    for key, (low, high) in zip(COCO_KEYS, AREAS, strict=True):
        expected = mean(
            slow_ap(truths, predictions, name, threshold, low, high)
            for name in CLASSES
            for threshold in np.linspace(0.5, 0.95, 10)
        )
        assert measured.coco[key] == (expected and pytest.approx(expected, abs=1e-9))


@settings(max_examples=30, deadline=None)
@given(frames(), st.integers(2, 4))
def test_a_jackknife_is_measured_without_each_group(drawn, groups):
    truths, predictions = drawn
    for group, value in enumerate(jackknifed_map50(truths, predictions, CLASSES, groups)):
        kept = [place for place in range(len(truths)) if place % groups != group]
        rest = ([each[place] for place in kept] for each in drawn)
        assert value == (measure(*rest, CLASSES).mean_map50 or 0.0)


def test_all_found_exactly():
    truths = [[box("person", 10, 10, 40, 90), box("helmet", 20, 10, 10, 8)], []]
    metrics = measure(truths, truths, CLASSES)
    assert metrics.map50 == {"person": 1.0, "helmet": 1.0, "head": None}
    assert metrics.coco == {"ap": 1.0, "ap_small": 1.0, "ap_medium": 1.0, "ap_large": None}
    assert metrics.mean_map50 == 1.0
    assert metrics.frames == 2


def test_one_of_two_found_and_a_false_one_before_it():
    truths = [[box("person", 0, 0, 50, 50), box("person", 200, 0, 50, 50)]]
    # IoU of the second prediction: 40 of 60 columns.
    found = [[box("person", 100, 0, 50, 50, 0.9), box("person", 10, 0, 50, 50, 0.8)]]
    metrics = measure(truths, found, CLASSES)
    # Precision 1/2 at recalls 0, 0.01 ... 0.5, nothing above.
    assert metrics.map50["person"] == pytest.approx(51 / 101 / 2)
    # The overlap of 2/3 counts at 0.5, 0.55, 0.6 and 0.65.
    assert metrics.coco["ap"] == pytest.approx(51 / 101 / 2 * 4 / 10)


def test_two_boxes_on_one_object_are_one_right_and_one_wrong():
    truths = [[box("head", 0, 0, 20, 20)], [box("head", 0, 0, 20, 20)]]
    twice = [box("head", 0, 0, 20, 20, 0.9), box("head", 0, 1, 20, 20, 0.8)]
    found = [twice, [box("head", 0, 0, 20, 20, 0.7)]]
    # Right, wrong, right: precision 1 up to recall 0.5 and 2/3 above it.
    assert measure(truths, found, CLASSES).map50["head"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_found_nothing_is_zero_and_no_object_is_none():
    assert measure([[box("head", 0, 0, 9, 9)]], [[]], CLASSES).map50["head"] == 0.0
    nothing = measure([[]], [[box("head", 0, 0, 9, 9)]], CLASSES)
    assert set(nothing.map50.values()) == set(nothing.coco.values()) == {None}
    assert nothing.mean_map50 is None
    assert measure([], [], CLASSES).coco == dict.fromkeys(COCO_KEYS)


def test_mean_is_over_the_classes_that_occur():
    assert DetectionMetrics({"a": 0.5, "b": None, "c": 1.0}, {}, 1).mean_map50 == 0.75


def test_nothing_is_printed(capfd):
    metrics = measure([[box("head", 0, 0, 9, 9)]], [[box("head", 0, 0, 9, 9)]], CLASSES)
    assert capfd.readouterr() == ("", "")
    assert json.loads(json.dumps(metrics.to_json()))["map50"]["head"] == 1.0


def test_classes_that_the_network_does_not_know():
    truths = [[box("truck", 0, 0, 9, 9), box("head", 50, 0, 9, 9)]]
    found = [[box("head", 50, 0, 9, 9, 0.5), box("head", 0, 0, 9, 9, 0.9)]]
    with pytest.raises(CodesignError, match=r"boxes of 'truck', which .* knows person, helmet"):
        measure(truths, found, CLASSES)
    # The better prediction is on the truck, hence wrong.
    ignoring = measure(truths, found, CLASSES, ignore_unknown=True)
    assert ignoring.map50 == {"person": None, "helmet": None, "head": 0.5}


def test_mistakes_of_the_caller():
    with pytest.raises(ValueError, match="2 frames with truth, 1 predicted"):
        measure([[], []], [[]], CLASSES)
    with pytest.raises(ValueError, match="predicted 'cat'"):
        measure([[]], [[box("cat", 0, 0, 1, 1)]], CLASSES)
