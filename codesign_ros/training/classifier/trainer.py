"""Fits any classifying network to labelled pictures.

All that is random in a step follows from the seed and the step's number, so that a run which was
interrupted goes on as if it had not been, with nothing but the number of steps done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.transforms import v2

from codesign_ros.models.network import Network
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.training.averaged_run import AveragedRun, RunConfig
from codesign_ros.training.classifier.sets import ClassificationSet
from codesign_ros.training.tensors import to_input
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

# Pictures up to this size show their object cut out: they are only moved. Larger ones are cropped.
_SMALL_PX = 64
_MOVED_SHARE = 1 / 8
_CROP_AREA = (0.4, 1.0)
_JITTER = 0.3


@dataclass(frozen=True)
class ClassifierConfig(RunConfig):
    """How a classifier is trained.

    Attributes:
        label_smoothing: share of a label that is spread over all classes (Szegedy et al.,
            "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7).
    """

    batch_frames: int = 64
    label_smoothing: float = 0.1


class ClassifierTrainer(AveragedRun[ClassifierConfig]):
    """One training run.

    Args:
        make_network: makes the network that training starts from; called once the seed is set.
        data: what it learns from.
        config: how.
        device: where torch computes, e.g. ``cpu`` or ``cuda``.

    Raises:
        CodesignError: the network's output is not one logit for each class of the data.
    """

    def __init__(
        self,
        make_network: Callable[[], Network],
        data: ClassificationSet,
        config: ClassifierConfig,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(config.seed)
        network = make_network()
        check_output(network, data.classes)
        super().__init__(network, config, device)
        self._data = data
        self._spec = network.input_spec
        self._augment = augmentation(self._spec, data.mirrored_is_same)
        self._order = (-1, np.empty(0, np.int64))

    def _loss(self) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss, and the share of the batch that was recognised."""
        config = self.config
        # Dropout, if the network has any, and the augmentation draw from torch's own generator.
        torch.manual_seed(_step_seed(config.seed, self.steps_done))
        indices = self._indices()
        images = self._images(indices)
        labels = torch.from_numpy(self._data.labels[indices]).to(self._device)
        logits = self._network(to_input(images, self._spec).to(self._device))
        loss = F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
        return loss, {"accuracy": (logits.argmax(1) == labels).float().mean().item()}

    def _indices(self) -> np.ndarray:
        """Return the pictures of this step: every one is used once before one is used again."""
        begin = self.steps_done * self.config.batch_frames
        return np.array([self._picture(n) for n in range(begin, begin + self.config.batch_frames)])

    def _picture(self, number: int) -> int:
        """Return which picture is the ``number``-th that the run looks at."""
        epoch, place = divmod(number, len(self._data))
        if self._order[0] != epoch:
            rng = np.random.default_rng((self.config.seed, epoch))
            self._order = epoch, rng.permutation(len(self._data))
        return int(self._order[1][place])

    def _images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Load and change pictures: uint8 (B, H, W, 3)."""
        changed = []
        for index in indices:
            image = letterbox(self._data.image(int(index)), self._spec)
            planes = torch.from_numpy(image).permute(2, 0, 1)
            changed.append(self._augment(planes).permute(1, 2, 0).numpy())
        return np.stack(changed)


def check_output(network: Network, classes: Sequence[str]) -> None:
    """Raise CodesignError if the network's output is not one logit for each class."""
    outputs = network.crossing(len(network.segment_names))
    if [spec.shape for spec in outputs] != [(1, len(classes))]:
        shapes = ", ".join(str(spec.shape) for spec in outputs)
        raise CodesignError(
            f"the network's output {shapes} does not fit a classifier of {len(classes)} classes, "
            f"(1, {len(classes)})"
        )


def augmentation(spec: InputSpec, mirrored_is_same: bool) -> v2.Transform:
    """Make what changes a picture, uint8 (3, H, W), at random.

    Small pictures are moved by up to an eighth, as is usual with CIFAR; larger ones are cropped and
    scaled, as is usual with ImageNet. Both are relit, and mirrored if that keeps their class.
    """
    size = (spec.height, spec.width)
    steps: list[v2.Transform] = []
    if max(size) <= _SMALL_PX:
        padding = [round(side * _MOVED_SHARE) for side in reversed(size)]
        steps.append(v2.RandomCrop(size, padding=padding, padding_mode="edge"))
    else:
        steps.append(v2.RandomResizedCrop(size, scale=_CROP_AREA, antialias=True))
    if mirrored_is_same:
        steps.append(v2.RandomHorizontalFlip())
    steps.append(v2.ColorJitter(brightness=_JITTER, contrast=_JITTER, saturation=_JITTER))
    return v2.Compose(steps)


def _step_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])
