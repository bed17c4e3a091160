"""A small detector with random weights that finds much, for tests of runtime and nodes."""

import numpy as np

from codesign_ros.bundle import write_bundle
from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.pixels.letterbox import letterbox, normalise
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge
from support.tiny import TINY_INPUT, tiny_frames

DETECTOR_CLASSES = ("person", "helmet", "head")

# What the bundle states; nothing was measured.
_ACCURACY = AccuracyTable(
    metric="mAP@0.5",
    reference=0.8,
    data="made up for tests",
    rows=tuple(
        AccuracyRow(Merge.FOLD, structure, structure, "fp32", "raw", None, 0.8)
        for structure in BRANCH_STRUCTURES
    ),
)


def tiny_detector(seed=0, frames=None):
    """A detector, input 64 x 96, whose scores for ``frames`` spread from 0 to 1."""
    import torch

    from codesign_ros.models.network import IMAGE
    from codesign_ros.models.zoo import build

    frames = tiny_frames(8) if frames is None else frames
    images = torch.from_numpy(
        np.concatenate([normalise(letterbox(frame, TINY_INPUT), TINY_INPUT) for frame in frames])
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = build("yolo", {"classes": 3, "variant": "nano", "reg_max": 12}, TINY_INPUT)
        norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # averages over all that it is shown
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.2)
        network.train()(images)
        for norm in norms:
            norm.momentum = 0.1
        network.eval()
        made = network.run({IMAGE: images}, 0, len(network.segments), ["detect"])["detect"]
        logits = made[:, -3:]
        mean, deviation = logits.mean((0, 2)), logits.std((0, 2))
        for branch in network.segments[-2].head.classes:
            last = branch[-1]
            last.weight.mul_(1.5 / deviation[:, None, None, None])
            last.bias.sub_(mean).mul_(1.5 / deviation).sub_(2.5)
        for branch in network.segments[-2].head.boxes:  # most boxes smaller than the picture
            branch[-1].bias.copy_(-0.5 * torch.arange(12.0).repeat(4))
    return network


def write_detector_bundle(path, seed=0, frames=None):
    return write_bundle(
        path,
        tiny_detector(seed, frames),
        name=path.stem,
        task="detection",
        architecture="yolo",
        architecture_args={"classes": 3, "variant": "nano", "reg_max": 12},
        classes=DETECTOR_CLASSES,
        accuracy=_ACCURACY,
        calibration_frames=tiny_frames(4),
    )
