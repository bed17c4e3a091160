"""Which anchors learn which object, against a computation one object at a time."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.models.detection import anchor_points
from codesign_ros.training.detector.assignment import ALPHA, BETA, TOP, assign


def overlap_of(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union


def expected(probabilities, boxes, points, true_boxes, true_labels):
    """(target score of each anchor and class, box of each anchor or None), with plain loops."""
    anchors, classes = probabilities.shape
    claims = {}
    for m, (truth, label) in enumerate(zip(true_boxes, true_labels, strict=True)):
        inside = [
            a
            for a, (x, y) in enumerate(points)
            if truth[0] < x < truth[2] and truth[1] < y < truth[3]
        ]
        if not inside:
            outside = [
                max(truth[0] - x, truth[1] - y, x - truth[2], y - truth[3]) for x, y in points
            ]
            inside = [int(np.argmin(outside))]
        overlaps = {a: overlap_of(truth, boxes[a]) for a in inside}
        alignment = {a: probabilities[a, label] ** ALPHA * overlaps[a] ** BETA for a in inside}
        for a in sorted(inside, key=lambda a: -alignment[a])[:TOP]:
            claims.setdefault(a, []).append((overlaps[a], m, alignment[a]))
    winner = {a: max(wants) for a, wants in claims.items()}
    scores = np.zeros((anchors, classes))
    for m, label in enumerate(true_labels):
        own = {a: (u, t) for a, (u, who, t) in winner.items() if who == m}
        if own and max(t for _, t in own.values()) > 0:
            best_overlap = max(u for u, _ in own.values())
            peak = max(t for _, t in own.values())
            for a, (_, t) in own.items():
                scores[a, label] = t / peak * best_overlap
    return scores, {a: true_boxes[who] for a, (_, who, _) in winner.items()}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_like_a_computation_with_loops(seed, objects):
    rng = np.random.default_rng(seed)
    points = anchor_points(64, 96)[0].numpy()
    count = len(points)
    probabilities = rng.uniform(0.01, 0.9, (count, 3)).astype(np.float32)
    sizes = rng.uniform(2, 30, (count, 4)).astype(np.float32)
    boxes = np.concatenate([points - sizes[:, :2], points + sizes[:, 2:]], 1)
    starts = rng.uniform(0, 50, (objects, 2))
    truths = np.concatenate([starts, starts + rng.uniform(4, 40, (objects, 2))], 1)
    truths = truths.astype(np.float32)
    labels = rng.integers(0, 3, objects)

    # A second image without objects, and filling behind the first one's.
    filled = np.concatenate([truths, np.zeros((2, 4), np.float32)])
    exists = torch.zeros(2, objects + 2, dtype=torch.bool)
    exists[0, :objects] = True
    result = assign(
        torch.from_numpy(np.stack([probabilities] * 2)),
        torch.from_numpy(np.stack([boxes] * 2)),
        torch.from_numpy(points),
        torch.from_numpy(np.stack([filled] * 2)),
        torch.from_numpy(np.stack([np.append(labels, [0, 0])] * 2)),
        exists,
    )
    scores, owners = expected(probabilities, boxes, points, truths, labels)
    np.testing.assert_allclose(result.scores[0].numpy(), scores, rtol=1e-3, atol=1e-6)
    assert set(np.nonzero(result.positive[0].numpy())[0]) == set(owners)
    for anchor, box in owners.items():
        np.testing.assert_array_equal(result.boxes[0, anchor].numpy(), box)
    assert not result.positive[1].any()
    assert not result.scores[1].any()


def test_an_object_between_the_anchors_has_one_all_the_same():
    points, _ = anchor_points(64, 64)
    truth = torch.tensor([[[9.0, 9.0, 11.0, 11.0]]])  # centres lie at 4, 12, 20 ...
    boxes = torch.cat([points - 8, points + 8], 1)[None]
    result = assign(
        torch.full((1, len(points), 1), 0.5),
        boxes,
        points,
        truth,
        torch.zeros(1, 1, dtype=torch.int64),
        torch.ones(1, 1, dtype=torch.bool),
    )
    (where,) = torch.nonzero(result.positive[0], as_tuple=True)
    assert points[where].tolist() == [[12.0, 12.0]]


def test_no_object_at_all():
    points, _ = anchor_points(64, 64)
    result = assign(
        torch.full((2, len(points), 3), 0.5),
        torch.cat([points, points + 1], 1).expand(2, -1, -1),
        points,
        torch.zeros(2, 0, 4),
        torch.zeros(2, 0, dtype=torch.int64),
        torch.zeros(2, 0, dtype=torch.bool),
    )
    assert not result.positive.any()
    assert result.scores.shape == (2, len(points), 3)
