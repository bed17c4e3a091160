"""The detector's loss: classes, boxes and the distributions of the boxes' sides.

- Classes: binary cross entropy against the alignment of the assignment (TOOD).
- Boxes: complete IoU, Zheng et al., "Distance-IoU Loss" (AAAI 2020), Eq. 7-11.
- Sides: distribution focal loss, Li et al., "Generalized Focal Loss" (NeurIPS 2020), Eq. 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torchvision.ops import complete_box_iou_loss

from codesign_ros.models.detection import anchor_points
from codesign_ros.training.detector.assignment import assign

# Weights of the three parts, in the proportions of YOLOv8.
CLASS_WEIGHT, BOX_WEIGHT, SIDE_WEIGHT = 0.5, 7.5, 1.5


@dataclass(frozen=True)
class DetectionLoss:
    """The weighted parts of a batch's loss."""

    classes: torch.Tensor
    boxes: torch.Tensor
    sides: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        """Their sum, which is minimised."""
        return self.classes + self.boxes + self.sides


def detection_loss(
    raw: torch.Tensor,
    height: int,
    width: int,
    boxes: Sequence[torch.Tensor],
    labels: Sequence[torch.Tensor],
    reg_max: int,
) -> DetectionLoss:
    """Compare what the head says with the truth.

    Args:
        raw: (B, 4 * reg_max + C, anchors), the output of the detector's segment ``detect``.
        height: of the images of this batch [px].
        width: likewise.
        boxes: for each image (n, 4) float32, x_min, y_min, x_max, y_max in pixels.
        labels: for each image (n,) int64.
        reg_max: bins of a side.

    Returns:
        The three parts, each divided by the sum of the target scores of the batch.
    """
    points, strides = (t.to(raw.device) for t in anchor_points(height, width))
    sides, logits = raw.float().transpose(1, 2).split([4 * reg_max, raw.shape[1] - 4 * reg_max], 2)
    predicted = _boxes(sides, points, strides, reg_max)
    true_boxes, true_labels, exists = _filled_up(boxes, labels, raw.device)
    target = assign(
        logits.detach().sigmoid(), predicted.detach(), points, true_boxes, true_labels, exists
    )
    total = target.scores.sum().clamp(min=1.0)
    class_loss = F.binary_cross_entropy_with_logits(logits, target.scores, reduction="sum") / total

    positive = target.positive
    weights = target.scores.sum(2)[positive]
    box_loss = (complete_box_iou_loss(predicted[positive], target.boxes[positive]) * weights).sum()
    place, stride = points.expand(len(raw), -1, -1)[positive], strides.expand(len(raw), -1)
    wanted = (
        torch.cat([place - target.boxes[positive][:, :2], target.boxes[positive][:, 2:] - place], 1)
        / stride[positive][:, None]
    )
    focal = side_loss(sides[positive].reshape(-1, 4, reg_max), wanted)
    return DetectionLoss(
        classes=CLASS_WEIGHT * class_loss,
        boxes=BOX_WEIGHT * box_loss / total,
        sides=SIDE_WEIGHT * (focal * weights).sum() / total,
    )


def side_loss(logits: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
    """Cross entropy towards the two bins beside the true distance, by nearness.

    Args:
        logits: (n, 4, reg_max).
        distances: (n, 4) in strides; what no bin can say counts as the nearest bin.

    Returns:
        (n,), the mean over the four sides.
    """
    last = logits.shape[2] - 1
    distances = distances.clamp(0, last - 0.01)
    below = distances.floor().long()
    share = distances - below
    log_shares = logits.log_softmax(2)
    low = log_shares.gather(2, below[..., None])[..., 0]
    high = log_shares.gather(2, below[..., None] + 1)[..., 0]
    return -(low * (1 - share) + high * share).mean(1)


def _boxes(
    sides: torch.Tensor, points: torch.Tensor, strides: torch.Tensor, reg_max: int
) -> torch.Tensor:
    """(B, A, 4) boxes in pixels from (B, A, 4 * reg_max); `models.detection.DecodeBoxes`, batched.

    That one has the anchors of the network's own input size; training has several sizes.
    """
    bins = torch.arange(float(reg_max), device=sides.device)
    shares = sides.unflatten(2, (4, reg_max)).softmax(3)
    distances = (shares * bins).sum(3) * strides[:, None]
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], 2)


def _filled_up(
    boxes: Sequence[torch.Tensor], labels: Sequence[torch.Tensor], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    most = max((len(b) for b in boxes), default=0)
    true_boxes = torch.zeros(len(boxes), most, 4)
    true_labels = torch.zeros(len(boxes), most, dtype=torch.int64)
    exists = torch.zeros(len(boxes), most, dtype=torch.bool)
    for i, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        true_boxes[i, : len(box)] = box
        true_labels[i, : len(box)] = label
        exists[i, : len(box)] = True
    return true_boxes.to(device), true_labels.to(device), exists.to(device)
