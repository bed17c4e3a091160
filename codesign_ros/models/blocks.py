"""The RepVGG block: three branches while training, one to three of them at run time.

After Ding et al., "RepVGG: Making VGG-style ConvNets Great Again" (CVPR 2021). Every branch carries
its own BatchNorm; the sum of the branches goes through one ReLU.
"""

from __future__ import annotations

import torch
from torch import nn


class ConvBN(nn.Module):
    """A convolution without bias, padded to keep the size at stride 1, and its BatchNorm."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, groups: int
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the branch for ``x`` of shape (B, in_channels, H, W)."""
        return self.bn(self.conv(x))


class ParallelConv(nn.Module):
    """A convolution as it is trained: k x k-BN + 1x1-BN + identity-BN, added up.

    Maps (B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride)).

    Attributes:
        branch_3x3: the k x k convolution and its BatchNorm.
        branch_1x1: 1x1 convolution of the same stride and groups, and its BatchNorm.
        branch_identity: BatchNorm of the input, or None where the shapes forbid a shortcut
            (``in_channels != out_channels`` or ``stride != 1``).
    """

    def __init__(
        self, branch_3x3: ConvBN, branch_1x1: ConvBN, branch_identity: nn.BatchNorm2d | None
    ) -> None:
        super().__init__()
        self.branch_3x3 = branch_3x3
        self.branch_1x1 = branch_1x1
        self.branch_identity = branch_identity

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add up the branches for ``x`` of shape (B, in_channels, H, W)."""
        y = self.branch_3x3(x) + self.branch_1x1(x)
        if self.branch_identity is not None:
            y = y + self.branch_identity(x)
        return y


class RepVGGBlock(ParallelConv):
    """The block as it is trained: 3x3-BN + 1x1-BN + identity-BN, then ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, groups: int = 1
    ) -> None:
        has_identity = in_channels == out_channels and stride == 1
        super().__init__(
            ConvBN(in_channels, out_channels, 3, stride, groups),
            ConvBN(in_channels, out_channels, 1, stride, groups),
            nn.BatchNorm2d(in_channels) if has_identity else None,
        )
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the block for ``x`` of shape (B, in_channels, H, W)."""
        return self.relu(super().forward(x))


class ChannelScale(nn.Module):
    """``x * scale + bias`` for each channel: what an identity branch with BatchNorm becomes.

    A plain ``x + y`` after folding the scale elsewhere would be cheaper, but loses the protection
    that a separate scale gives the 3x3 kernel when it is quantised to 8 bits.

    Args:
        scale: shape (C,).
        bias: shape (C,); None = nothing is added.
    """

    def __init__(self, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.scale = nn.Parameter(scale.reshape(1, -1, 1, 1))
        self.bias = None if bias is None else nn.Parameter(bias.reshape(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale ``x`` of shape (B, C, H, W)."""
        y = x * self.scale
        return y if self.bias is None else y + self.bias


class BranchedConv(nn.Module):
    """A convolution as it runs: with bias, and beside it the branches that stay.

    Made by :func:`codesign_ros.models.reparam.reparameterize`; it has no BatchNorm.

    Attributes:
        conv_3x3: the convolution; in an imported network it may have another odd kernel.
        conv_1x1: 1x1 convolution, or None.
        identity: the shortcut as a per-channel scale and bias, or None.
    """

    def __init__(
        self, conv_3x3: nn.Conv2d, conv_1x1: nn.Conv2d | None, identity: ChannelScale | None
    ) -> None:
        super().__init__()
        self.conv_3x3 = conv_3x3
        self.conv_1x1 = conv_1x1
        self.identity = identity

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add up the branches for ``x`` of shape (B, in_channels, H, W)."""
        y = self.conv_3x3(x)
        if self.conv_1x1 is not None:
            y = y + self.conv_1x1(x)
        if self.identity is not None:
            y = y + self.identity(x)
        return y


class RepVGGDeployBlock(BranchedConv):
    """The block as it runs: a 3x3 convolution with bias and the branches that stay, then ReLU."""

    def __init__(
        self, conv_3x3: nn.Conv2d, conv_1x1: nn.Conv2d | None, identity: ChannelScale | None
    ) -> None:
        super().__init__(conv_3x3, conv_1x1, identity)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the block for ``x`` of shape (B, in_channels, H, W)."""
        return self.relu(super().forward(x))
