"""Cutting a network into the head that runs on the robot and the tail that runs on the server."""

from __future__ import annotations

import torch
from torch import nn

from codesign_ros.models.network import Network


class NetworkHalf(nn.Module):
    """Some segments in a row as a map from named tensors to named tensors.

    A half without segments hands its tensors on unchanged.

    Args:
        network: what is cut; its modules are shared, not copied.
        start: cut at which the half begins.
        stop: cut at which it ends.

    Attributes:
        inputs: tensors it takes, batch 1.
        outputs: tensors it makes, batch 1.
    """

    def __init__(self, network: Network, start: int, stop: int) -> None:
        super().__init__()
        self.inputs = network.crossing(start)
        self.outputs = network.crossing(stop)
        self.segments = network.segments[start:stop]
        # In a tuple, so that a half does not own the modules of the other one.
        self._network = (network,)
        self._range = (start, stop)

    def forward(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run the half on exactly the tensors in ``inputs``; returns those in ``outputs``.

        Raises:
            ValueError: the names are not those of ``inputs``.
        """
        names = {spec.name for spec in self.inputs}
        if tensors.keys() != names:
            raise ValueError(f"this half takes {sorted(names)}, not {sorted(tensors)}")
        (network,) = self._network
        return network.run(tensors, *self._range, [spec.name for spec in self.outputs])


def split(network: Network, cut: int) -> tuple[NetworkHalf, NetworkHalf]:
    """Cut ``network`` after segment ``cut`` (0..N).

    The halves share the network's modules, weights and mode; nothing is copied. At cut 0 the head
    is empty and the tail takes ``image``; at cut N the tail is empty. For halves of different
    structures, cut two re-parameterised networks and take one half of each.

    Returns:
        (head, tail), with ``head.outputs == tail.inputs == network.crossing(cut)``.

    Raises:
        CodesignError: ``cut`` is not in 0..N.
    """
    head = NetworkHalf(network, 0, cut)
    tail = NetworkHalf(network, cut, len(network.segment_names))
    # Set here and not by train(), which would also change modules that were put in another mode.
    head.training = tail.training = network.training
    return head, tail
