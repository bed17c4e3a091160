"""How learning rate and averaging go over a training run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def rate_share(step: int, steps: int, warm_up_share: float = 0.05) -> float:
    """Return the learning rate of a step (from 0) as a share of its peak: a line up, a cosine down.

    The cosine is that of Loshchilov and Hutter, "SGDR" (ICLR 2017), without restarts.
    """
    warm_up = max(1, round(warm_up_share * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Parameters for the optimiser: no decay on biases and BatchNorm."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Make the exponential moving average of a model's weights and BatchNorm statistics.

    At the beginning it forgets faster, ``(1 + n) / (10 + n)`` after n updates, so that the first
    weights do not stay in it.
    """

    def update(
        averaged: Sequence[torch.Tensor], current: Sequence[torch.Tensor], count: torch.Tensor | int
    ) -> None:
        share = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        for mean, new in zip(averaged, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(new, share)
            else:
                mean.copy_(new)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)
