"""What every training run has: a network, its moving average, an optimiser, and checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch

from codesign_ros.models.network import Network
from codesign_ros.training import checkpoint
from codesign_ros.training.schedule import decay_groups, moving_average, rate_share
from codesign_ros.types import CodesignError


class RunConfig(Protocol):
    """The part of a run's configuration, a frozen dataclass, that is needed here."""

    @property
    def steps(self) -> int:
        """Number of optimiser steps."""

    @property
    def learning_rate(self) -> float:
        """Its peak."""

    @property
    def weight_decay(self) -> float:
        """Of convolution and linear weights."""

    @property
    def average_decay(self) -> float:
        """Of the moving average."""


ConfigT = TypeVar("ConfigT", bound=RunConfig)


class AveragedRun(Generic[ConfigT]):
    """Steps of AdamW on a network, a cosine schedule, and the average of the weights.

    Args:
        network: what is trained; it is changed in place.
        config: how.
        device: where torch computes, e.g. ``cpu`` or ``cuda``.

    Attributes:
        config: how; after ``resume`` with the number of steps that the run was to have.
        steps_done: optimiser steps so far.
    """

    def __init__(self, network: Network, config: ConfigT, device: str) -> None:
        self.config = config
        self.steps_done = 0
        self._device = torch.device(device)
        self._network = network.to(self._device)
        self._average = moving_average(network, config.average_decay)
        self._optimiser = torch.optim.AdamW(
            decay_groups(network, config.weight_decay), config.learning_rate
        )

    def averaged(self) -> Network:
        """Return the network with the averaged weights, in evaluation mode; not a copy."""
        network = self._average.module
        assert isinstance(network, Network)
        return network.eval()

    def save(self, path: Path, meta: dict[str, Any]) -> None:
        """Write a checkpoint; ``meta`` is what the caller wants to find in it.

        Raises:
            CodesignError: the file cannot be written.
        """
        state = {"config": asdict(self.config), "place": self._place(), "caller": meta}  # type: ignore[call-overload]
        checkpoint.save(path, self._network, self._average, self._optimiser, self.steps_done, state)

    def resume(self, path: Path) -> dict[str, Any]:
        """Go on from a checkpoint, to the number of steps that its run was to have.

        Returns:
            The ``meta`` that it was saved with.

        Raises:
            CodesignError: the file is not there, damaged, of another network or configuration.
        """
        self.steps_done, state = checkpoint.load(
            path, self._network, self._average, self._optimiser
        )
        config = replace(self.config, steps=state["config"]["steps"])  # type: ignore[type-var]
        # As JSON: a checkpoint has lists where a configuration has tuples.
        if json.dumps(asdict(config)) != json.dumps(state["config"]):  # type: ignore[call-overload]
            raise CodesignError(
                f"checkpoint {path} is of a run with other options; give the same ones, or start "
                "anew"
            )
        self.config = config
        self._go_to(state["place"])
        caller: dict[str, Any] = state["caller"]
        return caller

    def _update(self, loss: torch.Tensor, gradient_norm: float | None = None) -> float:
        """Take one step down the gradient of ``loss``.

        Args:
            loss: a scalar.
            gradient_norm: gradients are scaled down to this norm; None = they are left.

        Returns:
            The learning rate of the step.
        """
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), gradient_norm)
        rate = self.config.learning_rate * rate_share(self.steps_done, self.config.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self._average.update_parameters(self._network)
        self.steps_done += 1
        return rate

    def _place(self) -> dict[str, Any]:
        """Return where in its data the run stands, as plain values; nothing by default."""
        return {}

    def _go_to(self, place: dict[str, Any]) -> None:
        """Go on in the data from what ``_place`` returned."""
