"""From a trained network to one that runs: which branches stay, and what becomes of the rest.

Four of the structures are the paper's fusion strategies theta (section IV). With ``fold`` the other
branches are added into the 3x3 kernel, which changes nothing but rounding; with ``prune`` they are
thrown away, which changes the network's answers. The fifth, ``rank``, is ``S3`` with every layer
as two of lower rank, see ``models.low_rank``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import nn

from codesign_ros.models.blocks import (
    BranchedConv,
    ConvBN,
    ParallelConv,
    RepVGGBlock,
    RepVGGDeployBlock,
)
from codesign_ros.models.branches import (
    Branches,
    batch_norm_scale_shift,
    conv_like,
    fuse_batch_norm,
    merge_branches,
)
from codesign_ros.models.graph.reparam import merge_segment
from codesign_ros.models.graph.segment import GraphSegment
from codesign_ros.models.low_rank import factorised
from codesign_ros.types.forms import RANK_ENERGY_KEPT, Merge, Structure

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def reparameterize(model: ModuleT, structure: Structure, merge: Merge) -> ModuleT:
    """Copy ``model`` with its blocks of branches and its convolutions with BatchNorm as they run.

    In an imported network (``models.graph``) every other k x k convolution is offered the
    structures too; see :func:`codesign_ros.models.branches.split_centre`.

    Args:
        model: any module; it is left as it is.
        structure: branches that stay branches of their own, their BatchNorm fused into them. For
            ``rank`` the model must have its numbers: the ranks follow from them.
        merge: ``fold`` adds the other branches into the 3x3 exactly, ``prune`` drops them.

    Returns:
        A new model of the same type in evaluation mode (a deploy block for a bare block).

    Raises:
        ValueError: ``model`` holds blocks that have been re-parameterised before; their branches
            are gone, so another structure cannot be made from them.
    """
    merged = reparameterize_each(model, lambda module, value: structure, merge)
    return factorised(merged, RANK_ENERGY_KEPT) if structure is Structure.RANK else merged


def reparameterize_each(
    model: ModuleT, structure_of: Callable[[nn.Module, str], Structure], merge: Merge
) -> ModuleT:
    """Do what :func:`reparameterize` does with a structure for each block; none is factorised.

    Args:
        model: any module; it is left as it is.
        structure_of: says the structure of a block. It is called with a RepVGG block and an empty
            text, or with a segment of an imported network and the name of the value that a block in
            it makes.
        merge: what becomes of the branches that do not stay.

    Raises:
        ValueError: as :func:`reparameterize`.
    """
    if any(_is_merged(module) for module in model.modules()):
        raise ValueError("the model is re-parameterised already; start from the trained one")
    # deepcopy looks each object up in its memo first, so seeding the memo swaps the blocks as the
    # model is copied, wherever they are (also where one block is used twice).
    blocks = [module for module in model.modules() if isinstance(module, ParallelConv)]
    memo: dict[int, object] = {id(b): _deploy_block(b, structure_of(b, ""), merge) for b in blocks}
    branches = {id(part) for block in blocks for part in block.modules()}
    for module in model.modules():
        if isinstance(module, ConvBN) and id(module) not in branches:
            memo[id(module)] = _fused(module)
        if isinstance(module, GraphSegment):
            memo[id(module)] = merge_segment(module, partial(structure_of, module), merge)
    return copy.deepcopy(model, memo).eval()


def _is_merged(module: nn.Module) -> bool:
    if isinstance(module, GraphSegment):
        return len(module.step_modules) > 0
    return isinstance(module, BranchedConv)


@torch.no_grad()
def _deploy_block(block: ParallelConv, structure: Structure, merge: Merge) -> BranchedConv:
    """Build the run-time form of one block."""
    identity = block.branch_identity
    branches = Branches(
        *_fused_conv(block.branch_3x3),
        *_fused_conv(block.branch_1x1),
        *((None, None) if identity is None else _scale_shift(identity)),
    )
    make = RepVGGDeployBlock if isinstance(block, RepVGGBlock) else BranchedConv
    return make(*merge_branches(block.branch_3x3.conv, branches, structure, merge))


@torch.no_grad()
def _fused(branch: ConvBN) -> nn.Conv2d:
    """Build one convolution with bias that computes convolution and BatchNorm."""
    return conv_like(branch.conv, *_fused_conv(branch))


def _scale_shift(bn: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Write BatchNorm in evaluation mode as ``x * scale + shift``; both (C,) float64."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    return batch_norm_scale_shift(bn.weight, bn.bias, bn.running_mean, bn.running_var, bn.eps)


def _fused_conv(branch: ConvBN) -> tuple[torch.Tensor, torch.Tensor]:
    """Fuse convolution and BatchNorm: kernel (O, I / groups, k, k) and bias (O,), float64."""
    return fuse_batch_norm(branch.conv.weight, branch.conv.bias, *_scale_shift(branch.bn))
