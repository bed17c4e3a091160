"""Fits a re-parameterisable classifier to scenes: windows of frames first, then whole frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from codesign_ros.models.blocks import ConvBN
from codesign_ros.models.network import Network
from codesign_ros.training.averaged_run import AveragedRun, RunConfig
from codesign_ros.training.mine_classifier.views import (
    CELL_LABELS,
    IGNORED,
    Batch,
    ViewSampler,
    check_stride,
)
from codesign_ros.training.scenes import SceneSet
from codesign_ros.training.tensors import to_input

# Objects are rare: at first the cells say so with this logit.
_CELL_BIAS = -3.0


@dataclass(frozen=True)
class MineConfig(RunConfig):
    """How the mine's classifier is trained.

    Small batches win: for the same time, four frames teach more than eight, and eight more than
    sixteen.

    Attributes:
        phases: (divisor, share of the steps) in order. Views are windows of 1/divisor the frame's
            height and width, divisor**2 as many of them, so that a step costs the same. Small ones
            show many heads and little wall; the last phase has whole frames.
        cell_weight: weight of the dense loss beside the cross entropy of the frame's class.
    """

    learning_rate: float = 3e-3
    phases: tuple[tuple[int, float], ...] = ((4, 0.55), (2, 0.15), (1, 0.3))
    cell_weight: float = 1.0


class MineTrainer(AveragedRun[MineConfig]):
    """One training run.

    Args:
        make_network: makes the network that training starts from; called once the seed is set.
        scenes: what it learns from.
        config: how.
        device: where torch computes, e.g. ``cpu`` or ``cuda``.
    """

    def __init__(
        self,
        make_network: Callable[[], Network],
        scenes: SceneSet,
        config: MineConfig,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(config.seed)
        self._model = _WithCells(make_network())
        super().__init__(self._model, config, device)
        self._spec = self._model.network.input_spec
        self._sampler = ViewSampler(scenes, self._model.stride, config.seed)

    def _loss(self) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss, its parts, and the share of the batch that was recognised."""
        config = self.config
        divisor = self._divisor()
        batch = self._sampler.batch(
            config.batch_frames * divisor**2,
            self._spec.height // divisor,
            self._spec.width // divisor,
        )
        logits, cells = self._model(to_input(batch.images, self._spec).to(self._device))
        labels = torch.from_numpy(batch.labels).to(self._device)
        judged = labels != IGNORED
        # A sum: the mean over no view at all would be no number.
        total = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
        class_loss = total / judged.sum().clamp(min=1)
        cell_loss = _cell_loss(cells, batch)
        hits = (logits.argmax(1) == labels)[judged]
        return class_loss + config.cell_weight * cell_loss, {
            "class_loss": class_loss.item(),
            "cell_loss": cell_loss.item(),
            "accuracy": (hits.float().sum() / judged.sum().clamp(min=1)).item(),
        }

    def averaged(self) -> Network:
        """Return the network with the averaged weights, without the cells; not a copy."""
        model = self._average.module
        assert isinstance(model, _WithCells)
        return model.network.eval()

    def _place(self) -> dict[str, Any]:
        return self._sampler.state()

    def _go_to(self, place: dict[str, Any]) -> None:
        self._sampler.restore(place)

    def _divisor(self) -> int:
        """Return the divisor of the phase in which the next step lies."""
        end = 0.0
        for divisor, share in self.config.phases:
            end += share * self.config.steps
            if self.steps_done < end:
                return divisor
        return self.config.phases[-1][0]


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
    targets, weights = (
        torch.from_numpy(each).to(logits.device) for each in (batch.cells, batch.cell_weights)
    )
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    surprise = (torch.sigmoid(logits) - targets).square()
    return (weights * surprise * entropy).sum() / targets.sum().clamp(min=1)
