"""How far the network's answer through a neck is from its answer without.

No truth is needed: the network teaches (Hinton et al., "Distilling the Knowledge in a Neural
Network", 2015).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F

from codesign_ros.bundle import Bundle
from codesign_ros.models.zoo.yolo import RAW
from codesign_ros.types.boxes import CORNERS

Likeness = Callable[..., torch.Tensor]
"""Distance of an answer from the teacher's, both of (B, ...), as a scalar; 0 where they agree.

A detector's also takes ``weights`` of its classes.
"""

# IoU is no number where a box has no area.
_LEAST_AREA_PX = 1e-6
# By how much more or less than the mean a class counts at most.
_MOST_WEIGHT = 4.0


class Judged(NamedTuple):
    """The segment whose tensor is compared.

    Attributes:
        name: of the segment.
        distance: how answers are compared.
        scores: of a detector's answers: the probabilities of its classes, (B, C, anchors), to
            which `distance` takes ``weights``; None = it is no detector.
    """

    name: str
    distance: Likeness
    scores: Callable[[torch.Tensor], torch.Tensor] | None = None


def judged_segment(bundle: Bundle) -> Judged:
    """Return the segment whose tensor is compared, and how."""
    if bundle.architecture == "yolo" and RAW in bundle.segments:
        bins = 4 * int(bundle.architecture_args.get("reg_max", 16))
        distance = partial(of_distributions, bins=bins)
        return Judged(RAW, distance, lambda raw: raw[:, bins:].sigmoid())
    last = bundle.crossings[-1][0].name
    if bundle.task == "detection":
        return Judged(last, partial(of_boxes, form=bundle.boxes), lambda boxes: boxes[:, 4:])
    by_task: dict[str, Likeness] = {"classification": of_classes, "features": of_maps}
    return Judged(last, by_task[bundle.task])


def class_weights(scores: torch.Tensor) -> torch.Tensor:
    """Weights (C,) by which rare classes count as much as frequent ones, as they do in mAP.

    Args:
        scores: what a detector says of frames, probabilities (n, C, anchors).
    """
    sums = scores.sum((0, 2)).clamp(min=1e-6)
    return (sums.mean() / sums).clamp(1 / _MOST_WEIGHT, _MOST_WEIGHT)


def of_maps(found: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """Squared error as a share of the variance."""
    return (found - taught).square().mean() / taught.var().clamp(min=1e-12)


def of_classes(found: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of logits (B, classes)."""
    target = taught.log_softmax(1)
    return F.kl_div(found.log_softmax(1), target, reduction="batchmean", log_target=True)


def of_distributions(
    found: torch.Tensor, taught: torch.Tensor, bins: int, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Distance of a detector's raw answers (B, bins + C, anchors).

    Classes by cross entropy above the teacher's own, box sides by the divergence of their
    distributions, weighted by how sure the teacher is of an object; ``weights`` (C,) are those of
    the classes, 1 by default.
    """
    wanted = taught[:, bins:].sigmoid()
    counted = _weighted(wanted, weights)
    excess = _cross_entropy(found[:, bins:], wanted) - _cross_entropy(taught[:, bins:], wanted)
    own, right = (each[:, :bins].unflatten(1, (4, -1)).log_softmax(2) for each in (found, taught))
    sides = (right.exp() * (right - own)).sum((1, 2)) * counted.amax(1)
    return (_weighted(excess, weights).sum() + sides.sum()) / counted.sum().clamp(min=len(taught))


def of_boxes(
    found: torch.Tensor,
    taught: torch.Tensor,
    form: str = CORNERS,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Distance of detections (B, 4 + C, anchors): boxes of ``form`` [px], then probabilities.

    ``weights`` as for ``of_distributions``.
    """
    right = taught[:, 4:].clamp(0, 1)
    own = found[:, 4:].clamp(1e-6, 1 - 1e-6)
    counted = _weighted(right, weights)
    excess = F.binary_cross_entropy(own, right, reduction="none") - F.binary_cross_entropy(
        right.clamp(1e-6, 1 - 1e-6), right, reduction="none"
    )
    apart = (1 - _overlap(_corners(found, form), _corners(taught, form))) * counted.amax(1)
    return (_weighted(excess, weights).sum() + apart.sum()) / counted.sum().clamp(min=len(taught))


def _weighted(values: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return values if weights is None else values * weights[:, None]


def _cross_entropy(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")


def _corners(detections: torch.Tensor, form: str) -> torch.Tensor:
    """The boxes as corners, (B, 4, anchors)."""
    if form == CORNERS:
        return detections[:, :4]
    centres, halves = detections[:, :2], detections[:, 2:4] / 2
    return torch.cat((centres - halves, centres + halves), 1)


def _overlap(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Intersection over union of boxes (B, 4, anchors)."""
    low = torch.maximum(one[:, :2], other[:, :2])
    high = torch.minimum(one[:, 2:], other[:, 2:])
    common = (high - low).clamp(min=0).prod(1)
    areas = [(each[:, 2:] - each[:, :2]).clamp(min=0).prod(1) for each in (one, other)]
    return common / (areas[0] + areas[1] - common).clamp(min=_LEAST_AREA_PX)
