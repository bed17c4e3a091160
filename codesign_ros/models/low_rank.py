"""Convolutions and linear layers as two of lower rank: the structure ``rank``.

A layer's weights are written as a matrix and cut off behind its largest singular values; by Eckart
and Young no matrix of that rank is closer. A k x k convolution to O channels becomes a k x k
convolution to r channels and a 1 x 1 convolution from there to O, as in Zhang et al., "Accelerating
Very Deep Convolutional Networks for Classification and Detection" (TPAMI 2016), but without their
regard for the activations.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from codesign_ros.models.graph.ops import CONV, LINEAR
from codesign_ros.models.graph.reparam import conv_of
from codesign_ros.models.graph.segment import GraphSegment
from codesign_ros.models.graph.steps import Step, Value, Weight

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def factorised(model: ModuleT, energy_kept: float) -> ModuleT:
    """Copy a network with its layers as two of lower rank wherever that is less work.

    Layers are ``Conv2d`` without groups and ``Linear``, and in an imported network the steps of
    these kinds. A layer's rank r is the smallest that keeps the energy; where
    ``r * (I * k_h * k_w + O)`` is not below ``O * I * k_h * k_w``, the layer stays as it is.

    Args:
        model: in the form that runs, without BatchNorms behind its layers, and with its numbers;
            it is left as it is.
        energy_kept: share of the sum of squared singular values, above 0, at most 1. The squared
            error of a layer's weights is at most the rest of it.

    Raises:
        ValueError: ``energy_kept`` is not such a share.
    """
    if not 0.0 < energy_kept <= 1.0:
        raise ValueError(f"the energy kept must be above 0 and at most 1, not {energy_kept}")
    memo: dict[int, object] = {}
    for module in model.modules():
        if isinstance(module, GraphSegment):
            memo[id(module)] = _factorised_segment(module, energy_kept)
            continue
        pair = _pair(module, energy_kept)
        if pair is not None:
            memo[id(module)] = pair
    return copy.deepcopy(model, memo)


def rank_kept(singular_values: torch.Tensor, energy_kept: float) -> int:
    """Return the smallest rank, at least 1, whose squared singular values are that share of all.

    Args:
        singular_values: in falling order, (n,) float64.
        energy_kept: above 0, at most 1.
    """
    energy = singular_values.square()
    # What a rank leaves out is summed from the smallest; as 1 - (what it keeps) it would be lost
    # in the rounding of large numbers.
    left_out = energy.flip(0).cumsum(0).flip(0)
    return max(1, int((left_out > (1.0 - energy_kept) * energy.sum()).sum()))


def _pair(layer: nn.Module, energy_kept: float) -> nn.Sequential | None:
    """Build the two layers for one; None where it is no layer, or they would be more work."""
    # Exactly these types: what is derived from them may use its weights in a way of its own.
    if type(layer) is nn.Conv2d and layer.groups == 1:
        factors = _factors(layer.weight, energy_kept)
        return None if factors is None else _conv_pair(layer, *factors)
    if type(layer) is nn.Linear:
        factors = _factors(layer.weight, energy_kept)
        return None if factors is None else _linear_pair(layer, *factors)
    return None


@torch.no_grad()
def _factors(weight: torch.Tensor, energy_kept: float) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Write weights (O, ...) as (O, r) times (r, ...); None where that is not fewer numbers."""
    matrix = weight.double().flatten(1)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    rank = rank_kept(values, energy_kept)
    if rank * sum(matrix.shape) >= matrix.numel():
        return None
    # Both get the root, so that neither's numbers dwarf the other's.
    root = values[:rank].sqrt()
    inner = (root[:, None] * right[:rank]).reshape(rank, *weight.shape[1:])
    return (left[:, :rank] * root).to(weight.dtype), inner.to(weight.dtype)


def _conv_pair(conv: nn.Conv2d, outer: torch.Tensor, inner: torch.Tensor) -> nn.Sequential:
    """Two convolutions; the first has the stride, padding and dilation."""
    first = nn.Conv2d(
        conv.in_channels,
        inner.shape[0],
        conv.kernel_size,  # type: ignore[arg-type]
        stride=conv.stride,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
        dilation=conv.dilation,  # type: ignore[arg-type]
        bias=False,
        padding_mode=conv.padding_mode,
        device="meta",
    )
    second = nn.Conv2d(inner.shape[0], conv.out_channels, 1, bias=False, device="meta")
    return _filled(first, inner, second, outer[:, :, None, None], conv.bias)


def _linear_pair(linear: nn.Linear, outer: torch.Tensor, inner: torch.Tensor) -> nn.Sequential:
    rank = inner.shape[0]
    first = nn.Linear(linear.in_features, rank, bias=False, device="meta")
    second = nn.Linear(rank, linear.out_features, bias=False, device="meta")
    return _filled(first, inner, second, outer, linear.bias)


def _filled(
    first: nn.Module,
    inner: torch.Tensor,
    second: nn.Module,
    outer: torch.Tensor,
    bias: torch.Tensor | None,
) -> nn.Sequential:
    first.weight = nn.Parameter(inner)
    second.weight = nn.Parameter(outer)
    if bias is not None:
        second.bias = nn.Parameter(bias.detach().clone())
    return nn.Sequential(first, second).eval()


def _factorised_segment(segment: GraphSegment, energy_kept: float) -> GraphSegment:
    """Copy a segment of an imported network; layers are among its modules and among its steps."""
    modules: dict[str, nn.Module] = {}
    steps: list[Step] = []
    for step in segment.steps:
        own = segment.module_of(step)
        layer = _layer(step, segment) if own is None else None
        pair = None if layer is None else _pair(layer, energy_kept)
        if own is not None:
            modules[step.name] = factorised(own, energy_kept)
        elif pair is not None:
            modules[step.name] = pair
            step = Step(step.name, step.op, step.args[:1])
        steps.append(step)
    result = GraphSegment(segment.input_names, steps, modules)
    for name in sorted({name for step in steps for name in step.weights()}):
        result.put(name, copy.deepcopy(segment.weight(name)))
    return result


def _layer(step: Step, segment: GraphSegment) -> nn.Conv2d | nn.Linear | None:
    """Make the layer that a step is; None where it is none or its weights are computed."""
    # Both operations begin with (input, weight, bias).
    if step.op not in (CONV, LINEAR) or step.kwargs or not isinstance(step.args[0], Value):
        return None
    if not all(isinstance(arg, Weight) or arg is None for arg in step.args[1:3]):
        return None
    weight, *bias = (segment.weight(name) for name in step.weights())
    layer: nn.Conv2d | nn.Linear
    if step.op == LINEAR:
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    else:
        layer = conv_of(step, weight)
    layer.weight = nn.Parameter(weight.detach())
    layer.bias = nn.Parameter(bias[0].detach()) if bias else None
    return layer
