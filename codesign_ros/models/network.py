"""A network as an ordered list of named segments, so that it can be cut after any of them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import IMAGE, InputSpec, TensorSpec


class Segment(NamedTuple):
    """A piece of a network that is never cut.

    Attributes:
        name: of the segment and of the tensor that it makes.
        module: maps the tensors named in ``inputs``, in that order, to one tensor.
        inputs: segments whose tensors it takes, or ``image``; empty = the segment before it.
    """

    name: str
    module: nn.Module
    inputs: tuple[str, ...] = ()


class Network(nn.Module):
    """Segments in an order in which they can run; cut ``n`` (0..N) ends the head after the n-th.

    Where a tensor is used again further down (a skip connection, a feature map for a neck), it
    crosses every cut between its maker and its last user.

    Args:
        segments: the segments; a pair (name, module) will do where one takes what the one before
            it makes.
        input: how a frame becomes the input, (B, 3, height, width) float32.
        outputs: segments whose tensors are the network's answer; empty = the last one.

    Raises:
        ValueError: no segments, a name is used twice or is ``image``, a segment takes a tensor that
            none before it makes, or one makes a tensor that nothing needs.
        RuntimeError: (from torch) a segment does not accept what it is given.
    """

    def __init__(
        self,
        segments: Iterable[Segment | tuple[str, nn.Module]],
        input: InputSpec,
        outputs: Sequence[str] = (),
    ) -> None:
        super().__init__()
        parts = [Segment(*segment) for segment in segments]
        names = tuple(part.name for part in parts)
        if not names or len({IMAGE, *names}) != len(names) + 1:
            raise ValueError(f"segment names must be there, differ and not be 'image': {names}")
        before = (IMAGE, *names)
        self.segment_names = names
        self.segment_inputs = tuple(part.inputs or (before[i],) for i, part in enumerate(parts))
        self.output_names = tuple(outputs) or (names[-1],)
        self.input_spec = input
        self.segments = nn.ModuleList(part.module for part in parts)
        self._check_order()
        self._specs = self._find_specs()

    def forward(self, image: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Run all segments.

        Args:
            image: normalised frames, (B, 3, H, W) float32.

        Returns:
            The output; a tuple where the network has several.
        """
        made = self.run({IMAGE: image}, 0, len(self.segments), self.output_names)
        outputs = tuple(made[name] for name in self.output_names)
        return outputs[0] if len(outputs) == 1 else outputs

    def run(
        self,
        tensors: dict[str, torch.Tensor],
        start: int,
        stop: int,
        wanted: Sequence[str],
    ) -> dict[str, torch.Tensor]:
        """Run the segments between two cuts.

        Args:
            tensors: at least what crosses at cut ``start``, by name.
            start: cut after which to begin.
            stop: cut at which to end.
            wanted: names of tensors to return.

        Returns:
            The wanted tensors, by name. All others are let go as soon as nothing needs them.
        """
        made = dict(tensors)
        last_use = {name: i for i in range(start, stop) for name in self.segment_inputs[i]}
        for i in range(start, stop):
            inputs = self.segment_inputs[i]
            made[self.segment_names[i]] = self.segments[i](*(made[name] for name in inputs))
            for name in set(inputs):
                if last_use[name] == i and name not in wanted:
                    del made[name]
        return {name: made[name] for name in wanted}

    def crossing(self, cut: int) -> tuple[TensorSpec, ...]:
        """List the tensors that cross at ``cut``, batch 1; at cut 0 the normalised image.

        They are those made before the cut that a segment behind it takes, or that are outputs, in
        the order in which they are made. A tensor is named after the segment that made it.

        Raises:
            CodesignError: ``cut`` is not in 0..N.
        """
        if not 0 <= cut <= len(self.segments):
            raise CodesignError(
                f"cut {cut} does not exist: this network has {len(self.segments)} segments, "
                f"so cuts are 0 to {len(self.segments)}"
            )
        needed = {name for inputs in self.segment_inputs[cut:] for name in inputs}
        needed.update(self.output_names)
        made = (IMAGE, *self.segment_names)[: cut + 1]
        return tuple(self._specs[name] for name in made if name in needed)

    def _check_order(self) -> None:
        made = {IMAGE}
        for name, inputs in zip(self.segment_names, self.segment_inputs, strict=True):
            for source in inputs:
                if source not in made:
                    raise ValueError(f"segment {name!r} takes {source!r}, made nowhere before it")
            made.add(name)
        used = {name for inputs in self.segment_inputs for name in inputs} | set(self.output_names)
        if made - used:
            raise ValueError(f"nothing needs what {min(made - used)!r} makes")
        if used - made:
            raise ValueError(f"the output {min(used - made)!r} is made nowhere")

    def _find_specs(self) -> dict[str, TensorSpec]:
        network = on_meta(self)
        everything = (IMAGE, *self.segment_names)
        with torch.no_grad():
            made = network.run(
                {IMAGE: meta_image(self.input_spec)}, 0, len(self.segments), everything
            )
        return {
            name: TensorSpec(name, tuple(t.shape), str(t.dtype).removeprefix("torch."))
            for name, t in made.items()
        }


def on_meta(network: Network) -> Network:
    """Copy the network in evaluation mode without its numbers: shapes only, no computation."""
    tensors = [*network.parameters(), *network.buffers()]
    # With tensors and their stand-ins in the memo, deepcopy takes no memory for the weights.
    memo: dict[int, object] = {
        id(t): nn.Parameter(t.detach().to("meta")) if isinstance(t, nn.Parameter) else t.to("meta")
        for t in tensors
    }
    return copy.deepcopy(network, memo).eval()


def meta_image(input: InputSpec) -> torch.Tensor:
    """Make a (1, 3, H, W) float32 image that has a shape and no content."""
    return torch.empty(1, 3, input.height, input.width, device="meta")


def weights_of(network: nn.Module) -> dict[str, np.ndarray]:
    """Copy all parameters and BatchNorm statistics as numpy arrays, by their names."""
    return {name: t.detach().cpu().numpy().copy() for name, t in network.state_dict().items()}


def load_weights(network: nn.Module, weights: dict[str, np.ndarray]) -> None:
    """Set the network's parameters and BatchNorm statistics in place.

    Raises:
        CodesignError: a name is missing, not known or has another shape or type; the network is
            then unchanged.
    """
    own = network.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unknown = sorted(weights.keys() - own.keys())
    if missing or unknown:
        what = f"lack {missing[0]!r}" if missing else f"have {unknown[0]!r}, which it does not know"
        raise CodesignError(
            f"the weights are not this network's: they {what} "
            f"({len(missing)} missing, {len(unknown)} foreign)"
        )
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape or tensor.dtype != own[name].dtype:
            raise CodesignError(
                f"the weights are not this network's: {name!r} is {tuple(tensor.shape)} "
                f"{tensor.dtype}, the network has {tuple(own[name].shape)} {own[name].dtype}"
            )
    network.load_state_dict(tensors)
