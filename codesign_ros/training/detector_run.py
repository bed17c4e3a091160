"""One training of a detector with its checkpoint, its curves and its measurements."""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress

from codesign_ros.bundle import Bundle
from codesign_ros.evaluation.average_precision import DetectionMetrics
from codesign_ros.models.network import Network
from codesign_ros.models.zoo import build
from codesign_ros.training.curves import draw_curves
from codesign_ros.training.detector import DetectorConfig, DetectorTrainer
from codesign_ros.training.detector_data import TrainingData
from codesign_ros.training.detector_measure import measure_detector
from codesign_ros.training.detector_options import DetectorOptions
from codesign_ros.training.transfer import start_from
from codesign_ros.types import CodesignError, InputSpec

ARCHITECTURE = "yolo"
CURVE_FILE, CURVE_PICTURE = "training.json", "training.png"
"""Where in the bundle the learning curve goes."""

# What the mine's frames have on the average; other pictures are brighter, which BatchNorm mends.
MEAN, STD = (0.24, 0.24, 0.24), (0.12, 0.12, 0.12)

_POINTS = 120  # of the learning curve, each a mean over the steps since the last
_MEASUREMENTS = 6  # of the precision while training
_CHECKPOINT = "checkpoint.safetensors"
_CHECKPOINT_EVERY_S = 60.0
_TIMED_STEPS = 6


class DetectorRun:
    """One training with its checkpoint and its curves."""

    def __init__(
        self, out: Path, options: DetectorOptions, data: TrainingData, progress: Progress
    ) -> None:
        self._out = out
        self._options = options
        self._data = data
        self._progress = progress
        self._folder = out.with_name(out.name + ".training")
        self.spec = InputSpec(options.height, options.width, MEAN, STD)
        self.args = {
            "classes": len(data.classes),
            "variant": options.variant,
            "reg_max": options.reg_max,
        }
        self._curve: list[dict[str, float]] = []
        self._precision: list[dict[str, Any]] = []
        self._seconds = 0.0
        self.trainer = self._trainer(self._steps())

    def train(self) -> None:
        """Do all steps.

        Raises:
            CodesignError: the checkpoint cannot be written or, to resume, not be read.
        """
        trainer = self.trainer
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CodesignError(f"cannot write {self._folder}: {error.strerror}") from None
        if self._options.resume:
            self._restore(trainer.resume(self._folder / _CHECKPOINT))
        steps = trainer.config.steps
        task = self._progress.add_task("training", total=steps, completed=trainer.steps_done)
        points = {round((i + 1) * steps / _POINTS) for i in range(_POINTS)}
        measured = {round((i + 1) * steps / _MEASUREMENTS) for i in range(_MEASUREMENTS - 1)}
        since = []
        begun = saved = time.monotonic()
        while trainer.steps_done < steps:
            since.append(asdict(trainer.step()))
            if trainer.steps_done in points:
                point = {k: float(np.mean([s[k] for s in since])) for k in since[0]}
                self._curve.append({**point, "step": trainer.steps_done})
                since = []
                if not self._progress.console.is_terminal:  # a log shows no bar
                    self._progress.console.print(_line(self._curve[-1], steps))
            if trainer.steps_done in measured:
                self._note_precision(
                    measure_detector(trainer.averaged(), self._data, self._options.val_frames)
                )
            shown = self._curve[-1] if self._curve else since[-1]
            self._progress.update(
                task, advance=1, description=f"training, loss {shown['loss']:.2f}"
            )
            if time.monotonic() - saved > _CHECKPOINT_EVERY_S and not since:
                saved = time.monotonic()
                trainer.save(self._folder / _CHECKPOINT, self._state(saved - begun))
        self._seconds += time.monotonic() - begun
        trainer.close()

    def trained(self) -> Network:
        """Return a new network with the averaged weights, in evaluation mode, on the CPU."""
        network = build(ARCHITECTURE, self.args, self.spec)
        network.load_state_dict(self.trainer.averaged().state_dict())
        return network.eval()

    def finish(self, metrics: DetectionMetrics, total_s: float) -> None:
        """Write the curves into the bundle and remove the checkpoint."""
        self._note_precision(metrics)
        document = {
            "command": _plain(asdict(self._options)),
            "config": asdict(self.trainer.config),
            "classes": list(self._data.classes),
            "trained_on": self._data.train_name,
            "measured_on": self._data.val_name,
            "training_minutes": round(self._seconds / 60, 2),
            "minutes": round(total_s / 60, 2),
            "precision": self._precision,
            "curve": self._curve,
        }
        (self._out / CURVE_FILE).write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        losses = {
            name: [(int(p["step"]), p[key]) for p in self._curve]
            for name, key in (
                ("all", "loss"),
                ("classes", "class_loss"),
                ("boxes", "box_loss"),
                ("sides", "side_loss"),
            )
        }
        precision = {
            name: [
                (p["step"], p["map50"][name])
                for p in self._precision
                if p["map50"][name] is not None
            ]
            for name in self._data.classes
        }
        rate = {"rate": [(int(p["step"]), p["learning_rate"]) for p in self._curve]}
        draw_curves(
            self._out / CURVE_PICTURE,
            {"loss": losses, "mAP@0.5": precision, "learning rate": rate},
            f"{self._out.name}: {self._data.train_name}",
        )
        shutil.rmtree(self._folder)

    def _trainer(self, steps: int) -> DetectorTrainer:
        options = self._options
        device = options.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        config = DetectorConfig(
            steps,
            batch_frames=options.batch_frames,
            learning_rate=options.peak_rate,
            seed=options.seed,
        )
        return DetectorTrainer(self._network, options.reg_max, self._data.train, config, device)

    def _network(self) -> Network:
        network = build(ARCHITECTURE, self.args, self.spec)
        if self._options.init is not None:
            bundle = Bundle.open(self._options.init)
            count, of = start_from(bundle, network, self._data.classes)
            self._progress.console.print(f"{count} of {of} tensors start from {bundle.path}")
        return network

    def _steps(self) -> int:
        """Work out the number of steps from what was asked for."""
        options = self._options
        if options.resume:
            return 1  # the checkpoint knows
        if options.steps is not None:
            return options.steps
        if options.epochs is not None or options.minutes is None:
            epochs = 1.0 if options.epochs is None else options.epochs
            return max(1, math.ceil(epochs * len(self._data.train) / options.batch_frames))
        trainer = self._trainer(10 * _TIMED_STEPS)
        times = []
        for _ in range(_TIMED_STEPS):
            before = time.monotonic()
            trainer.step()
            times.append(time.monotonic() - before)
        trainer.close()
        return max(1, int(options.minutes * 60 / np.median(times)))

    def _note_precision(self, metrics: DetectionMetrics) -> None:
        self._precision.append({"step": self.trainer.steps_done, **metrics.to_json()})

    def _state(self, seconds: float) -> dict[str, Any]:
        return {
            "curve": self._curve,
            "precision": self._precision,
            "seconds": self._seconds + seconds,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._curve, self._precision = state["curve"], state["precision"]
        self._seconds = state["seconds"]


def _line(point: dict[str, float], steps: int) -> str:
    return (
        f"step {point['step']:.0f} of {steps}: loss {point['loss']:.3f} (classes "
        f"{point['class_loss']:.3f}, boxes {point['box_loss']:.3f}, sides {point['side_loss']:.3f})"
    )


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: str(v) if isinstance(v, Path) else v for key, v in fields.items()}
