"""Fits the detector to labelled pictures: canvases first, then whole frames."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from codesign_ros.models.detection import STRIDES
from codesign_ros.models.network import Network
from codesign_ros.models.zoo.yolo import RAW
from codesign_ros.training.averaged_run import AveragedRun, RunConfig
from codesign_ros.training.detector.canvases import Augmentation, Canvases, CanvasSampler, Labelled
from codesign_ros.training.detector.loss import detection_loss
from codesign_ros.training.tensors import to_input
from codesign_ros.types.tensors import IMAGE, InputSpec


@dataclass(frozen=True)
class DetectorConfig(RunConfig):
    """How a detector is trained.

    Attributes:
        canvases: heights and widths of canvases as shares of the input's, taken in turns at random:
            small ones are many to a step, large ones hold large objects.
        whole_share: share of the steps, at the end, that see whole frames.
        gradient_norm: gradients are scaled down to this norm.
        bfloat16: convolve in 16 bits, which processors with AMX and GPUs do faster.
        augmentation: how pictures are changed.
    """

    weight_decay: float = 0.03
    canvases: tuple[tuple[float, float], ...] = ((0.64, 0.5), (0.64, 0.5), (1.0, 1.0))
    whole_share: float = 0.25
    gradient_norm: float = 10.0
    bfloat16: bool = False
    augmentation: Augmentation = field(default_factory=Augmentation)


class DetectorTrainer(AveragedRun[DetectorConfig]):
    """One training run.

    Args:
        make_network: makes the network that training starts from; called once the seed is set.
        reg_max: bins of a side, as the network was made with.
        data: what it learns from.
        config: how.
        device: where torch computes, e.g. ``cpu`` or ``cuda``.
    """

    def __init__(
        self,
        make_network: Callable[[], Network],
        reg_max: int,
        data: Labelled,
        config: DetectorConfig,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(config.seed)
        network = make_network()
        # Channels last: oneDNN and cuDNN both train convolutions faster in that order.
        super().__init__(network.to(memory_format=torch.channels_last), config, device)
        self._gradient_norm = config.gradient_norm
        self._reg_max = reg_max
        self._spec = network.input_spec
        self._sampler = CanvasSampler(data, self._spec, config.seed, config.augmentation)
        self._stop = self._network.segment_names.index(RAW) + 1
        self._drawer = ThreadPoolExecutor(1)
        self._drawn: Future[tuple[Canvases, dict[str, Any]]] | None = None
        self._state = self._sampler.state()

    def _loss(self) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss and its parts, each with its weight."""
        batch = self._next_batch()
        x = to_input(batch.images, self._spec).to(self._device, memory_format=torch.channels_last)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.config.bfloat16):
            raw = self._network.run({IMAGE: x}, 0, self._stop, [RAW])[RAW]
        height, width = batch.images.shape[1:3]
        loss = detection_loss(
            raw,
            height,
            width,
            [torch.from_numpy(boxes) for boxes in batch.boxes],
            [torch.from_numpy(labels) for labels in batch.labels],
            self._reg_max,
        )
        return loss.total, {
            "class_loss": loss.classes.item(),
            "box_loss": loss.boxes.item(),
            "side_loss": loss.sides.item(),
        }

    def _place(self) -> dict[str, Any]:
        # Not the sampler's own state: the batch after this one is drawn already.
        return self._state

    def _go_to(self, place: dict[str, Any]) -> None:
        self._sampler.restore(place)
        self._state, self._drawn = place, None

    def _next_batch(self) -> Canvases:
        """Take the batch that was drawn while the last step ran, and have the next one drawn."""
        drawn = self._drawn or self._drawer.submit(self._draw, self.steps_done)
        batch, self._state = drawn.result()
        self._drawn = None
        if self.steps_done + 1 < self.config.steps:
            self._drawn = self._drawer.submit(self._draw, self.steps_done + 1)
        return batch

    def _draw(self, step: int) -> tuple[Canvases, dict[str, Any]]:
        config, spec = self.config, self._spec
        if step >= (1 - config.whole_share) * config.steps:
            batch = self._sampler.frames(config.batch_frames)
        else:
            which = np.random.default_rng((config.seed, step)).integers(len(config.canvases))
            height, width = canvas_size(spec, config.canvases[which])
            count = _canvases_a_step(spec, config.batch_frames, (height, width))
            batch = self._sampler.canvases(count, height, width)
        return batch, self._sampler.state()


def canvas_size(spec: InputSpec, shares: tuple[float, float]) -> tuple[int, int]:
    """Return height and width of a canvas [px], whole cells of the coarsest map."""
    cell = STRIDES[-1]
    return tuple(
        max(cell, int(np.round(share * side / cell)) * cell)
        for share, side in zip(shares, (spec.height, spec.width), strict=True)
    )  # type: ignore[return-value]


def pictures_a_step(spec: InputSpec, config: DetectorConfig) -> float:
    """Return how many pictures a step sees, on the average over a training."""
    sizes = [canvas_size(spec, shares) for shares in config.canvases]
    canvases = np.mean([_canvases_a_step(spec, config.batch_frames, size) for size in sizes])
    each = 1 + 3 * config.augmentation.mosaic  # a mosaic has four
    whole = config.whole_share
    return float((1 - whole) * canvases * each + whole * config.batch_frames)


def _canvases_a_step(spec: InputSpec, batch_frames: int, size: tuple[int, int]) -> int:
    """Return how many canvases of a size have the pixels of so many whole frames."""
    return max(1, round(batch_frames * spec.height * spec.width / (size[0] * size[1])))
