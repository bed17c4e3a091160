"""What every training run has: a network, its moving average, an optimiser, and checkpoints."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from codesign_ros.models.network import Network
from codesign_ros.training import checkpoint
from codesign_ros.training.schedule import decay_groups, moving_average, rate_share
from codesign_ros.types.errors import CodesignError


@dataclass(frozen=True)
class RunConfig:
    """What fixes a training run: with the same values on the same machine it repeats itself.

    Attributes:
        steps: number of optimiser steps.
        batch_frames: pixels of a step, in whole frames.
        learning_rate: its peak; warm-up takes a twentieth of the steps, then it falls as a cosine.
        weight_decay: of convolution and linear weights.
        average_decay: of the moving average of the weights, which is what is kept.
        seed: of the first weights, the order of pictures and the augmentation.
    """

    steps: int
    batch_frames: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    average_decay: float = 0.998
    seed: int = 1


ConfigT = TypeVar("ConfigT", bound=RunConfig)


class AveragedRun(ABC, Generic[ConfigT]):
    """Steps of AdamW on a network, a cosine schedule, and the average of the weights.

    Args:
        network: what is trained, a network or what one is a part of; it is changed in place.
        config: how.
        device: where torch computes, e.g. ``cpu`` or ``cuda``.

    Attributes:
        config: how; after ``resume`` with the number of steps that the run was to have.
        steps_done: optimiser steps so far.
    """

    _gradient_norm: float | None = None
    """Gradients are scaled down to this norm; None = they are left."""

    def __init__(self, network: nn.Module, config: ConfigT, device: str) -> None:
        self.config = config
        self.steps_done = 0
        self._device = torch.device(device)
        # A network, or what one is a part of.
        self._network: Any = network.to(self._device)
        self._average = moving_average(network, config.average_decay)
        self._optimiser = torch.optim.AdamW(self._groups(network), config.learning_rate)

    def step(self) -> dict[str, float]:
        """Do one step.

        Returns:
            ``step`` (from 1), ``loss``, what else the task says of it, and ``learning_rate``.

        Raises:
            CodesignError: a picture cannot be read.
        """
        self._network.train()
        loss, others = self._loss()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self._gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), self._gradient_norm)
        rate = self.config.learning_rate * self._rate_share()
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group.get("rate_share", 1.0)
        self._optimiser.step()
        self._average.update_parameters(self._network)
        self.steps_done += 1
        return {"step": self.steps_done, "loss": loss.item(), **others, "learning_rate": rate}

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
        state = {"config": asdict(self.config), "place": self._place(), "caller": meta}
        checkpoint.save(path, self._network, self._average, self._optimiser, self.steps_done, state)

    def resume(self, path: Path) -> dict[str, Any]:
        """Go on from a checkpoint, to the number of steps that its run was to have.

        Returns:
            The ``meta`` that it was saved with.

        Raises:
            CodesignError: the file is not there, damaged, of another network or configuration.
        """
        _, state = checkpoint.read_header(path)
        config = replace(self.config, steps=state["config"]["steps"])
        # As JSON: a checkpoint has lists where a configuration has tuples.
        if json.loads(json.dumps(asdict(config))) != state["config"]:
            raise CodesignError(
                f"checkpoint {path} is of a run with other options; give the same ones, or start "
                "anew"
            )
        self.steps_done, _ = checkpoint.load(path, self._network, self._average, self._optimiser)
        self.config = config
        self._go_to(state["place"])
        caller: dict[str, Any] = state["caller"]
        return caller

    @abstractmethod
    def _loss(self) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the next batch's loss, a scalar, and by name what else there is to say of it."""

    def _rate_share(self) -> float:
        """The learning rate of the next step as share of its peak."""
        return rate_share(self.steps_done, self.config.steps)

    def _groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Parameters for the optimiser; a group's ``rate_share`` is of the learning rate."""
        return decay_groups(network, self.config.weight_decay)

    def _place(self) -> dict[str, Any]:
        """Return where in its data the run stands, as plain values; nothing by default."""
        return {}

    def _go_to(self, place: dict[str, Any]) -> None:
        """Go on in the data from what ``_place`` returned."""
