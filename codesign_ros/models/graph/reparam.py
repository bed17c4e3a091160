"""One segment of an imported network as it runs: BatchNorms fused, branches merged."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import torch
from torch import nn

from codesign_ros.models.blocks import BranchedConv
from codesign_ros.models.branches import (
    Branches,
    batch_norm_scale_shift,
    fuse_batch_norm,
    merge_branches,
    split_centre,
)
from codesign_ros.models.graph.blocks import (
    Block,
    Branch,
    find_blocks,
    same_padded,
    window,
)
from codesign_ros.models.graph.ops import CONV
from codesign_ros.models.graph.segment import GraphSegment
from codesign_ros.models.graph.steps import Step, Value
from codesign_ros.types.forms import Merge, Structure

_Pair = tuple[torch.Tensor, torch.Tensor]


def merge_segment(
    segment: GraphSegment, structure_of: Callable[[str], Structure], merge: Merge
) -> GraphSegment:
    """Copy a segment with its convolutions in the form that runs.

    - A RepVGG or MobileOne block keeps the branches of the structure that ``structure_of`` says for
      it, by the name of the value that it makes; several branches of one kind count as one.
    - Any other k x k convolution whose centre tap lies on its input is written as such branches
      first (``split_centre``), so with ``fold`` it computes the same in every structure, and
      with ``prune`` it loses the parts that do not stay.
    - A BatchNorm behind a convolution is fused into it.
    """
    modules: dict[str, nn.Module] = {}
    calls: dict[str, Step] = {}
    gone: set[str] = set()
    for block in _blocks(segment):
        module = _merged(block, segment, structure_of(block.output), merge)
        if module is not None:
            modules[block.output] = module
            calls[block.output] = Step(block.output, CONV, (Value(block.input),))
            gone.update(step.name for step in block.steps)
    steps = [
        calls.get(step.name, step)
        for step in segment.steps
        if step.name in calls or step.name not in gone
    ]
    result = GraphSegment(segment.input_names, steps, modules)
    for name in sorted({name for step in steps for name in step.weights()}):
        result.put(name, copy.deepcopy(segment.weight(name)))
    return result


def branched_values(segment: GraphSegment) -> list[str]:
    """Names of the values made by blocks that have more than their k x k branch to keep."""
    return [
        block.output for block in _blocks(segment) if _is_branched(_branches(block, segment)[1])
    ]


def _blocks(segment: GraphSegment) -> list[Block]:
    names = {name for step in segment.steps for name in step.weights()}
    shapes = {name: tuple(segment.weight(name).shape) for name in names}
    return find_blocks(segment.steps, shapes, [segment.steps[-1].name])


@torch.no_grad()
def _merged(
    block: Block, segment: GraphSegment, structure: Structure, merge: Merge
) -> nn.Module | None:
    """Build the module that computes a block; None where its operation can stay as it is."""
    conv, branches = _branches(block, segment)
    merged = merge_branches(conv, branches, structure, merge)
    if merged.conv_1x1 is not None or merged.identity is not None:
        return BranchedConv(*merged)
    has_norm = any(branch.norm is not None for branch in block.branches)
    return merged.conv if has_norm or (_is_branched(branches) and merge is Merge.PRUNE) else None


def _is_branched(branches: Branches) -> bool:
    return branches.kernel_1x1 is not None or branches.scale is not None


@torch.no_grad()
def _branches(block: Block, segment: GraphSegment) -> tuple[nn.Conv2d, Branches]:
    """A block's k x k convolution, without numbers, and its branches."""
    wide: list[_Pair] = []
    narrow: list[_Pair] = []
    scales: list[_Pair] = []
    step: Step | None = None
    for branch in block.branches:
        if branch.conv is None:
            assert branch.norm is not None
            scales.append(_scale_shift(branch.norm, segment))
            continue
        fused = _fused(branch, segment)
        is_wide = len(block.branches) == 1 or fused[0].shape[2:] != (1, 1)
        (wide if is_wide else narrow).append(fused)
        if is_wide:
            step = branch.conv
    assert step is not None
    kernel, bias = _total(wide)
    conv = conv_of(step, kernel)
    if len(block.branches) > 1:
        others = (_total(pairs) if pairs else (None, None) for pairs in (narrow, scales))
        return conv, Branches(kernel, bias, *itertools.chain.from_iterable(others))
    if kernel.shape[2:] != (1, 1) and same_padded(kernel.shape[2:], step):
        return conv, split_centre(conv, kernel, bias)
    return conv, Branches(kernel, bias)


def _fused(branch: Branch, segment: GraphSegment) -> _Pair:
    """Kernel and bias of a convolution with the BatchNorm behind it, if there is one; float64."""
    assert branch.conv is not None
    kernel, *bias = (segment.weight(name) for name in branch.conv.weights())
    if branch.norm is not None:
        return fuse_batch_norm(
            kernel, bias[0] if bias else None, *_scale_shift(branch.norm, segment)
        )
    zero = kernel.new_zeros(kernel.shape[0], dtype=torch.float64)
    return kernel.double(), bias[0].double() if bias else zero


def _scale_shift(norm: Step, segment: GraphSegment) -> _Pair:
    weight, bias, mean, variance = (segment.weight(name) for name in norm.weights())
    # batch_norm(input, weight, bias, mean, variance, training, momentum, eps, cudnn_enabled)
    return batch_norm_scale_shift(weight, bias, mean, variance, norm.args[7])


def _total(pairs: list[_Pair]) -> _Pair:
    firsts, seconds = zip(*pairs, strict=True)
    return torch.stack(firsts).sum(0), torch.stack(seconds).sum(0)


def conv_of(step: Step, kernel: torch.Tensor) -> nn.Conv2d:
    """Make a convolution of the shape of a step, without numbers."""
    stride, padding, dilation, groups = window(step)
    out_channels, in_channels, rows, columns = kernel.shape
    return nn.Conv2d(
        in_channels * groups,
        out_channels,
        (rows, columns),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        device="meta",
    )
