"""A network as an ordered list of named segments, so that it can be cut after any of them."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from codesign_ros.types import CodesignError, InputSpec, TensorSpec

IMAGE = "image"  # name of the network's input


class Network(nn.Module):
    """Segments in a row; cut ``n`` (0..N) ends the head after the n-th segment.

    Args:
        segments: name and module of each segment, in order. Each maps one tensor to one tensor.
        input: how a frame becomes the input, (B, 3, height, width) float32.

    Raises:
        ValueError: no segments, or a segment name is used twice or is ``image``.
        RuntimeError: (from torch) a segment does not accept what the one before it makes.
    """

    def __init__(self, segments: list[tuple[str, nn.Module]], input: InputSpec) -> None:
        super().__init__()
        names = tuple(name for name, _ in segments)
        if not names or len({IMAGE, *names}) != len(names) + 1:
            raise ValueError(f"segment names must be there, differ and not be 'image': {names}")
        self.segment_names = names
        self.input_spec = input
        self.segments = nn.ModuleList(module for _, module in segments)
        self._crossings = self._find_crossings()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Run all segments.

        Args:
            image: normalised frames, (B, 3, H, W) float32.

        Returns:
            Output of the last segment.
        """
        x = image
        for segment in self.segments:
            x = segment(x)
        return x

    def crossing(self, cut: int) -> tuple[TensorSpec, ...]:
        """List the tensors that cross at ``cut``, batch 1; at cut 0 the normalised image.

        A tensor is named after the segment that made it.

        Raises:
            CodesignError: ``cut`` is not in 0..N.
        """
        if not 0 <= cut <= len(self.segments):
            raise CodesignError(
                f"cut {cut} does not exist: this network has {len(self.segments)} segments, "
                f"so cuts are 0 to {len(self.segments)}"
            )
        return (self._crossings[cut],)

    def _find_crossings(self) -> tuple[TensorSpec, ...]:
        network = on_meta(self)
        x = meta_image(self.input_spec)
        specs = [TensorSpec(IMAGE, tuple(x.shape))]
        with torch.no_grad():
            for name, segment in zip(self.segment_names, network.segments, strict=True):
                x = segment(x)
                specs.append(TensorSpec(name, tuple(x.shape), str(x.dtype).removeprefix("torch.")))
        return tuple(specs)


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
