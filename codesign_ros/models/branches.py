"""The branches of a re-parameterisable convolution as numbers, and how they become one module.

All sums are taken in float64, so that folding changes nothing but rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from codesign_ros.models.blocks import ChannelScale
from codesign_ros.types.forms import Merge, Structure


class Branches(NamedTuple):
    """Parallel branches of one input, without BatchNorm, float64.

    Attributes:
        kernel: of the k x k convolution, (O, I / groups, k_h, k_w).
        bias: its bias, (O,).
        kernel_1x1: of the 1 x 1 convolution, (O, I / groups, 1, 1); None if there is none.
        bias_1x1: its bias; None if it has none.
        scale: factor of each channel of the identity branch, (O,); None if there is none.
        shift: what that branch adds to each channel; None if nothing.
    """

    kernel: torch.Tensor
    bias: torch.Tensor
    kernel_1x1: torch.Tensor | None = None
    bias_1x1: torch.Tensor | None = None
    scale: torch.Tensor | None = None
    shift: torch.Tensor | None = None


class Merged(NamedTuple):
    """The modules that run: the k x k convolution and the branches that stay."""

    conv: nn.Conv2d
    conv_1x1: nn.Conv2d | None
    identity: ChannelScale | None


@torch.no_grad()
def merge_branches(
    conv: nn.Conv2d, branches: Branches, structure: Structure, merge: Merge
) -> Merged:
    """Keep the branches of ``structure``, and add the others into the k x k kernel or drop them.

    Args:
        conv: a convolution of the shape of the k x k branch; its numbers are not read.
        branches: the branches.
        structure: branches that stay.
        merge: what becomes of the others.
    """
    kernel, bias, kernel_1x1, bias_1x1, scale, shift = branches
    conv_1x1 = identity = None
    dtype = conv.weight.dtype
    if kernel_1x1 is not None:
        if structure.keeps_1x1:
            conv_1x1 = conv_like(conv, kernel_1x1, bias_1x1)
        elif merge is Merge.FOLD:
            rows, columns = (size // 2 for size in kernel.shape[2:])
            kernel = kernel + F.pad(kernel_1x1, (columns, columns, rows, rows))
            bias = bias if bias_1x1 is None else bias + bias_1x1
    if scale is not None:
        if structure.keeps_identity:
            identity = ChannelScale(scale.to(dtype), None if shift is None else shift.to(dtype))
        elif merge is Merge.FOLD:
            kernel = kernel + _identity_kernel(scale, kernel)
            bias = bias if shift is None else bias + shift
    return Merged(conv_like(conv, kernel, bias), conv_1x1, identity)


def split_centre(conv: nn.Conv2d, kernel: torch.Tensor, bias: torch.Tensor) -> Branches:
    """Write a k x k convolution as the branches of a RepVGG block.

    The 1 x 1 branch gets the kernel's centre tap. Where the convolution keeps size and channels,
    the identity branch gets the diagonal of that tap, which is the part of it that takes each
    channel to itself. Of a depthwise convolution that is the whole tap, so it has no 1 x 1 branch.

    Args:
        conv: a convolution of this shape, padded so that its centre tap lies on its input.
        kernel: float64.
        bias: float64.
    """
    row, column = (size // 2 for size in kernel.shape[2:])
    rest, centre = kernel.clone(), kernel[:, :, row, column].clone()
    rest[:, :, row, column] = 0
    if not keeps_shape(conv):
        return Branches(rest, bias, centre[:, :, None, None])
    out, own = _own_channels(kernel)
    scale = centre[out, own]
    centre[out, own] = 0
    is_depthwise = kernel.shape[1] == 1
    return Branches(
        rest, bias, None if is_depthwise else centre[:, :, None, None], None, scale, None
    )


def keeps_shape(conv: nn.Conv2d) -> bool:
    """Whether a convolution that keeps the size at stride 1 can have an identity branch."""
    return conv.in_channels == conv.out_channels and set(conv.stride) == {1}


def fuse_batch_norm(
    kernel: torch.Tensor, bias: torch.Tensor | None, scale: torch.Tensor, shift: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fuse a convolution and the BatchNorm behind it, written as ``x * scale + shift``; float64."""
    fused = shift if bias is None else bias.double() * scale + shift
    return kernel.double() * scale.reshape(-1, 1, 1, 1), fused


def batch_norm_scale_shift(
    weight: torch.Tensor,
    bias: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Write BatchNorm in evaluation mode as ``x * scale + shift``; all (C,), float64."""
    scale = weight.double() / (variance.double() + eps).sqrt()
    return scale, bias.double() - mean.double() * scale


def conv_like(conv: nn.Conv2d, kernel: torch.Tensor, bias: torch.Tensor | None) -> nn.Conv2d:
    """Make a convolution of ``conv``'s channels, stride, groups and element type.

    Where the kernel is 1 x 1 and that of ``conv`` is not, it is not padded.
    """
    size = (kernel.shape[2], kernel.shape[3])
    is_own = size == conv.kernel_size
    out = nn.utils.skip_init(
        nn.Conv2d,
        conv.in_channels,
        conv.out_channels,
        size,
        stride=conv.stride,
        padding=conv.padding if is_own else 0,
        dilation=conv.dilation if is_own else 1,
        groups=conv.groups,
        bias=bias is not None,
        device=kernel.device,
        dtype=conv.weight.dtype,
    )
    out.weight.copy_(kernel)
    if bias is not None:
        out.bias.copy_(bias)
    return out


def _identity_kernel(scale: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Write ``x * scale`` as a kernel of the shape of ``like``, (C, C / groups, k_h, k_w)."""
    kernel = torch.zeros_like(like)
    row, column = (size // 2 for size in like.shape[2:])
    out, own = _own_channels(like)
    kernel[out, own, row, column] = scale
    return kernel


def _own_channels(kernel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each output channel, itself and its index among the inputs of its group."""
    out = torch.arange(kernel.shape[0], device=kernel.device)
    return out, out % kernel.shape[1]
