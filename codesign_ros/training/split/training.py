"""Training a network in two halves that exchange activations and gradients only (section V).

The head runs its segments and sends what crosses the cut; the tail runs the rest, works out the
loss and sends back the loss's gradient by each tensor that crossed; with it the head finishes the
chain rule. So each side has its own part of the gradient, g_n = dL/dw_n (Eq. 12), which together
are the whole one (Eq. 13), and updates its own parameters (Eq. 14). Both gradients are taken at
w^(k), as Eq. 15 wants: the tail sends its gradients before it updates anything.

Images stay at the head, targets at the tail. Each side has its half alone: parameters, optimiser
state, BatchNorm statistics.

The equality with the whole network holds for optimisers that treat each parameter by itself (SGD
with momentum, Adam, ...); clipping by the norm of the whole gradient would need both halves. Layers
that draw random numbers (dropout) draw others than in one process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from codesign_ros.models.halves import NetworkHalf, split
from codesign_ros.models.network import Network
from codesign_ros.training.split.job import SplitJob, SplitStep, Trained
from codesign_ros.training.split.link import ROLES, SplitLink
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import IMAGE, TensorSpec

_T = TypeVar("_T")


def gradient_specs(crossing: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Tensors of a crossing whose gradients come back: all but images and integers."""
    return tuple(s for s in crossing if s.name != IMAGE and s.dtype.startswith("float"))


def train_half(
    job: SplitJob,
    link: SplitLink,
    *,
    record: bool = False,
    on_step: Callable[[SplitStep], None] = lambda _step: None,
) -> Trained:
    """Train the half of ``link.role``; the other half trains at the other end.

    Args:
        job: the same one as at the other end.
        link: line to the other end.
        record: keep the gradients of each step.
        on_step: told after each step.

    Raises:
        CodesignError: there is no such cut, the two ends mean different things, batches end early
            or have the wrong shape, or a number is no longer finite.
        PeerError: the other side is gone.
    """
    network = job.check()
    crossing = network.crossing(job.cut)
    link.agree(cut=job.cut, steps=job.steps, crossing=crossing)
    side = (_Head if link.role == "head" else _Tail)(job, network, crossing, link)
    trained = Trained()
    for step in range(1, job.steps + 1):
        start, sent, received = time.perf_counter(), link.sent_bytes, link.received_bytes
        loss = side.backward(step)
        if record:
            trained.keep_gradients(network)
        side.updater.step(step)
        there, back = link.sent_bytes - sent, link.received_bytes - received
        if link.role == "tail":
            there, back = back, there
        trained.steps.append(SplitStep(step, loss, there, back, time.perf_counter() - start))
        on_step(trained.steps[-1])
    link.finish()
    trained.keep(network)
    return trained


def train_whole(
    job: SplitJob,
    *,
    record: bool = False,
    on_step: Callable[[SplitStep], None] = lambda _step: None,
) -> Trained:
    """Train the whole network on the same batches in this process; what the halves must equal.

    Raises:
        CodesignError: as in ``train_half``.
    """
    network = job.check().train()
    updater = _Updater(network, job)
    images, targets = job.images(), job.targets()
    trained = Trained()
    for step in range(1, job.steps + 1):
        start = time.perf_counter()
        updater.clear()
        image = _checked(_next(images, "images", step), network.crossing(0), step)
        loss = job.loss(network(image), _next(targets, "targets", step))
        value = _finite_loss(loss, step)
        loss.backward()
        if record:
            trained.keep_gradients(network)
        updater.step(step)
        trained.steps.append(SplitStep(step, value, 0, 0, time.perf_counter() - start))
        on_step(trained.steps[-1])
    trained.keep(network)
    return trained


class _Updater:
    """Checks and applies the gradients of the parameters that are here (Eq. 14)."""

    def __init__(self, network: Network, job: SplitJob) -> None:
        self._named = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
        parameters = [parameter for _, parameter in self._named]
        # torch refuses an optimiser for nothing, and an empty half has nothing.
        self._optimiser = job.optimiser(parameters) if parameters else None

    def clear(self) -> None:
        if self._optimiser is not None:
            self._optimiser.zero_grad(set_to_none=True)

    def step(self, step: int) -> None:
        for name, parameter in self._named:
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                raise CodesignError(
                    f"step {step}: the gradient of {name} is not finite; take a smaller "
                    "learning rate"
                )
        if self._optimiser is not None:
            self._optimiser.step()


class _Side:
    """What both sides have: their half, the line and their own parameters' optimiser."""

    def __init__(
        self, job: SplitJob, network: Network, crossing: tuple[TensorSpec, ...], link: SplitLink
    ) -> None:
        halves: tuple[NetworkHalf, NetworkHalf] = split(network.train(), job.cut)
        index = ROLES.index(link.role)
        self.half = halves[index]
        others = (range(job.cut, len(network.segments)), range(job.cut))[index]
        for other in others:
            # From here on the other side's weights are nowhere in this process.
            network.segments[other] = nn.Identity()
        self.job = job
        self.crossing = crossing
        self.returning = gradient_specs(crossing)
        self.link = link
        self.updater = _Updater(network, job)


class _Head(_Side):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._images = self.job.images()

    def backward(self, step: int) -> None:
        """Run forwards, send, receive, run backwards."""
        self.updater.clear()
        image = _checked(_next(self._images, "images", step), self.half.inputs, step)
        made = self.half({IMAGE: image})
        for spec in self.crossing:
            _check_shape(made[spec.name], spec, len(image), step)
        self.link.send_count(len(image))
        self.link.send([made[spec.name] for spec in self.crossing])
        gradients = self.link.receive(self.returning, len(image))
        made_here = [
            (made[spec.name], gradient)
            for spec, gradient in zip(self.returning, gradients, strict=True)
            if made[spec.name].requires_grad
        ]
        if made_here:
            tensors, arrived = zip(*made_here, strict=True)
            torch.autograd.backward(tensors, arrived)


class _Tail(_Side):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._targets = self.job.targets()

    def backward(self, step: int) -> float:
        """Receive, run forwards and backwards, send; returns the loss."""
        self.updater.clear()
        tensors = self.link.receive(self.crossing, self.link.receive_count())
        arrived = {spec.name: tensor for spec, tensor in zip(self.crossing, tensors, strict=True)}
        for spec in self.returning:
            arrived[spec.name].requires_grad_()
        # As copies: torch allows no layer to change in place what a gradient is asked for.
        made = self.half({name: tensor.clone() for name, tensor in arrived.items()})
        outputs = tuple(made[spec.name] for spec in self.half.outputs)
        output = outputs[0] if len(outputs) == 1 else outputs
        loss = self.job.loss(output, _next(self._targets, "targets", step))
        value = _finite_loss(loss, step)
        loss.backward()
        back = []
        for spec in self.returning:
            tensor = arrived[spec.name]
            gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            if not gradient.isfinite().all():
                raise CodesignError(
                    f"step {step}: the gradient by {spec.name}, which crosses the cut, is not "
                    "finite; take a smaller learning rate"
                )
            back.append(gradient)
        self.link.send(back)
        return value


def _next(batches: Iterator[_T], what: str, step: int) -> _T:
    try:
        return next(batches)
    except StopIteration:
        raise CodesignError(
            f"the {what} ended after {step - 1} steps: there are fewer batches than steps"
        ) from None


def _checked(image: torch.Tensor, inputs: Sequence[TensorSpec], step: int) -> torch.Tensor:
    if image.ndim != 4 or len(image) == 0:
        raise CodesignError(f"step {step}: images are (B, 3, H, W), not {tuple(image.shape)}")
    _check_shape(image, inputs[0], len(image), step)
    return image


def _check_shape(tensor: torch.Tensor, spec: TensorSpec, count: int, step: int) -> None:
    expected = (count, *spec.shape[1:])
    kind = str(tensor.dtype).removeprefix("torch.")
    if tuple(tensor.shape) != expected or kind != spec.dtype:
        raise CodesignError(
            f"step {step}: {spec.name} is {kind} {tuple(tensor.shape)}, the network says "
            f"{spec.dtype} {expected}"
        )


def _finite_loss(loss: torch.Tensor, step: int) -> float:
    value = float(loss.detach())
    if not torch.isfinite(torch.tensor(value)):
        raise CodesignError(f"step {step}: the loss is {value}; take a smaller learning rate")
    return value
