"""The detector's loss against formulas worked out by hand."""

import math

import numpy as np
import pytest
import torch

from codesign_ros.models.detection import DecodeBoxes, anchor_points
from codesign_ros.training.detector.loss import detection_loss, side_loss
from codesign_ros.types.tensors import InputSpec

REG_MAX = 6


def raw_that_says(boxes, classes, height=64, width=96, confidence=6.0):
    """What a head would say that is sure of these boxes: (1, 4 * REG_MAX + 2, anchors)."""
    points, strides = anchor_points(height, width)
    sides = torch.full((4, REG_MAX, len(points)), -20.0)
    logits = torch.full((2, len(points)), -confidence)
    for (x_min, y_min, x_max, y_max), label in zip(boxes, classes, strict=True):
        for a, ((x, y), stride) in enumerate(zip(points.tolist(), strides.tolist(), strict=True)):
            distances = [(d / stride) for d in (x - x_min, y - y_min, x_max - x, y_max - y)]
            if min(distances) <= 0 or max(distances) > REG_MAX - 1.02:
                continue
            logits[label, a] = confidence
            for side, distance in enumerate(distances):
                below = int(distance)
                share = distance - below
                sides[side, below, a] = math.log(max(1 - share, 1e-9))
                sides[side, below + 1, a] = math.log(max(share, 1e-9))
    return torch.cat([sides.flatten(0, 1), logits])[None]


def loss_for(raw, boxes, labels):
    return detection_loss(raw, 64, 96, [torch.tensor(boxes)], [torch.tensor(labels)], REG_MAX)


def test_right_answers_cost_next_to_nothing_and_wrong_ones_much():
    boxes, labels = [[10.0, 12.0, 40.0, 44.0]], [1]
    right = loss_for(raw_that_says(boxes, labels), boxes, labels)
    assert right.boxes < 0.02
    assert right.sides > 0
    wrong_class = loss_for(raw_that_says(boxes, [0]), boxes, labels)
    # Not less: of the anchors that are sure of the object only the best ones should be.
    assert wrong_class.classes > 4 * right.classes
    wrong_place = loss_for(raw_that_says([[14.0, 20.0, 44.0, 52.0]], labels), boxes, labels)
    assert wrong_place.boxes > 10 * right.boxes
    assert wrong_place.sides > right.sides
    assert right.total == right.classes + right.boxes + right.sides


def test_boxes_are_decoded_as_the_network_does():
    """Training and inference must mean the same boxes by the same numbers."""
    boxes, labels = [[10.0, 12.0, 40.0, 44.0], [60.0, 20.0, 80.0, 60.0]], [1, 0]
    decoded = DecodeBoxes(InputSpec(64, 96), 2, REG_MAX)(raw_that_says(boxes, labels))[0]
    for box, label in zip(boxes, labels, strict=True):
        sure = decoded[4 + label] > 0.9
        assert sure.any()
        for found in decoded[:4, sure].T.tolist():
            assert found == pytest.approx(box, abs=0.05)


def test_an_image_without_objects_teaches_classes_alone():
    raw = raw_that_says([[10.0, 12.0, 40.0, 44.0]], [1]).requires_grad_()
    loss = detection_loss(
        raw, 64, 96, [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)], REG_MAX
    )
    assert loss.boxes == loss.sides == 0
    loss.total.backward()
    assert raw.grad is not None
    assert raw.grad[:, : 4 * REG_MAX].abs().max() == 0
    assert raw.grad[:, 4 * REG_MAX :].abs().max() > 0


def test_side_loss_is_least_where_the_mean_is_the_distance():
    distances = torch.tensor([[0.3, 1.0, 2.75, 4.2]])
    shares = torch.zeros(1, 4, REG_MAX)
    for side, d in enumerate(distances[0].tolist()):
        shares[0, side, int(d)] = 1 - (d - int(d))
        shares[0, side, int(d) + 1] = d - int(d)
    best = side_loss(torch.log(shares.clamp(min=1e-9)), distances)
    entropy = [-(p * np.log(p)).sum() for p in (s[s > 0].numpy() for s in shares[0])]
    assert best.item() == pytest.approx(np.mean(entropy), abs=1e-4)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        assert side_loss(torch.randn(1, 4, REG_MAX, generator=generator), distances) >= best


def test_distances_beyond_the_bins_count_as_the_nearest():
    logits = torch.randn(1, 4, REG_MAX, generator=torch.Generator().manual_seed(1))
    far, last = (torch.full((1, 4), d) for d in (100.0, REG_MAX - 1.0))
    assert side_loss(logits, far) == side_loss(logits, last)
    assert torch.isfinite(side_loss(logits, torch.full((1, 4), -3.0)))
