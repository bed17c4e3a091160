"""Cutting a network into the head that runs on the robot and the tail that runs on the server."""

from __future__ import annotations

import torch
from torch import nn

from codesign_ros.models.network import Network
from codesign_ros.types import TensorSpec


class Half(nn.Module):
    """Some segments in a row as a map from named tensors to named tensors.

    A half without segments hands its tensors on unchanged.

    Attributes:
        inputs: tensors it takes, batch 1.
        outputs: tensors it makes, batch 1.
    """

    def __init__(
        self,
        segments: nn.ModuleList,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
    ) -> None:
        super().__init__()
        self.segments = segments
        self.inputs = inputs
        self.outputs = outputs

    def forward(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run the half on exactly the tensors in ``inputs``; returns those in ``outputs``.

        Raises:
            ValueError: the names are not those of ``inputs``.
        """
        names = {spec.name for spec in self.inputs}
        if tensors.keys() != names:
            raise ValueError(f"this half takes {sorted(names)}, not {sorted(tensors)}")
        (source,), (target,) = self.inputs, self.outputs
        x = tensors[source.name]
        for segment in self.segments:
            x = segment(x)
        return {target.name: x}


def split(network: Network, cut: int) -> tuple[Half, Half]:
    """Cut ``network`` after segment ``cut`` (0..N).

    The halves share the network's modules, weights and mode; nothing is copied. At cut 0 the head
    is empty and the tail takes ``image``; at cut N the tail is empty. For halves of different
    structures, cut two re-parameterised networks and take one half of each.

    Returns:
        (head, tail), with ``head.outputs == tail.inputs == network.crossing(cut)``.

    Raises:
        CodesignError: ``cut`` is not in 0..N.
    """
    crossing = network.crossing(cut)
    last = len(network.segment_names)
    head = Half(network.segments[:cut], network.crossing(0), crossing)
    tail = Half(network.segments[cut:], crossing, network.crossing(last))
    # Set here and not by train(), which would also change modules that were put in another mode.
    head.training = tail.training = network.training
    return head, tail
