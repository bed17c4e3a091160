"""One training of a detector with its checkpoint, its curves and its measurements."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import Progress

from codesign_ros.bundle import Bundle
from codesign_ros.evaluation.average_precision import DetectionMetrics
from codesign_ros.models.network import Network
from codesign_ros.models.zoo import build
from codesign_ros.training.curves import CURVE_PICTURE, draw_curves, write_curves
from codesign_ros.training.detector.data import TrainingData
from codesign_ros.training.detector.measure import measure_detector
from codesign_ros.training.detector.options import DetectorOptions
from codesign_ros.training.detector.trainer import DetectorConfig, DetectorTrainer
from codesign_ros.training.detector.transfer import start_from
from codesign_ros.training.loop import TrainingLoop, device_named, steps_for, steps_that_fit
from codesign_ros.types import InputSpec

ARCHITECTURE = "yolo"
# What the mine's frames have on the average; other pictures are brighter, which BatchNorm mends.
MEAN, STD = (0.24, 0.24, 0.24), (0.12, 0.12, 0.12)


class DetectorRun:
    """One training with its checkpoint and its curves."""

    def __init__(
        self, out: Path, options: DetectorOptions, data: TrainingData, progress: Progress
    ) -> None:
        self._out = out
        self._options = options
        self._data = data
        self._progress = progress
        self.spec = InputSpec(options.height, options.width, MEAN, STD)
        self.args = {
            "classes": len(data.classes),
            "variant": options.variant,
            "reg_max": options.reg_max,
        }
        self._planned = self._planned_steps()
        steps = self._planned
        if steps is None:
            # A run that goes on has the steps of its checkpoint, however fast the machine is now.
            steps = 1 if options.resume else self._steps_that_fit()
        self._trainer = self._make_trainer(steps)
        folder = out.with_name(out.name + ".training")
        self._loop = TrainingLoop(self._trainer, folder, self._measured, progress)

    def train(self) -> None:
        """Do all steps.

        Raises:
            CodesignError: the checkpoint cannot be written or, to resume, not be read or is of a
                run with other options.
        """
        self._loop.run(resume=self._options.resume, planned_steps=self._planned)

    def trained(self) -> Network:
        """Return a new network with the averaged weights, in evaluation mode, on the CPU."""
        network = build(ARCHITECTURE, self.args, self.spec)
        network.load_state_dict(self._trainer.averaged().state_dict())
        return network.eval()

    def finish(self, metrics: DetectionMetrics, total_s: float) -> None:
        """Write the curves into the bundle and remove the checkpoint."""
        self._loop.note(metrics.to_json())
        curve, precision = self._loop.curve, self._loop.measured
        document = {
            "command": _plain(asdict(self._options)),
            "config": asdict(self._trainer.config),
            "classes": list(self._data.classes),
            "trained_on": self._data.train_name,
            "measured_on": self._data.val_name,
            "training_minutes": round(self._loop.seconds / 60, 2),
            "minutes": round(total_s / 60, 2),
            "precision": precision,
            "curve": curve,
        }
        write_curves(self._out, document)
        losses = {
            name: [(int(p["step"]), p[key]) for p in curve]
            for name, key in (
                ("all", "loss"),
                ("classes", "class_loss"),
                ("boxes", "box_loss"),
                ("sides", "side_loss"),
            )
        }
        by_class = {
            name: [(p["step"], p["map50"][name]) for p in precision if p["map50"][name] is not None]
            for name in self._data.classes
        }
        rate = {"rate": [(int(p["step"]), p["learning_rate"]) for p in curve]}
        draw_curves(
            self._out / CURVE_PICTURE,
            {"loss": losses, "mAP@0.5": by_class, "learning rate": rate},
            f"{self._out.name}: {self._data.train_name}",
        )
        self._loop.remove_checkpoint()

    def _make_trainer(self, steps: int) -> DetectorTrainer:
        options = self._options
        config = DetectorConfig(
            steps,
            batch_frames=options.batch_frames,
            learning_rate=options.peak_rate,
            seed=options.seed,
        )
        return DetectorTrainer(
            self._network,
            options.reg_max,
            self._data.train,
            config,
            device_named(options.device),
        )

    def _network(self) -> Network:
        network = build(ARCHITECTURE, self.args, self.spec)
        if self._options.init is not None:
            bundle = Bundle.open(self._options.init)
            count, of = start_from(bundle, network, self._data.classes)
            self._progress.console.print(f"{count} of {of} tensors start from {bundle.path}")
        return network

    def _planned_steps(self) -> int | None:
        """Return the number of steps that was asked for; None = as many as fit into ``minutes``."""
        options = self._options
        if options.steps is not None:
            return options.steps
        if options.epochs is None and options.minutes is not None:
            return None
        return steps_for(options.epochs or 1.0, len(self._data.train), options.batch_frames)

    def _steps_that_fit(self) -> int:
        assert self._options.minutes is not None
        return steps_that_fit(self._make_trainer, self._options.minutes)

    def _measured(self) -> dict[str, Any]:
        network = self._trainer.averaged()
        return measure_detector(network, self._data, self._options.val_frames).to_json()


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: str(v) if isinstance(v, Path) else v for key, v in fields.items()}
