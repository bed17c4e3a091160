"""BatchNorm statistics measured anew once branches are silent.

A network that loses branches gets other numbers in front of each of its BatchNorms than those whose
mean and variance they were trained with. Showing it a few frames and taking the statistics again
brings part of the accuracy back; nothing is trained.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from codesign_ros.models.blocks import ParallelConv
from codesign_ros.models.graph.segment import GraphSegment
from codesign_ros.models.network import Network
from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.types.forms import Structure

# Frames that go through the network together. More are closer to the statistics of them all, and
# take more memory: 16 frames of 640 x 400 about 2 GB.
_TOGETHER = 16


def reestimated(network: Network, structure: Structure, images: Sequence[np.ndarray]) -> Network:
    """Copy a trained network with BatchNorm statistics as they are without some branches.

    ``reparameterize(..., structure, Merge.PRUNE)`` of the copy then drops those branches.

    Args:
        network: with all its branches; it is left as it is.
        structure: branches that stay.
        images: normalised frames, each (1, 3, H, W) float32.

    Returns:
        A copy in evaluation mode. Mean and variance of each BatchNorm are averages over groups of
        up to 16 frames, in their order.

    Raises:
        CodesignError: the network was imported, so that its BatchNorms are part of its
            convolutions; or a BatchNorm gets a single value for each channel, which has no
            variance.
    """
    if any(isinstance(module, GraphSegment) for module in network.modules()):
        raise CodesignError(
            "merge prune+bn needs a network with BatchNorms, an imported one has them folded into "
            "its convolutions; use fold or prune"
        )
    again = copy.deepcopy(network).eval()
    norms = [m for m in again.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    hooks = [
        branch.register_forward_hook(_silence)
        for block in again.modules()
        if isinstance(block, ParallelConv)
        for branch in _dropped(block, structure)
    ]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the average over all calls
        norm.train()
    groups = np.array_split(np.concatenate(list(images)), math.ceil(len(images) / _TOGETHER))
    try:
        with torch.no_grad():
            for group in groups:
                again(torch.from_numpy(group))
    except ValueError as error:
        raise CodesignError(
            f"merge prune+bn needs more than {len(images)} calibration frames for this network: "
            f"{one_line(error)}"
        ) from error
    for hook in hooks:
        hook.remove()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return again.eval()


def _dropped(block: ParallelConv, structure: Structure) -> list[nn.Module]:
    """List the block's branches that do not stay."""
    dropped: list[nn.Module] = []
    if not structure.keeps_1x1:
        dropped.append(block.branch_1x1)
    if not structure.keeps_identity and block.branch_identity is not None:
        dropped.append(block.branch_identity)
    return dropped


def _silence(branch: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(output)
