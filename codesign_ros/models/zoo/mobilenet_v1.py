"""MobileNetV1: depthwise separable convolutions.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications"
(arXiv 1704.04861), table 1.
"""

from __future__ import annotations

from torch import nn

from codesign_ros.models.blocks import ConvBN

# Table 1: channels and stride of each depthwise separable pair behind the stem.
_PAIRS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2),
    (1024, 1),
)  # fmt: skip


def mobilenet_v1(classes: int = 1000) -> nn.Module:
    """Make the network of width 1; it maps (B, 3, H, W) to logits (B, classes).

    The last pair keeps the size, as the map sizes of the paper's table need; the stride of 2 that
    the table prints there is a known slip.
    """
    layers: list[nn.Module] = [ConvBN(3, 32, 3, 2, 1), nn.ReLU()]
    channels = 32
    for width, stride in _PAIRS:
        layers += [ConvBN(channels, channels, 3, stride, channels), nn.ReLU()]
        layers += [ConvBN(channels, width, 1, 1, 1), nn.ReLU()]
        channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers)
