"""A tiny network, frames for it and its bundle."""

from pathlib import Path

import cv2
import numpy as np

from codesign_ros.bundle import Bundle, write_bundle
from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge, Structure
from codesign_ros.types.tensors import InputSpec

CLASSES = ("empty", "helmets", "bare-headed")
TINY_INPUT = InputSpec(height=64, width=96, mean=(0.5, 0.45, 0.4), std=(0.25, 0.3, 0.2))

TINY_CODECS = ("fp16", "uint8", "uint4")
# Made up, in the order that is measured on real networks: folding and codecs lose nothing, pruning
# much.
TINY_ACCURACY = AccuracyTable(
    metric="accuracy",
    reference=0.9,
    data="made up for tests",
    rows=tuple(
        AccuracyRow(merge, structure, structure, "fp32", "raw", None, value)
        for merge, values in (
            (Merge.FOLD, (0.9, 0.9, 0.9, 0.9)),
            (Merge.PRUNE, (0.3, 0.35, 0.8, 0.9)),
        )
        for structure, value in zip(BRANCH_STRUCTURES, values, strict=True)
    )
    + tuple(
        AccuracyRow(Merge.FOLD, Structure.S3, Structure.S3, "fp32", codec, cut, 0.9)
        for cut, codecs in ((0, ("jpeg",)), (1, TINY_CODECS), (14, TINY_CODECS))
        for codec in codecs
    ),
)


def tiny_frames(count: int, seed: int = 0) -> np.ndarray:
    """Smooth coloured noise of the tiny network's input size: uint8 (count, 64, 96, 3)."""
    noise = np.random.default_rng(seed).integers(
        0, 256, (count, TINY_INPUT.height, TINY_INPUT.width, 3), dtype=np.uint8
    )
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in noise])


def tiny_film(count: int, change: float) -> list[np.ndarray]:
    """Frames as ``tiny_frames``, each by this share of the way nearer to another than the last."""
    first, other = tiny_frames(2, seed=5).astype(float)
    return [np.uint8(first + change * number * (other - first)) for number in range(count)]


def tiny_network(seed: int = 0):
    """A small RepVGG with random weights and BatchNorm statistics that fit ``tiny_frames``."""
    import torch

    from codesign_ros.models.zoo import build
    from codesign_ros.pixels.letterbox import normalise

    frames = tiny_frames(8)
    images = np.concatenate([normalise(frame, TINY_INPUT) for frame in frames])
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = build("mine_repvgg", {"classes": len(CLASSES)}, TINY_INPUT)
        norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for norm in norms:
            # None averages over all that it is shown, so one pass sets the statistics.
            momentum, norm.momentum = norm.momentum, None
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.2)
        network.train()(torch.from_numpy(images))
        for norm in norms:
            norm.momentum = momentum
    return network.eval()


def write_tiny_bundle(path: Path, seed: int = 0) -> Bundle:
    return write_bundle(
        path,
        tiny_network(seed),
        name="tiny",
        architecture="mine_repvgg",
        architecture_args={"classes": len(CLASSES)},
        classes=CLASSES,
        accuracy=TINY_ACCURACY,
        calibration_frames=tiny_frames(4),
    )
