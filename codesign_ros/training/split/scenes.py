"""What head and tail learn from: scenes of the mine, pictures for the one, truth for the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from codesign_ros.mine.render import CLASSES
from codesign_ros.mine.tunnel import HEIGHT, WIDTH
from codesign_ros.models.network import Network
from codesign_ros.models.zoo.yolo import RAW
from codesign_ros.pixels.letterbox import Letterbox, letterbox
from codesign_ros.training.detector.loss import detection_loss
from codesign_ros.training.mine_classifier.trainer import to_input
from codesign_ros.training.scenes import SceneSet
from codesign_ros.training.split.job import SplitJob
from codesign_ros.types.tensors import InputSpec

_MOMENTUM = 0.9
Boxes = tuple[np.ndarray, np.ndarray]
"""A frame's boxes (n, 4) float32 in input pixels, and their classes (n,) int64."""


def scene_job(
    file: Path,
    scenes: SceneSet,
    *,
    make_network: Callable[[], Network],
    task: str,
    classes: Sequence[str],
    cut: int,
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
) -> SplitJob:
    """Make the job of learning ``task`` from scenes.

    Cross entropy for classification; the detection loss for a detector that ends with what its
    head says. For any other network, whose output means nothing here, the mean square of its
    output: that halves and whole do the same shows with any loss.

    Args:
        file: where the scenes' pixels are; the head reads them there.
        scenes: the scenes.
        make_network: makes the network, the same each time.
        task: of the bundle.
        classes: of the bundle, all of them known in the mine.
        cut: where the network is cut.
        steps: batches; they go through the scenes again and again, each time in another order.
        batch: frames in a batch.
        learning_rate: of stochastic gradient descent with momentum 0.9.
        seed: of the order.
    """
    frames = len(scenes.labels)
    rng = np.random.default_rng(seed)
    rounds = -(-steps * batch // frames)
    order = np.concatenate([rng.permutation(frames) for _ in range(rounds)])
    order = order[: steps * batch].reshape(steps, batch)
    network = make_network()
    spec = network.input_spec
    targets: partial[Iterator[Any]]
    loss: Any
    if task == "classification":
        labels = [classes.index(CLASSES[label]) for label in scenes.labels]
        targets, loss = partial(_label_batches, labels, order), F.cross_entropy
    elif task == "detection" and network.segment_names[-1] == RAW:
        (raw,) = network.crossing(len(network.segments))
        reg_max = (raw.shape[1] - len(classes)) // 4
        targets = partial(_box_batches, _boxes(scenes, spec, classes), order)
        loss = partial(_detection_loss, spec, reg_max)
    else:
        targets, loss = partial(_no_batches, steps), _mean_square
    return SplitJob(
        make_network=make_network,
        cut=cut,
        steps=steps,
        images=partial(_image_batches, file, frames, spec, order),
        targets=targets,
        loss=loss,
        optimiser=partial(_optimiser, learning_rate),
    )


def _image_batches(
    file: Path, frames: int, spec: InputSpec, order: np.ndarray
) -> Iterator[torch.Tensor]:
    images = np.memmap(file, np.uint8, "r", shape=(frames, HEIGHT, WIDTH, 3))
    for batch in order:
        yield to_input(np.stack([letterbox(images[i], spec) for i in batch]), spec)


def _label_batches(labels: list[int], order: np.ndarray) -> Iterator[torch.Tensor]:
    for batch in order:
        yield torch.tensor([labels[i] for i in batch])


def _boxes(scenes: SceneSet, spec: InputSpec, classes: Sequence[str]) -> list[Boxes]:
    geometry = Letterbox.of(HEIGHT, WIDTH, spec)
    found = []
    for boxes in scenes.boxes:
        known = [geometry.to_input(box) for box in boxes if box.label in classes]
        corners = [(box.x_min, box.y_min, box.x_max, box.y_max) for box in known]
        labels = [classes.index(box.label) for box in known]
        found.append((np.array(corners, np.float32).reshape(-1, 4), np.array(labels, np.int64)))
    return found


def _box_batches(boxes: list[Boxes], order: np.ndarray) -> Iterator[list[Boxes]]:
    for batch in order:
        yield [boxes[i] for i in batch]


def _no_batches(steps: int) -> Iterator[None]:
    yield from [None] * steps


def _detection_loss(
    spec: InputSpec, reg_max: int, raw: torch.Tensor, targets: list[Boxes]
) -> torch.Tensor:
    boxes, labels = zip(*[map(torch.from_numpy, target) for target in targets], strict=True)
    return detection_loss(raw, spec.height, spec.width, boxes, labels, reg_max).total


def _mean_square(output: torch.Tensor | tuple[torch.Tensor, ...], _target: None) -> torch.Tensor:
    outputs = output if isinstance(output, tuple) else (output,)
    return torch.stack([each.square().mean() for each in outputs]).sum()


def _optimiser(learning_rate: float, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, learning_rate, momentum=_MOMENTUM)
