"""From labelled pictures to a classifier's bundle (``codesign train --task classification``)."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from codesign_ros.bundle import Bundle, write_bundle
from codesign_ros.console import progress_bar
from codesign_ros.evaluation.accuracy_table import measure_accuracy
from codesign_ros.models.network import Network
from codesign_ros.models.zoo import build
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.training.classifier.options import ClassifierOptions
from codesign_ros.training.classifier.sets import (
    TRAIN,
    VAL,
    ClassificationSet,
    open_classification_set,
)
from codesign_ros.training.classifier.trainer import ClassifierConfig, ClassifierTrainer
from codesign_ros.training.curves import CURVE_PICTURE, draw_curves, write_curves
from codesign_ros.training.loop import TrainingLoop, device_named, steps_for, steps_that_fit
from codesign_ros.training.mine_classifier.trainer import classify
from codesign_ros.types import CodesignError, InputSpec

# Input of networks for pictures of many sizes, as the published classifiers take them [px].
_INPUT_PX = 224
_DEFAULT_EPOCHS = 10.0
_STATISTICS_FRAMES = 256
_CALIBRATION_FRAMES = 16


def train_classifier(spec: str, out: Path, options: ClassifierOptions, console: Console) -> Bundle:
    """Train a classifier and write it as a bundle.

    Prints progress and at the end the accuracy. Beside ``out`` stands a checkpoint while the
    training runs (``OUT.training``).

    Args:
        spec: the data, see ``classification_sets.open_classification_set``.
        out: the bundle's directory.
        options: how.
        console: where to print.

    Raises:
        CodesignError: an option makes no sense, the data cannot be read, or ``out`` cannot be
            written.
    """
    options.check()
    start = time.monotonic()
    torch.set_num_threads(options.threads)
    train, val = (open_classification_set(spec, split) for split in (TRAIN, VAL))
    if train.classes != val.classes:
        raise CodesignError(f"{train.name} and {val.name} have different classes")
    with progress_bar(console) as progress:
        run = _Run(out, options, train, val, progress)
        run.train()
        network = run.trained()
        task = progress.add_task("measuring accuracy", total=None)
        table = measure_accuracy(
            network,
            run.val_images,
            run.val_labels,
            data=f"{len(run.val_labels)} images of {val.name} (trained on {train.name})",
            threads=options.threads,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
        bundle = write_bundle(
            out,
            network,
            name=out.name.removesuffix(".bundle"),
            architecture=run.architecture,
            architecture_args=run.args,
            classes=train.classes,
            accuracy=table,
            calibration_frames=run.frames(train, _CALIBRATION_FRAMES)[0],
        )
        run.finish(table.reference, time.monotonic() - start)
    console.print(f"accuracy {table.reference:.1%} on {table.data}")
    console.print(f"{out}: model {bundle.model_id}, {(time.monotonic() - start) / 60:.1f} minutes")
    return bundle


class _Run:
    """One training with its checkpoint and its curves."""

    def __init__(
        self,
        out: Path,
        options: ClassifierOptions,
        train: ClassificationSet,
        val: ClassificationSet,
        progress: Progress,
    ) -> None:
        self._out = out
        self._options = options
        self._train = train
        self._progress = progress
        self._init = None if options.init is None else Bundle.open(options.init)
        self.architecture, self.args, self.spec = self._shape()
        self.val_images, self.val_labels = self.frames(val, options.val_frames)
        self._planned = self._planned_steps()
        steps = self._planned
        if steps is None:
            # A run that goes on has the steps of its checkpoint, however fast the machine is now.
            steps = 1 if options.resume else self._steps_that_fit()
        self._trainer = self._make_trainer(steps)
        folder = out.with_name(out.name + ".training")
        self._loop = TrainingLoop(self._trainer, folder, self._accuracy, progress)

    def train(self) -> None:
        """Do all steps.

        Raises:
            CodesignError: the checkpoint cannot be written or, to resume, not be read or is of a
                run with other options.
        """
        self._loop.run(resume=self._options.resume, planned_steps=self._planned)

    def trained(self) -> Network:
        """Return a new network with the averaged weights, in evaluation mode, on the CPU."""
        network = build(self.architecture, self.args, self.spec)
        network.load_state_dict(self._trainer.averaged().state_dict())
        return network.eval()

    def finish(self, accuracy: float, total_s: float) -> None:
        """Write the curves into the bundle and remove the checkpoint."""
        self._loop.note({"value": accuracy})
        curve, measured = self._loop.curve, self._loop.measured
        document = {
            "config": asdict(self._trainer.config),
            "trained_on": self._train.name,
            "minutes": round(total_s / 60, 2),
            "accuracy": measured,
            "curve": curve,
        }
        write_curves(self._out, document)
        curves = {
            key: [(int(p["step"]), p[key]) for p in curve]
            for key in ("loss", "accuracy", "learning_rate")
        }
        draw_curves(
            self._out / CURVE_PICTURE,
            {
                "loss": {"loss": curves["loss"]},
                "accuracy": {
                    "while training": curves["accuracy"],
                    "measured": [(m["step"], m["value"]) for m in measured],
                },
                "learning rate": {"rate": curves["learning_rate"]},
            },
            f"{self._out.name}: {self._train.name}",
        )
        self._loop.remove_checkpoint()

    def frames(self, data: ClassificationSet, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Return some letterboxed pictures, uint8 (n, H, W, 3), and their labels (n,)."""
        chosen = np.random.default_rng(self._options.seed).permutation(len(data))[:most]
        return np.stack([letterbox(data.image(i), self.spec) for i in chosen]), data.labels[chosen]

    def _shape(self) -> tuple[str, dict[str, Any], InputSpec]:
        """Return architecture, arguments and input of the network."""
        if self._init is not None:
            args = dict(self._init.architecture_args)
            if "classes" in args:
                args["classes"] = len(self._train.classes)
            return self._init.architecture, args, self._init.input
        args = {**self._options.architecture_args, "classes": len(self._train.classes)}
        height, width = self._options.input or self._train.size or (_INPUT_PX, _INPUT_PX)
        self.spec = InputSpec(height, width)
        pixels = self.frames(self._train, _STATISTICS_FRAMES)[0].reshape(-1, 3) / 255
        mean, std = (
            tuple(round(float(v), 4) for v in values)
            for values in (pixels.mean(0), pixels.std(0).clip(1 / 255))
        )
        spec = InputSpec(height, width, mean, std)  # type: ignore[arg-type]
        return self._options.architecture, args, spec

    def _network(self) -> Network:
        network = build(self.architecture, self.args, self.spec)
        if self._init is not None:
            own = network.state_dict()
            old = self._init.network().state_dict()
            same = {k: t for k, t in old.items() if k in own and own[k].shape == t.shape}
            network.load_state_dict(same, strict=False)
            self._progress.console.print(
                f"{len(same)} of {len(own)} tensors start from {self._init.path}"
            )
        return network

    def _make_trainer(self, steps: int) -> ClassifierTrainer:
        options = self._options
        config = ClassifierConfig(
            steps,
            batch_frames=options.batch_frames,
            learning_rate=options.learning_rate,
            seed=options.seed,
        )
        return ClassifierTrainer(self._network, self._train, config, device_named(options.device))

    def _planned_steps(self) -> int | None:
        """Return the number of steps that was asked for; None = as many as fit into ``minutes``."""
        options = self._options
        if options.steps is not None:
            return options.steps
        if options.epochs is None and options.minutes is not None:
            return None
        epochs = options.epochs or _DEFAULT_EPOCHS
        return steps_for(epochs, len(self._train), options.batch_frames)

    def _steps_that_fit(self) -> int:
        assert self._options.minutes is not None
        return steps_that_fit(self._make_trainer, self._options.minutes)

    def _accuracy(self) -> dict[str, Any]:
        answers = classify(self.trained(), self.val_images)
        return {"value": float((answers == self.val_labels).mean())}
