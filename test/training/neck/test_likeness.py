import math
from functools import partial

import pytest
import torch

from codesign_ros.training.neck.likeness import (
    class_weights,
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
    assert judged_segment(tiny_bundle) == ("logits", of_classes, None)


def test_rare_classes_count_as_much_as_frequent_ones():
    scores = torch.tensor([[[0.9, 0.9, 0.6], [0.1, 0.0, 0.5]], [[0.6, 0.0, 0.0], [0.0, 0.4, 0.0]]])
    weights = class_weights(scores)
    # 3.0 and 1.0 in all, and 2.0 on the average.
    assert weights.tolist() == pytest.approx([2 / 3, 2])
    # One that is never seen does not count for ever so much.
    assert class_weights(torch.eye(8)[None, :, :1] + 1e-9).max() == 4


@pytest.mark.parametrize(
    ("distance", "make", "first"), [(partial(of_distributions, bins=BINS), answers, BINS),
                                    (of_boxes, boxes, 4)],
)  # fmt: skip
def test_weights_of_classes(distance, make, first):
    """Where each anchor is of one class, as if each class were judged alone."""
    taught, found = make(0), make(1)
    classes = taught.shape[1] - first
    ones = torch.ones(classes, dtype=taught.dtype)
    assert distance(found, taught, weights=ones) == distance(found, taught)
    never = torch.tensor(-40.0 if first == BINS else 0.0, dtype=taught.dtype)
    scored = torch.arange(classes)[:, None] == torch.arange(taught.shape[2]) % classes
    for each in (taught, found):
        each[:, first:] = torch.where(scored, each[:, first:], never)
    weights = torch.linspace(1.0, 2.0, classes, dtype=taught.dtype) * 30
    total, together = 0.0, 0.0
    for label, weight in enumerate(weights.tolist()):
        places = scored[label]
        own = distance(found[..., places], taught[..., places]).item()
        sure = taught[:, first + label, places]
        sure = (sure.sigmoid() if first == BINS else sure).sum().item()
        together += weight * own * max(sure, len(taught))
        total += weight * sure
    assert distance(found, taught, weights=weights).item() == pytest.approx(together / total, 1e-3)
