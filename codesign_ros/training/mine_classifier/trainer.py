"""Fits a re-parameterisable classifier to scenes: windows of frames first, then whole frames."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from codesign_ros.models.blocks import ConvBN
from codesign_ros.models.network import Network
from codesign_ros.training.mine_classifier.views import (
    CELL_LABELS,
    IGNORED,
    Batch,
    ViewSampler,
    check_stride,
)
from codesign_ros.training.scenes import SceneSet
from codesign_ros.training.schedule import decay_groups, moving_average, rate_share
from codesign_ros.types import InputSpec

# Objects are rare: at first the cells say so with this logit.
_CELL_BIAS = -3.0


@dataclass(frozen=True)
class TrainingConfig:
    """What fixes a training run: with the same values on the same machine it repeats itself.

    Attributes:
        steps: number of optimiser steps.
        batch_frames: pixels of a batch, in whole frames. Small batches win: for the same time, four
            frames teach more than eight, and eight more than sixteen.
        phases: (divisor, share of the steps) in order. Views are windows of 1/divisor the frame's
            height and width, divisor**2 as many of them, so that a step costs the same. Small ones
            show many heads and little wall; the last phase has whole frames.
        learning_rate: its peak; warm-up takes a twentieth of the steps, then it falls as a cosine.
        weight_decay: of convolution and linear weights.
        cell_weight: weight of the dense loss beside the cross entropy of the frame's class.
        average_decay: of the moving average of the weights, which is what is kept.
        seed: of the first weights, the order of scenes and the augmentation.
    """

    steps: int
    batch_frames: int = 4
    phases: tuple[tuple[int, float], ...] = ((4, 0.55), (2, 0.15), (1, 0.3))
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    cell_weight: float = 1.0
    average_decay: float = 0.998
    seed: int = 1


@dataclass(frozen=True)
class TrainingStep:
    """One point of the learning curve; ``accuracy`` is that of this batch, 0 to 1."""

    step: int
    loss: float
    class_loss: float
    cell_loss: float
    accuracy: float
    learning_rate: float
    step_s: float


class Trainer:
    """One training run.

    Args:
        make_network: makes the untrained network; called once the seed is set.
        scenes: what it learns from.
        config: how.
    """

    def __init__(
        self, make_network: Callable[[], Network], scenes: SceneSet, config: TrainingConfig
    ) -> None:
        torch.manual_seed(config.seed)
        self._config = config
        self._template = make_network()
        self._model = _WithCells(copy.deepcopy(self._template))
        self._spec = self._template.input_spec
        self._sampler = ViewSampler(scenes, self._model.stride, config.seed)
        self._average = moving_average(self._model, config.average_decay)
        self._optimiser = torch.optim.AdamW(
            decay_groups(self._model, config.weight_decay), config.learning_rate
        )
        self._schedule = LambdaLR(self._optimiser, lambda step: rate_share(step, config.steps))
        self._done = 0

    def step(self) -> TrainingStep:
        """Do one step."""
        start = time.perf_counter()
        config = self._config
        divisor = self._divisor()
        batch = self._sampler.batch(
            config.batch_frames * divisor**2,
            self._spec.height // divisor,
            self._spec.width // divisor,
        )
        self._model.train()
        logits, cells = self._model(to_input(batch.images, self._spec))
        labels = torch.from_numpy(batch.labels)
        class_loss = F.cross_entropy(logits, labels, ignore_index=IGNORED)
        cell_loss = _cell_loss(cells, batch)
        loss = class_loss + config.cell_weight * cell_loss
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        learning_rate = float(self._schedule.get_last_lr()[0])
        self._optimiser.step()
        self._schedule.step()
        self._average.update_parameters(self._model)
        self._done += 1
        judged = labels != IGNORED
        hits = (logits.argmax(1) == labels)[judged]
        return TrainingStep(
            step=self._done,
            loss=loss.item(),
            class_loss=class_loss.item(),
            cell_loss=cell_loss.item(),
            accuracy=hits.float().mean().item(),
            learning_rate=learning_rate,
            step_s=time.perf_counter() - start,
        )

    def _divisor(self) -> int:
        """Return the divisor of the phase in which the next step lies."""
        end = 0.0
        for divisor, share in self._config.phases:
            end += share * self._config.steps
            if self._done < end:
                return divisor
        return self._config.phases[-1][0]

    def network(self) -> Network:
        """Return the network with the averaged weights, in evaluation mode, without the cells."""
        averaged = self._average.module
        assert isinstance(averaged, _WithCells)
        network = copy.deepcopy(self._template)
        network.load_state_dict(averaged.network.state_dict())
        return network.eval()


def to_input(images: np.ndarray, spec: InputSpec) -> torch.Tensor:
    """Normalise uint8 (B, h, w, 3) RGB views to float32 (B, 3, h, w), as `preprocess` does."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float()
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (spec.mean, spec.std))
    return x.mul_(1 / (255 * std)).sub_(mean / std)


@torch.no_grad()
def classify(network: Network, images: np.ndarray, batch_frames: int = 16) -> np.ndarray:
    """Return the class of each frame.

    Args:
        network: in evaluation mode.
        images: uint8 (n, H, W, 3), RGB, letterboxed.
        batch_frames: how many run at once.

    Returns:
        (n,) int64.
    """
    starts = range(0, len(images), batch_frames)
    batches = (np.array(images[i : i + batch_frames]) for i in starts)
    logits = [network(to_input(batch, network.input_spec)) for batch in batches]
    return torch.cat(logits).argmax(1).numpy()


class _WithCells(nn.Module):
    """A network and a second output for training: what lies in each cell of its last map.

    The second output is a 1x1 convolution that is thrown away afterwards. The network is changed
    so that it trains faster, not in what it computes or in the names of its weights.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        maps = [n for n in range(1, len(network.segments) + 1) if _is_map(network, n)]
        self._map_cut = maps[-1]
        (spec,) = network.crossing(self._map_cut)
        self.stride = check_stride(network.input_spec, spec.shape)
        self.network = network
        self.cells = nn.Conv2d(spec.shape[1], len(CELL_LABELS), 1)
        assert self.cells.bias is not None
        nn.init.constant_(self.cells.bias, _CELL_BIAS)
        for module in list(network.modules()):
            if isinstance(module, ConvBN) and module.conv.kernel_size == (1, 1):
                module.conv = _SparsePointwise(module.conv)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (logits (B, classes), cell logits (B, 2, rows, columns))."""
        x = image
        for segment in self.network.segments[: self._map_cut]:
            x = segment(x)
        cells = self.cells(x)
        for segment in self.network.segments[self._map_cut :]:
            x = segment(x)
        return x, cells


class _SparsePointwise(nn.Conv2d):
    """A 1x1 convolution that takes its pixels before it multiplies.

    oneDNN trains a strided 1x1 convolution three to five times slower than this.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.in_channels, conv.out_channels, 1, groups=conv.groups, bias=False)
        self.weight = conv.weight
        self._step = conv.stride[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the convolution for ``x`` of shape (B, C, H, W)."""
        return super().forward(x[..., :: self._step, :: self._step])


def _is_map(network: Network, cut: int) -> bool:
    (spec,) = network.crossing(cut)
    return len(spec.shape) == 4 and min(spec.shape[2:]) > 1


def _cell_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Binary cross entropy in which easy cells count little (focal loss, gamma 2).

    Nearly all cells are easy and empty. The sum is divided by the number of objects.
    """
    targets, weights = torch.from_numpy(batch.cells), torch.from_numpy(batch.cell_weights)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    surprise = (torch.sigmoid(logits) - targets).square()
    return (weights * surprise * entropy).sum() / targets.sum().clamp(min=1)
