"""ShuffleNet, the first version: grouped 1x1 convolutions whose channels are shuffled.

Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices"
(CVPR 2018), table 1 and figure 2. torchvision has the second version only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from codesign_ros.models.blocks import ConvBN
from codesign_ros.types.errors import CodesignError

# Table 1: channels of the stages for each number of groups, and units of each stage.
_WIDTHS = {
    1: (144, 288, 576),
    2: (200, 400, 800),
    3: (240, 480, 960),
    4: (272, 544, 1088),
    8: (384, 768, 1536),
}
_UNITS = (4, 8, 4)
_STEM = 24


def shufflenet_v1(groups: int = 3, classes: int = 1000) -> nn.Module:
    """Make "ShuffleNet 1x"; it maps (B, 3, H, W) to logits (B, classes).

    Args:
        groups: of the 1x1 convolutions: 1, 2, 3, 4 or 8. The paper takes 3 where it compares.
        classes: number of logits.

    Raises:
        CodesignError: the paper has no such number of groups.
    """
    if groups not in _WIDTHS:
        raise CodesignError(f"ShuffleNet has {', '.join(map(str, _WIDTHS))} groups, not {groups}")
    layers: list[nn.Module] = [ConvBN(3, _STEM, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = _STEM
    for width, units in zip(_WIDTHS[groups], _UNITS, strict=True):
        for i in range(units):
            layers.append(_Unit(channels, width, groups, 2 if i == 0 else 1))
            channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers)


class _Unit(nn.Module):
    """Figure 2 (b), and (c) at stride 2, where the shortcut is an average that is joined on."""

    def __init__(self, in_channels: int, out_channels: int, groups: int, stride: int) -> None:
        super().__init__()
        middle = out_channels // 4
        self.groups = groups
        self.stride = stride
        made = out_channels if stride == 1 else out_channels - in_channels
        # So few channels come from the stem that its first 1x1 convolution has no groups.
        first = 1 if in_channels == _STEM else groups
        self.squeeze = ConvBN(in_channels, middle, 1, 1, first)
        self.depthwise = ConvBN(middle, middle, 3, stride, middle)
        self.expand = ConvBN(middle, made, 1, 1, groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.squeeze(x))
        batch, channels, height, width = y.shape
        y = y.reshape(batch, self.groups, channels // self.groups, height, width)
        y = y.transpose(1, 2).reshape(batch, channels, height, width)
        y = self.expand(self.depthwise(y))
        if self.stride == 1:
            return F.relu(x + y)
        return F.relu(torch.cat([F.avg_pool2d(x, 3, 2, 1), y], 1))
