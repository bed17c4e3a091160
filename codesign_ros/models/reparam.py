"""From a trained network to one that runs: which branches stay, and what becomes of the rest.

The four structures are the paper's fusion strategies theta (section IV). With ``fold`` the other
branches are added into the 3x3 kernel, which changes nothing but rounding; with ``prune`` they are
thrown away, which changes the network's answers.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from codesign_ros.models.blocks import ChannelScale, ConvBN, RepVGGBlock, RepVGGDeployBlock
from codesign_ros.types import Merge, Structure

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def reparameterize(model: ModuleT, structure: Structure, merge: Merge) -> ModuleT:
    """Copy ``model`` with every RepVGG block and every convolution with BatchNorm as it runs.

    Args:
        model: any module; it is left as it is.
        structure: branches that stay branches of their own, their BatchNorm fused into them.
        merge: ``fold`` adds the other branches into the 3x3 exactly, ``prune`` drops them.

    Returns:
        A new model of the same type in evaluation mode (a deploy block for a bare block).

    Raises:
        ValueError: ``model`` holds blocks that have been re-parameterised before; their branches
            are gone, so another structure cannot be made from them.
    """
    blocks = [module for module in model.modules() if isinstance(module, RepVGGBlock)]
    if any(isinstance(module, RepVGGDeployBlock) for module in model.modules()):
        raise ValueError("the model is re-parameterised already; start from the trained one")
    # deepcopy looks each object up in its memo first, so seeding the memo swaps the blocks as the
    # model is copied, wherever they are (also where one block is used twice).
    memo: dict[int, object] = {id(b): _deploy_block(b, structure, merge) for b in blocks}
    branches = {id(part) for block in blocks for part in block.modules()}
    for module in model.modules():
        if isinstance(module, ConvBN) and id(module) not in branches:
            memo[id(module)] = _fused(module)
    return copy.deepcopy(model, memo).eval()


@torch.no_grad()
def _deploy_block(block: RepVGGBlock, structure: Structure, merge: Merge) -> RepVGGDeployBlock:
    """Build the run-time form of one block. Sums are taken in float64, so folding is exact."""
    kernel_3x3, bias_3x3 = _fused_conv(block.branch_3x3)
    kernel_1x1, bias_1x1 = _fused_conv(block.branch_1x1)
    conv = block.branch_3x3.conv
    dtype = conv.weight.dtype

    if merge is Merge.FOLD and not structure.keeps_1x1:
        kernel_3x3 = kernel_3x3 + F.pad(kernel_1x1, (1, 1, 1, 1))
        bias_3x3 = bias_3x3 + bias_1x1
    conv_1x1 = _conv_like(conv, kernel_1x1, bias_1x1) if structure.keeps_1x1 else None

    identity = None
    if block.branch_identity is not None:
        scale, bias = _bn_scale_bias(block.branch_identity)
        if structure.keeps_identity:
            identity = ChannelScale(scale.to(dtype), bias.to(dtype))
        elif merge is Merge.FOLD:
            kernel_3x3 = kernel_3x3 + _identity_kernel(scale, conv.groups)
            bias_3x3 = bias_3x3 + bias

    return RepVGGDeployBlock(_conv_like(conv, kernel_3x3, bias_3x3), conv_1x1, identity)


@torch.no_grad()
def _fused(branch: ConvBN) -> nn.Conv2d:
    """Build one convolution with bias that computes convolution and BatchNorm."""
    return _conv_like(branch.conv, *_fused_conv(branch))


def _bn_scale_bias(bn: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Write BatchNorm in evaluation mode as ``x * scale + bias``; both (C,) float64."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
    return scale, bn.bias.double() - bn.running_mean.double() * scale


def _fused_conv(branch: ConvBN) -> tuple[torch.Tensor, torch.Tensor]:
    """Fuse convolution and BatchNorm: kernel (O, I / groups, k, k) and bias (O,), float64."""
    scale, bias = _bn_scale_bias(branch.bn)
    return branch.conv.weight.double() * scale.reshape(-1, 1, 1, 1), bias


def _identity_kernel(scale: torch.Tensor, groups: int) -> torch.Tensor:
    """Write ``x * scale`` as a 3x3 kernel of shape (C, C / groups, 3, 3)."""
    channels = scale.numel()
    kernel = scale.new_zeros(channels, channels // groups, 3, 3)
    out = torch.arange(channels)
    # Inside its group, output channel c reads input channel c modulo the group's width.
    kernel[out, out % (channels // groups), 1, 1] = scale
    return kernel


def _conv_like(conv: nn.Conv2d, kernel: torch.Tensor, bias: torch.Tensor) -> nn.Conv2d:
    """Make a convolution with bias of ``conv``'s channels, stride, groups and dtype."""
    size = kernel.shape[-1]
    out = nn.utils.skip_init(
        nn.Conv2d,
        conv.in_channels,
        conv.out_channels,
        size,
        stride=conv.stride,
        padding=size // 2,
        groups=conv.groups,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    out.weight.copy_(kernel)
    out.bias.copy_(bias)
    return out
