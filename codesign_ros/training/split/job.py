"""What is trained in two halves, and what training leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from codesign_ros.models.network import Network
from codesign_ros.types.errors import CodesignError

Tensors = dict[str, torch.Tensor]
"""Parameters, gradients or statistics by their name in the whole network."""


@dataclass(frozen=True)
class SplitJob:
    """What is trained. Both sides get the same one; each calls only what it needs.

    To be handed to other processes the callables must be importable: functions of a module or
    ``functools.partial`` of such.

    Attributes:
        make_network: makes the same network, with the same weights, each time.
        cut: 0..N. At 0 the head only sends its images, at N the tail has the loss alone.
        steps: number of batches to train on.
        images: head only: batches (B, 3, H, W) float32, at least ``steps`` of them.
        targets: tail only: what the loss takes for each batch.
        loss: (the network's output, targets) -> scalar.
        optimiser: makes the optimiser for the parameters of a half or of the whole.
    """

    make_network: Callable[[], Network]
    cut: int
    steps: int
    images: Callable[[], Iterator[torch.Tensor]]
    targets: Callable[[], Iterator[Any]]
    loss: Callable[[Any, Any], torch.Tensor]
    optimiser: Callable[[list[nn.Parameter]], torch.optim.Optimizer]

    def check(self) -> Network:
        """Make the network.

        Raises:
            CodesignError: there is no such cut, or no step.
        """
        if self.steps < 1:
            raise CodesignError(f"training needs at least 1 step, not {self.steps}")
        network = self.make_network()
        network.crossing(self.cut)
        return network


@dataclass(frozen=True)
class SplitStep:
    """One step: ``step`` counts from 1; ``loss`` is known at the tail alone.

    Attributes:
        activation_bytes: size of the tensors that crossed the cut forwards.
        gradient_bytes: size of those that came back.
        step_s: duration, with the waiting for the other side [s].
    """

    step: int
    loss: float | None
    activation_bytes: int
    gradient_bytes: int
    step_s: float


@dataclass
class Trained:
    """What training leaves behind, of a half or of the whole.

    Attributes:
        parameters: after the last step.
        buffers: BatchNorm statistics after the last step.
        gradients: gradients of each step, where they are recorded.
        steps: how each step went.
    """

    parameters: Tensors = field(default_factory=dict)
    buffers: Tensors = field(default_factory=dict)
    gradients: list[Tensors] = field(default_factory=list)
    steps: list[SplitStep] = field(default_factory=list)

    def keep(self, network: Network) -> None:
        """Copy parameters and buffers."""
        self.parameters = {n: p.detach().clone() for n, p in network.named_parameters()}
        state = network.state_dict()
        self.buffers = {n: t.clone() for n, t in state.items() if n not in self.parameters}

    def keep_gradients(self, network: Network) -> None:
        """Copy the gradients of one more step."""
        named = network.named_parameters()
        self.gradients.append({n: p.grad.clone() for n, p in named if p.grad is not None})


def differences(one: Trained, other: Trained) -> dict[str, float]:
    """Largest differences between two trainings of the same network.

    Returns:
        ``gradients`` (over all recorded steps), ``parameters``, ``buffers`` (BatchNorm statistics)
        and ``loss`` (over all steps); 0 means bit by bit the same. They are absolute, or shares of
        the tensor's largest number where that is above 1.

    Raises:
        CodesignError: they are not of the same network, or not of the same number of steps.
    """
    pairs = [(one.parameters, other.parameters), (one.buffers, other.buffers)]
    gradients = list(zip(one.gradients, other.gradients, strict=False))
    same = len(one.steps) == len(other.steps) and len(one.gradients) == len(other.gradients)
    if not same or any(a.keys() != b.keys() for a, b in [*pairs, *gradients]):
        raise CodesignError("the two trainings are of different networks or lengths")
    return {
        "gradients": max((_gap(a, b) for a, b in gradients), default=0.0),
        "parameters": _gap(*pairs[0]),
        "buffers": _gap(*pairs[1]),
        "loss": _gap(_losses(one), _losses(other)),
    }


def _losses(trained: Trained) -> Tensors:
    return {"loss": torch.tensor([step.loss for step in trained.steps], dtype=torch.float64)}


def _gap(one: Tensors, other: Tensors) -> float:
    gaps = [0.0]
    for name, tensor in one.items():
        if tensor.numel():
            a, b = tensor.double(), other[name].double()
            scale = max(1.0, float(b.abs().max()))
            gaps.append(float((a - b).abs().max()) / scale)
    return max(gaps)
