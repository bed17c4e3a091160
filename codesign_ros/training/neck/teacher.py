"""The network that a neck is for: it stays as it is, and teaches."""

from __future__ import annotations

import torch

from codesign_ros.bundle import Bundle
from codesign_ros.models.neck import only_crossing
from codesign_ros.models.network import Network, meta_image, on_meta
from codesign_ros.models.reparam import reparameterize
from codesign_ros.training.neck.likeness import judged_segment, of_maps
from codesign_ros.types import IMAGE, InputSpec, Merge, Structure


class Teacher:
    """A bundle's network around a neck.

    Args:
        bundle: the network.
        cut: where the encoder is.
        enter: the cut whose tensor the decoder makes.
        device: where torch computes.

    Attributes:
        network: with its branches folded, in evaluation mode, its weights frozen.
        source: name of the tensor at ``cut``.
        target: name of that at ``enter``.
        judged: name of the tensor that is compared at the end, or one that leads to the answer.
        watched: tensors behind ``target`` that are compared too.
        distance: how ``judged`` is compared.

    Raises:
        CodesignError: not one map alone crosses at a cut.
    """

    def __init__(self, bundle: Bundle, cut: int, enter: int, device: str = "cpu") -> None:
        network = reparameterize(bundle.network(), Structure.S3, Merge.FOLD)
        network.to(device, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]
        self.network: Network = network
        self.cut, self.enter = cut, enter
        self.source, self.target = (only_crossing(network, each) for each in (cut, enter))
        self.judged, self.distance = judged_segment(bundle)
        self._stop = network.segment_names.index(self.judged) + 1
        takes = network.segment_inputs[self._stop - 1]
        behind = network.segment_names[enter : self._stop - 1]
        self.watched = tuple(name for name in takes if name in behind)

    @property
    def source_shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of what the encoder takes, for a whole frame."""
        return self.network.crossing(self.cut)[0].shape[1:]

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of what the decoder makes."""
        return self.network.crossing(self.enter)[0].shape[1:]

    def ends(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run normalised pictures (B, 3, h, w) up to ``enter``; return source and target."""
        names = list(dict.fromkeys((self.source, self.target)))
        return self.network.run({IMAGE: x}, 0, self.enter, names)

    def behind(self, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run what is behind ``enter``; return ``watched`` and ``judged``."""
        wanted = [*self.watched, self.judged]
        return self.network.run({self.target: target}, self.enter, self._stop, wanted)

    def answer(self, target: torch.Tensor) -> torch.Tensor:
        """Return the network's output for what crosses at ``enter``."""
        last = len(self.network.segment_names)
        names = self.network.output_names
        return self.network.run({self.target: target}, self.enter, last, names)[names[0]]

    def takes(self, height: int, width: int) -> bool:
        """Whether the network can be run on pictures of another size, up to ``judged``."""
        image = meta_image(InputSpec(height, width))
        try:
            on_meta(self.network).run({IMAGE: image}, 0, self._stop, [self.judged])
        except (RuntimeError, ValueError, IndexError):
            return False
        return True


def distances(
    teacher: Teacher, found: dict[str, torch.Tensor], taught: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compare what lies behind a neck: its answer, and the watched maps' error."""
    answer = teacher.distance(found[teacher.judged].float(), taught[teacher.judged].float())
    maps = [of_maps(found[name].float(), taught[name].float()) for name in teacher.watched]
    return answer, torch.stack(maps).sum() if maps else answer.new_zeros(())
