import math

import pytest
import torch

from codesign_ros.training.neck.likeness import (
    judged_segment,
    of_boxes,
    of_classes,
    of_distributions,
    of_maps,
)

BINS = 4 * 3


def answers(seed, classes=2, anchors=5):
    torch.manual_seed(seed)
    return torch.randn(2, BINS + classes, anchors, dtype=torch.float64)


def boxes(seed):
    torch.manual_seed(seed)
    low, size = torch.rand(2, 2, 6) * 50, torch.rand(2, 2, 6) * 30 + 1
    return torch.cat([low, low + size, torch.rand(2, 3, 6)], 1)


@pytest.mark.parametrize(
    ("distance", "make"),
    [
        (of_maps, lambda seed: answers(seed)),
        (of_classes, lambda seed: answers(seed)[:, :, 0]),
        (lambda a, b: of_distributions(a, b, BINS), answers),
        (of_boxes, boxes),
    ],
)
def test_nothing_is_nearer_than_the_same(distance, make):
    taught = make(0)
    assert distance(taught.clone(), taught).item() == pytest.approx(0, abs=1e-5)
    far = make(1)
    near = taught + 0.1 * (far - taught)
    assert 0 < distance(near, taught) < distance(far, taught)


def test_distributions_by_hand():
    found, taught = answers(0), answers(1)
    total, classes, sides = 0.0, 0.0, 0.0
    for b in range(2):
        for a in range(5):
            wanted = [1 / (1 + math.exp(-v)) for v in taught[b, BINS:, a].tolist()]
            total += sum(wanted)
            for logits, sign in ((found, 1), (taught, -1)):
                for v, p in zip(logits[b, BINS:, a].tolist(), wanted, strict=True):
                    own = 1 / (1 + math.exp(-v))
                    classes -= sign * (p * math.log(own) + (1 - p) * math.log(1 - own))
            for side in range(4):
                rows = [
                    t[b, 3 * side : 3 * side + 3, a].softmax(0).tolist() for t in (found, taught)
                ]
                sides += max(wanted) * sum(q * math.log(q / p) for p, q in zip(*rows, strict=True))
    by_hand = (classes + sides) / max(total, 2)
    assert of_distributions(found, taught, BINS).item() == pytest.approx(by_hand)


def test_boxes_by_hand():
    taught = torch.tensor([[[0.0], [0.0], [10.0], [10.0], [0.8]]])
    found = torch.tensor([[[5.0], [0.0], [15.0], [10.0], [0.8]]])
    # A third of the union is common; there is less than one object's worth of certainty.
    assert of_boxes(found, taught).item() == pytest.approx(0.8 * (1 - 1 / 3), abs=1e-5)


def test_which_tensor_is_judged(tiny_bundle):
    name, distance = judged_segment(tiny_bundle)
    assert (name, distance) == ("logits", of_classes)
