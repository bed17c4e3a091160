"""Detector's output to boxes: against a plain numpy suppression, and through the letterbox."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from codesign_ros.pixels.boxes import Selection, decode_detections, to_frame
from codesign_ros.pixels.letterbox import Letterbox
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

CLASSES = ("person", "helmet", "head")
SPEC = InputSpec(height=400, width=640)


def output_of(boxes, scores):
    """(1, 4 + C, anchors) from rows of corners and rows of class scores."""
    return (
        np.concatenate((np.asarray(boxes, float), np.asarray(scores, float)), 1)
        .T[None]
        .astype(np.float32)
    )


def overlap(a, b):
    """IoU of one box with many."""
    near, far = np.maximum(a[:2], b[:, :2]), np.minimum(a[2:], b[:, 2:])
    shared = np.prod(np.clip(far - near, 0, None), axis=1)
    areas = np.prod(b[:, 2:] - b[:, :2], axis=1) + np.prod(a[2:] - a[:2])
    return shared / (areas - shared)


def suppressed(boxes, scores, score_threshold, iou_threshold):
    """The textbook's greedy suppression, class by class: (score, class, anchor) of what stays."""
    kept = []
    for label in range(scores.shape[1]):
        area = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        left = [int(i) for i in np.nonzero((scores[:, label] > score_threshold) & area)[0]]
        left.sort(key=lambda i: -scores[i, label])
        while left:
            best = left.pop(0)
            kept.append((float(scores[best, label]), label, best))
            ious = overlap(boxes[best], boxes[left]) if left else []
            left = [i for i, iou in zip(left, ious, strict=True) if iou <= iou_threshold]
    return sorted(kept, key=lambda entry: (-entry[0], *entry[1:]))


@given(seed=st.integers(0, 2**32 - 1), anchors=st.integers(0, 60))
def test_suppression_is_class_wise_and_greedy(seed, anchors):
    rng = np.random.default_rng(seed)
    # Few places and few scores, so that boxes overlap and scores tie; some lie outside the input.
    near = rng.integers(-40, 60, (anchors, 2))
    boxes = np.concatenate((near, near + rng.integers(-4, 40, (anchors, 2))), 1).astype(np.float32)
    scores = (rng.integers(0, 11, (anchors, 3)) / 10).astype(np.float32)
    found = decode_detections(
        output_of(boxes.reshape(-1, 4), scores),
        CLASSES,
        score_threshold=0.25,
        iou_threshold=0.45,
        max_detections=10_000,
    )
    expected = suppressed(boxes.astype(float), scores, 0.25, 0.45)
    assert found == [
        Box(CLASSES[label], *boxes[anchor].tolist(), score=score)
        for score, label, anchor in expected
    ]


def test_the_best_of_one_class_suppress_no_other_class():
    boxes = [[10, 10, 50, 50]] * 3
    scores = [[0.9, 0.8, 0.0], [0.7, 0.0, 0.6], [0.2, 0.85, 0.0]]
    found = decode_detections(output_of(boxes, scores), CLASSES)
    labels = [(box.label, round(box.score, 6)) for box in found]
    assert labels == [("person", 0.9), ("helmet", 0.85), ("head", 0.6)]


def test_of_equal_scores_the_earlier_class_and_anchor_come_first():
    boxes = [[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]]
    found = decode_detections(output_of(boxes, [[0.5, 0.5, 0.5]] * 3), CLASSES)
    assert [(box.label, box.x_min) for box in found] == [
        (label, x) for label in CLASSES for x in (0, 20, 40)
    ]


def test_only_the_best_count():
    boxes = [[20 * i, 0, 20 * i + 9, 9] for i in range(30)]
    scores = [[(i + 1) / 40, 0, 0] for i in range(30)]
    found = decode_detections(output_of(boxes, scores), CLASSES, max_detections=4)
    assert [box.x_min for box in found] == [580, 560, 540, 520]


def test_more_candidates_than_anybody_needs_cost_no_more_time():
    """All 5250 anchors of three classes pass; only the best few thousand are compared."""
    rng = np.random.default_rng(0)
    near = rng.uniform(0, 600, (5250, 2))
    boxes = np.concatenate((near, near + rng.uniform(5, 80, (5250, 2))), 1)
    scores = rng.uniform(0.1, 1, (5250, 3))
    found = decode_detections(output_of(boxes, scores), CLASSES)
    assert len(found) == Selection.max_detections
    assert found[0].score == np.float32(scores.max())


@pytest.mark.parametrize("box", [(10, 10, 10, 20), (10, 10, 20, 10), (20, 20, 10, 10)])
def test_a_box_without_an_area_is_none(box):
    assert decode_detections(output_of([box], [[0.9, 0.9, 0.9]]), CLASSES) == []


def test_a_network_without_anchors_finds_nothing():
    assert decode_detections(np.zeros((1, 7, 0), np.float32), CLASSES) == []


def test_a_box_without_area_suppresses_none():
    boxes = [[10, 10, 10, 20], [8, 8, 14, 22]]
    (found,) = decode_detections(output_of(boxes, [[0.9, 0, 0], [0.4, 0, 0]]), CLASSES)
    assert found.x_min == 8


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 6])
def test_an_output_that_is_not_finite_is_refused(bad, row):
    output = output_of([[0, 0, 9, 9]], [[0.5, 0.5, 0.5]])
    output[0, row, 0] = bad
    with pytest.raises(CodesignError, match="not finite"):
        decode_detections(output, CLASSES)


@pytest.mark.parametrize("shape", [(1, 6, 5), (1, 8, 5), (2, 7, 5), (7, 5), (1, 7)])
def test_an_output_of_another_shape_is_refused(shape):
    with pytest.raises(CodesignError, match=r"not \(1, 7, anchors\)"):
        decode_detections(np.zeros(shape, np.float32), CLASSES)


def test_huge_numbers_end_nothing():
    boxes = [[-3e38, -3e38, 3e38, 3e38], [0, 0, 9, 9]]
    found = decode_detections(output_of(boxes, [[0.9, 0, 0], [0, 0.8, 0]]), CLASSES)
    assert [box.label for box in found] == ["person", "helmet"]
    assert to_frame(found, 720, 1280, SPEC)[0] == Box("person", 0, 0, 1280, 720, found[0].score)


# Back to the frame

sizes = st.tuples(st.integers(1, 3000), st.integers(1, 3000))


@given(size=sizes, corners=st.tuples(*[st.floats(0, 1)] * 4), spec=st.sampled_from(
    [SPEC, InputSpec(64, 96), InputSpec(640, 640), InputSpec(700, 300)]))  # fmt: skip
def test_a_box_drawn_in_a_frame_comes_back(size, corners, spec):
    height, width = size
    x_min, x_max = sorted((corners[0] * width, corners[1] * width))
    y_min, y_max = sorted((corners[2] * height, corners[3] * height))
    assume(x_max - x_min > 1e-3 and y_max - y_min > 1e-3)
    box = Box("helmet", x_min, y_min, x_max, y_max, 0.5)
    inside = Letterbox.of(height, width, spec).to_input(box)
    assert -1e-6 <= inside.x_min <= inside.x_max <= spec.width + 1e-6
    assert -1e-6 <= inside.y_min <= inside.y_max <= spec.height + 1e-6
    (back,) = to_frame([inside], height, width, spec)
    for name in ("x_min", "y_min", "x_max", "y_max"):
        assert getattr(back, name) == pytest.approx(getattr(box, name), abs=1e-6)
    assert (back.label, back.score) == ("helmet", 0.5)


def test_a_wide_and_a_tall_frame_by_hand():
    # 1280 x 400 fits at half its size, between borders of 100 above and below.
    (wide,) = to_frame([Box("head", 100, 150, 200, 250)], 400, 1280, SPEC)
    assert wide == Box("head", 200, 100, 400, 300)
    # 320 x 800 fits at half its size, between borders of 240 at each side.
    (tall,) = to_frame([Box("head", 250, 100, 300, 200)], 800, 320, SPEC)
    assert tall == Box("head", 20, 200, 120, 400)


def test_a_frame_of_the_input_s_size_changes_no_digit():
    box = Box("head", 0.1, 0.2, 399.7, 399.9, 0.123)
    assert to_frame([box], 400, 640, SPEC) == [box]


def test_boxes_are_clipped_and_those_in_the_border_left_out():
    # As above: rows 100 to 300 of the input hold the frame.
    outside = Box("head", 0, 0, 640, 99)
    across = Box("person", -10, 50, 650, 310)
    assert to_frame([outside, across], 400, 1280, SPEC) == [Box("person", 0, 0, 1280, 400)]


def test_numbers_that_are_none_are_left_out():
    """As a broken tail may send them."""
    nan = float("nan")
    boxes = [Box("head", nan, 0, 9, 9), Box("head", 0, 0, nan, 9), Box("head", 0, 0, 9, nan)]
    assert to_frame(boxes, 400, 640, SPEC) == []


def test_centres_and_sizes_are_the_same_boxes():
    corners = [[10.0, 20.0, 30.0, 60.0], [-4.0, 2.0, 8.0, 5.0], [5.0, 5.0, 5.0, 9.0]]
    centres = [[20.0, 40.0, 20.0, 40.0], [2.0, 3.5, 12.0, 3.0], [5.0, 7.0, 0.0, 4.0]]
    scores = [[0.9, 0.1, 0.1], [0.2, 0.8, 0.1], [0.9, 0.9, 0.9]]
    found = decode_detections(output_of(corners, scores), CLASSES)
    assert len(found) == 6
    assert decode_detections(output_of(centres, scores), CLASSES, form="centre") == found
