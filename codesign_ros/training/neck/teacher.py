"""The network that a neck is for: it stays as it is, and teaches."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import torch

from codesign_ros.bundle import Bundle
from codesign_ros.models.layers import layer_records
from codesign_ros.models.neck import Neck, crossing_maps
from codesign_ros.models.network import Network, meta_image, on_meta
from codesign_ros.models.reparam import reparameterize
from codesign_ros.training.neck.likeness import class_weights, judged_segment, of_maps
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.tensors import IMAGE, InputSpec


class Teacher:
    """A bundle's network around a neck.

    Args:
        bundle: the network.
        cut: where the encoder is.
        enter: the cut whose tensors the decoders make.
        device: where torch computes.

    Attributes:
        network: with its branches folded, in evaluation mode, its weights frozen.
        sources: names of the tensors at ``cut``.
        targets: names of those at ``enter``.
        judged: name of the tensor that is compared at the end, or one that leads to the answer.
        watched: tensors behind ``targets`` that are compared too.
        distance: how ``judged`` is compared.

    Raises:
        CodesignError: something else than maps crosses at a cut.
    """

    def __init__(self, bundle: Bundle, cut: int, enter: int, device: str = "cpu") -> None:
        network = reparameterize(bundle.network(), Structure.S3, Merge.FOLD)
        network.to(device, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]
        self.network: Network = network
        self.cut, self.enter = cut, enter
        self.sources, self.targets = (crossing_maps(network, each) for each in (cut, enter))
        self.judged, self.distance, self._scores = judged_segment(bundle)
        self._stop = network.segment_names.index(self.judged) + 1
        takes = network.segment_inputs[self._stop - 1]
        behind = network.segment_names[enter : self._stop - 1]
        self.watched = tuple(name for name in takes if name in behind)

    @property
    def source_shapes(self) -> list[tuple[int, ...]]:
        """Shapes (C, H, W) of what the encoder takes, for a whole frame."""
        return [spec.shape[1:] for spec in self.network.crossing(self.cut)]

    @property
    def target_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of what the decoders make."""
        return [spec.shape[1:] for spec in self.network.crossing(self.enter)]

    @property
    def work_before(self) -> float:
        """Share of the network's operations that lies before ``enter``."""
        before = set(self.network.segment_names[: self.enter])
        records = layer_records(self.network)
        done = sum(record.flops for record in records if record.segment in before)
        return done / sum(record.flops for record in records)

    def ends(self, x: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Run normalised pictures (B, 3, h, w) up to ``enter``; return sources and targets."""
        names = list(dict.fromkeys((*self.sources, *self.targets)))
        made = self.network.run({IMAGE: x}, 0, self.enter, names)
        return [made[name] for name in self.sources], [made[name] for name in self.targets]

    def behind(
        self, targets: Sequence[torch.Tensor], tail: Network | None = None
    ) -> dict[str, torch.Tensor]:
        """Run what is behind ``enter``, or another tail; return ``watched`` and ``judged``."""
        return self._run(targets, self._stop, [*self.watched, self.judged], tail)

    @torch.no_grad()
    def balance(self, targets: Sequence[torch.Tensor]) -> None:
        """Let a detector's classes count alike in ``distance``, by what it says of some frames.

        Args:
            targets: what crosses at ``enter``, each (n, ...).
        """
        if self._scores is not None:
            frames = zip(*(target.split(1) for target in targets), strict=True)
            scores = [self._scores(self.behind(frame)[self.judged]) for frame in frames]
            weights = class_weights(torch.cat(scores).float())
            self.distance = partial(self.distance, weights=weights)

    def answer(self, targets: Sequence[torch.Tensor], tail: Network | None = None) -> torch.Tensor:
        """Return the network's output, or another tail's, for what crosses at ``enter``."""
        names = self.network.output_names
        return self._run(targets, len(self.network.segment_names), names, tail)[names[0]]

    def takes(self, height: int, width: int, neck: Neck) -> bool:
        """Whether network and neck can be run on pictures of another size, up to ``judged``."""
        image = meta_image(InputSpec(height, width))
        names = list(dict.fromkeys((*self.sources, *self.targets, self.judged)))
        try:
            made = on_meta(self.network).run({IMAGE: image}, 0, self._stop, names)
            empty = copy.deepcopy(neck).to("meta")
            decoded = empty.decode(empty.encoder(*(made[name] for name in self.sources)))
        except (RuntimeError, ValueError, IndexError):
            return False
        shapes = [made[name].shape for name in self.targets]
        return [each.shape for each in decoded] == shapes

    def _run(
        self,
        targets: Sequence[torch.Tensor],
        stop: int,
        wanted: Sequence[str],
        tail: Network | None = None,
    ) -> dict[str, torch.Tensor]:
        tensors = dict(zip(self.targets, targets, strict=True))
        return (tail or self.network).run(tensors, self.enter, stop, wanted)


def distances(
    teacher: Teacher, found: dict[str, torch.Tensor], taught: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compare what lies behind a neck: its answer, and the watched maps' error."""
    answer = teacher.distance(found[teacher.judged].float(), taught[teacher.judged].float())
    maps = [of_maps(found[name].float(), taught[name].float()) for name in teacher.watched]
    return answer, torch.stack(maps).sum() if maps else answer.new_zeros(())
