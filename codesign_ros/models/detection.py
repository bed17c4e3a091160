"""The detector's head, and how what it says becomes boxes.

Anchors are the centres of the cells of the maps at strides 8, 16 and 32. For each anchor the head
gives a distribution over ``reg_max`` distances for each side of the box, in strides, and a logit
for each class.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from codesign_ros.models.blocks import ConvBN
from codesign_ros.types.tensors import InputSpec

STRIDES = (8, 16, 32)
# Share of anchors that are taken to hold an object of a class before anything is learnt: this many
# objects in a picture of this many pixels across.
_PRIOR_OBJECTS, _PRIOR_SIZE = 5, 640


class DetectionHead(nn.Module):
    """For each map one branch for the boxes and one for the classes.

    Maps three maps (B, channels[i], h_i, w_i) to (B, 4 * reg_max + C, anchors), where anchors =
    sum of h_i * w_i, row by row, finest map first; left, top, right, bottom, then classes.
    """

    def __init__(self, channels: list[int], classes: int, reg_max: int) -> None:
        super().__init__()
        # The widths of YOLOv8's head: wide enough for what comes out, narrower than what comes in.
        box_width = max(16, channels[0] // 4, 4 * reg_max)
        class_width = max(channels[0], min(classes, 100))
        self.boxes = nn.ModuleList(_branch(c, box_width, 4 * reg_max) for c in channels)
        self.classes = nn.ModuleList(_branch(c, class_width, classes) for c in channels)
        for branch, stride in zip(self.classes, STRIDES, strict=True):
            prior = _PRIOR_OBJECTS / classes / (_PRIOR_SIZE / stride) ** 2
            nn.init.constant_(branch[-1].bias, math.log(prior))  # type: ignore[index]
        for branch in self.boxes:
            nn.init.constant_(branch[-1].bias, 1.0)  # type: ignore[index]

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Run both branches on each map."""
        flat = [
            torch.cat([boxes(x), classes(x)], 1).flatten(2)
            for x, boxes, classes in zip(maps, self.boxes, self.classes, strict=True)
        ]
        return torch.cat(flat, 2)


class DecodeBoxes(nn.Module):
    """Boxes in input pixels and probabilities from what the head says.

    Maps (B, 4 * reg_max + C, anchors) to (B, 4 + C, anchors). A side's distance is the mean of its
    distribution (Generalized Focal Loss, Eq. 5), times the anchor's stride.
    """

    points: torch.Tensor
    strides: torch.Tensor
    bins: torch.Tensor

    def __init__(self, input: InputSpec, classes: int, reg_max: int) -> None:
        super().__init__()
        points, strides = anchor_points(input.height, input.width)
        self.classes = classes
        self.reg_max = reg_max
        # Not weights: they follow from the input's size.
        self.register_buffer("points", points.T.contiguous(), persistent=False)
        self.register_buffer("strides", strides, persistent=False)
        self.register_buffer("bins", torch.arange(float(reg_max)), persistent=False)

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """Decode; x_min, y_min, x_max, y_max, then one probability for each class."""
        sides, logits = raw.split([4 * self.reg_max, self.classes], 1)
        batch, _, anchors = sides.shape
        shares = sides.reshape(batch, 4, self.reg_max, anchors).softmax(2)
        distances = (shares * self.bins.reshape(1, 1, -1, 1)).sum(2) * self.strides
        near = self.points - distances[:, :2]
        far = self.points + distances[:, 2:]
        return torch.cat([near, far, logits.sigmoid()], 1)


def anchor_points(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the anchors of an input of this size.

    Returns:
        Points (anchors, 2), x and y in pixels, and strides (anchors,), both float32.
    """
    points, strides = [], []
    for stride in STRIDES:
        rows, columns = math.ceil(height / stride), math.ceil(width / stride)
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centres = torch.stack([x.flatten(), y.flatten()], 1).float().add(0.5).mul(stride)
        points.append(centres)
        strides.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(points), torch.cat(strides)


def _branch(in_channels: int, width: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        ConvBN(in_channels, width, 3, 1, groups=1),
        nn.ReLU(),
        ConvBN(width, width, 3, 1, groups=1),
        nn.ReLU(),
        nn.Conv2d(width, out_channels, 1),
    )
