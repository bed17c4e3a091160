"""A training from data to a bundle: what all tasks have in common (``codesign train``)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
from rich.console import RenderableType

from codesign_ros.bundle import Bundle, write_bundle
from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.models.network import Network
from codesign_ros.models.zoo import build
from codesign_ros.training.base_run import BaseRun
from codesign_ros.training.curves import CURVE_PICTURE, draw_curves, write_curves
from codesign_ros.training.options import plain
from codesign_ros.training.transfer import start_from
from codesign_ros.types.tensors import InputSpec

CALIBRATION_FRAMES = 16
"""Frames that a bundle holds for INT8 and BatchNorm."""


class TrainingRun(BaseRun):
    """The training of a network, with its curves; a task fills in the rest.

    Attributes:
        architecture: name for ``zoo.build``.
        args: arguments of the architecture.
        spec: the network's input.
        classes: names of the classes.
        trained_on: what is learned from, in a few words.
        measured_on: what is measured on.
        panels: for each panel of the picture, what curves are in it: name and key of a step.
    """

    panels: ClassVar[Mapping[str, Mapping[str, str]]]
    architecture: str
    args: dict[str, Any]
    spec: InputSpec
    classes: tuple[str, ...]
    trained_on: str
    measured_on: str

    def averaged(self) -> Network:
        """Return the averaged network as it is, wherever it is computed; not a copy."""
        return self._trainer.averaged()

    def trained(self) -> Network:
        """Return a new network with the averaged weights, in evaluation mode, on the CPU."""
        network = build(self.architecture, self.args, self.spec)
        network.load_state_dict(self.averaged().state_dict())
        return network.eval()

    def best(self) -> Network:
        """Return a new network with the averaged weights that measured best, likewise."""
        network = self.trained()
        weights = self._loop.best_weights()
        if weights is not None:
            network.load_state_dict(weights)
        return network

    def write(self) -> Iterable[RenderableType]:
        """Measure the trained network, write the bundle with its curves, remove the checkpoint.

        Returns:
            What there is to show.
        """
        network = self.best()
        table, values, shown = self.judge(network)
        bundle = write_bundle(
            self.out,
            network,
            name=self.out.name.removesuffix(".bundle"),
            architecture=self.architecture,
            architecture_args=self.args,
            classes=self.classes,
            accuracy=table,
            calibration_frames=self.calibration_frames(),
            task=self.task,
        )
        loop = self._loop
        choice = loop.choice()
        loop.note(values, loop.kept_step)
        document = {
            "command": plain(self.options),
            "config": asdict(self._trainer.config),
            "classes": list(self.classes),
            "trained_on": self.trained_on,
            "measured_on": self.measured_on,
            "training_minutes": round(loop.seconds / 60, 2),
            "best_step": loop.kept_step,
            "measured": loop.measured,
            "curve": loop.curve,
        }
        write_curves(self.out, document)
        curves = {
            panel: {
                name: [(int(point["step"]), point[key]) for point in loop.curve]
                for name, key in keys.items()
            }
            for panel, keys in self.panels.items()
        }
        # What was measured last is of the step that is kept, and stands behind later ones.
        in_order = sorted(loop.measured, key=lambda each: each["step"])
        panel, measured = self.measured_curves(in_order)
        curves.setdefault(panel, {}).update(measured)
        curves["learning rate"] = {
            "rate": [(int(p["step"]), p["learning_rate"]) for p in loop.curve]
        }
        draw_curves(self.out / CURVE_PICTURE, curves, f"{self.out.name}: {self.trained_on}")
        loop.remove_checkpoint()
        return (*shown, f"{self.out}: model {bundle.model_id}, {choice}")

    def start_counts(self) -> bool:
        """Whether ``init`` knows all classes at this input's size already."""
        if self.options.init is None:
            return False
        bundle = Bundle.open(self.options.init)
        sizes = {(spec.height, spec.width) for spec in (bundle.input, self.spec)}
        return set(self.classes) <= set(bundle.classes) and len(sizes) == 1

    def start_network(self) -> Network:
        """Make the network that training starts from, with those of ``init``'s weights that fit."""
        network = build(self.architecture, self.args, self.spec)
        if self.options.init is not None:
            bundle = Bundle.open(self.options.init)
            count, of = start_from(bundle, network, self.architecture, self.classes)
            self.progress.console.print(f"{count} of {of} tensors start from {bundle.path}")
        return network

    @abstractmethod
    def judge(
        self, network: Network
    ) -> tuple[AccuracyTable, dict[str, Any], Sequence[RenderableType]]:
        """Measure the trained network: for the bundle, for the curves, and for people."""

    @abstractmethod
    def measured_curves(self, measured: Sequence[Mapping[str, Any]]) -> tuple[str, dict]:
        """Return the panel in which measurements are drawn, and points by name of the curve."""

    @abstractmethod
    def calibration_frames(self) -> np.ndarray:
        """Return letterboxed training pictures, uint8 (n, H, W, 3)."""
