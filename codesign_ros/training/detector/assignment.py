"""Which anchors learn which object: task-aligned assignment.

After Feng et al., "TOOD: Task-aligned One-stage Object Detection" (ICCV 2021), section 3.2: an
anchor's alignment with an object is ``t = s^alpha * u^beta``, where s is its probability for the
object's class and u the overlap (IoU) of its box. Of the anchors whose centre lies in an object
the ``TOP`` best aligned learn it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torchvision.ops import box_iou

ALPHA, BETA, TOP = 0.5, 6.0, 10
# Less than the sixth power of any overlap that counts.
_TINY = 1e-30


@dataclass(frozen=True)
class Assignment:
    """What each anchor of a batch should say; all (B, anchors, ...).

    Attributes:
        boxes: (B, A, 4) the object's box where ``positive``.
        scores: (B, A, C) target probability: the alignment, scaled so that an object's best anchor
            has the overlap of its best one.
        positive: (B, A) whether the anchor learns an object.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    positive: torch.Tensor


@torch.no_grad()
def assign(
    probabilities: torch.Tensor,
    boxes: torch.Tensor,
    points: torch.Tensor,
    true_boxes: torch.Tensor,
    true_labels: torch.Tensor,
    exists: torch.Tensor,
) -> Assignment:
    """Assign objects to anchors.

    Args:
        probabilities: (B, A, C) predicted.
        boxes: (B, A, 4) predicted, x_min, y_min, x_max, y_max in pixels.
        points: (A, 2) anchors, x and y in pixels.
        true_boxes: (B, M, 4) objects, filled up to M.
        true_labels: (B, M) their classes.
        exists: (B, M) False for the filling.
    """
    batch, anchors = probabilities.shape[:2]
    objects = true_boxes.shape[1]
    if objects == 0:
        return Assignment(
            torch.zeros_like(boxes),
            torch.zeros_like(probabilities),
            torch.zeros(batch, anchors, dtype=torch.bool, device=boxes.device),
        )
    inside = _candidates(points, true_boxes) & exists[..., None]
    overlap = box_iou(true_boxes, boxes).nan_to_num() * inside
    labels = true_labels[..., None].expand(-1, -1, anchors)
    scores = probabilities.transpose(1, 2).gather(1, labels)
    alignment = scores.pow(ALPHA) * overlap.pow(BETA) * inside

    best = alignment.topk(min(TOP, anchors), dim=2).indices
    chosen = torch.zeros_like(inside).scatter_(2, best, True) & inside
    # An anchor that several objects want learns the one that it overlaps most.
    winner = torch.where(chosen, overlap, -1.0).argmax(1, keepdim=True)
    chosen &= torch.zeros_like(chosen).scatter_(1, winner, True)

    positive = chosen.any(1)
    learnt = chosen.int().argmax(1)
    rows = torch.arange(batch, device=boxes.device)[:, None]
    alignment = alignment * chosen
    peak = alignment.amax(2, keepdim=True)
    share = alignment / peak.clamp(min=_TINY) * (overlap * chosen).amax(2, keepdim=True)
    target = torch.zeros_like(probabilities)
    target.scatter_(2, true_labels[rows, learnt][..., None], share.amax(1)[..., None])
    return Assignment(true_boxes[rows, learnt], target * positive[..., None], positive)


def _candidates(points: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """(B, M, A): anchors whose centre lies in the box; where none does, the nearest one.

    A helmet of 6 pixels can lie between the centres of cells that are 8 pixels wide.
    """
    near = points - boxes[:, :, None, :2]
    far = boxes[:, :, None, 2:] - points
    outside = (-torch.cat([near, far], 3)).amax(3)
    inside = outside < 0
    nearest = torch.zeros_like(inside).scatter_(2, outside.argmin(2, keepdim=True), True)
    return torch.where(inside.any(2, keepdim=True), inside, nearest)
