"""From labelled pictures to a classifier's bundle (``codesign train --task classification``)."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from codesign_ros.bundle import Bundle, write_bundle
from codesign_ros.evaluation.accuracy_table import measure_accuracy
from codesign_ros.models.network import Network
from codesign_ros.models.zoo import build
from codesign_ros.preprocess import letterbox
from codesign_ros.training.classification_sets import (
    TRAIN,
    VAL,
    ClassificationSet,
    open_classification_set,
)
from codesign_ros.training.classifier import ClassifierConfig, ClassifierStep, ClassifierTrainer
from codesign_ros.training.classifier_options import ClassifierOptions
from codesign_ros.training.curves import draw_curves
from codesign_ros.training.trainer import classify
from codesign_ros.types import CodesignError, InputSpec

CURVE_FILE, CURVE_PICTURE = "training.json", "training.png"
"""Where in the bundle the learning curve goes."""

# Input of networks for pictures of many sizes, as the published classifiers take them [px].
_INPUT_PX = 224
_DEFAULT_EPOCHS = 10.0
_POINTS = 60  # of the learning curve, each a mean over the steps since the last
_MEASUREMENTS = 6
_STATISTICS_FRAMES = 256
_CALIBRATION_FRAMES = 16
_CHECKPOINT = "checkpoint.safetensors"
_CHECKPOINT_EVERY_S = 60.0
_TIMED_STEPS = 6


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
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
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
        self._folder = out.with_name(out.name + ".training")
        self._init = None if options.init is None else Bundle.open(options.init)
        self.architecture, self.args, self.spec = self._shape()
        self.val_images, self.val_labels = self.frames(val, options.val_frames)
        self._curve: list[dict[str, float]] = []
        self._measured: list[tuple[int, float]] = []
        # A run that goes on has the steps of its checkpoint, however fast the machine is now.
        unknown = 1 if options.resume else None
        self._trainer = self._make_trainer(
            self._planned_steps() or unknown or self._steps_that_fit()
        )

    def train(self) -> None:
        """Do all steps.

        Raises:
            CodesignError: the checkpoint cannot be written or, to resume, not be read or is of a
                run with other options.
        """
        trainer = self._trainer
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CodesignError(f"cannot write {self._folder}: {error.strerror}") from None
        if self._options.resume:
            self._resume()
        steps = trainer.config.steps
        task = self._progress.add_task("training", total=steps, completed=trainer.steps_done)
        points = {round((i + 1) * steps / _POINTS) for i in range(_POINTS)}
        measured = {round((i + 1) * steps / _MEASUREMENTS) for i in range(_MEASUREMENTS - 1)}
        since: list[ClassifierStep] = []
        saved = time.monotonic()
        while trainer.steps_done < steps:
            since.append(trainer.step())
            if trainer.steps_done in points:
                self._curve.append(_mean(since))
                since = []
                if not self._progress.console.is_terminal:  # a log shows no bar
                    self._progress.console.print(_line(self._curve[-1], steps))
            if trainer.steps_done in measured:
                self._measured.append((trainer.steps_done, self._accuracy()))
            self._progress.update(task, advance=1)
            if time.monotonic() - saved > _CHECKPOINT_EVERY_S and not since:
                saved = time.monotonic()
                state = {"curve": self._curve, "measured": self._measured}
                trainer.save(self._folder / _CHECKPOINT, state)

    def trained(self) -> Network:
        """Return a new network with the averaged weights, in evaluation mode, on the CPU."""
        network = build(self.architecture, self.args, self.spec)
        network.load_state_dict(self._trainer.averaged().state_dict())
        return network.eval()

    def finish(self, accuracy: float, total_s: float) -> None:
        """Write the curves into the bundle and remove the checkpoint."""
        self._measured.append((self._trainer.steps_done, accuracy))
        document = {
            "config": asdict(self._trainer.config),
            "trained_on": self._train.name,
            "minutes": round(total_s / 60, 2),
            "accuracy": [{"step": step, "value": value} for step, value in self._measured],
            "curve": self._curve,
        }
        (self._out / CURVE_FILE).write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        curves = {
            key: [(int(p["step"]), p[key]) for p in self._curve]
            for key in ("loss", "accuracy", "learning_rate")
        }
        draw_curves(
            self._out / CURVE_PICTURE,
            {
                "loss": {"loss": curves["loss"]},
                "accuracy": {"while training": curves["accuracy"], "measured": self._measured},
                "learning rate": {"rate": curves["learning_rate"]},
            },
            f"{self._out.name}: {self._train.name}",
        )
        shutil.rmtree(self._folder)

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
        device = options.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        config = ClassifierConfig(
            steps,
            batch_frames=options.batch_frames,
            learning_rate=options.learning_rate,
            seed=options.seed,
        )
        return ClassifierTrainer(self._network, self._train, config, device)

    def _planned_steps(self) -> int | None:
        """Return the number of steps that was asked for; None = as many as fit into ``minutes``."""
        options = self._options
        if options.steps is not None:
            return options.steps
        if options.epochs is None and options.minutes is not None:
            return None
        epochs = options.epochs or _DEFAULT_EPOCHS
        return max(1, math.ceil(epochs * len(self._train) / options.batch_frames))

    def _steps_that_fit(self) -> int:
        """Find how many steps fit into ``minutes`` by timing some."""
        assert self._options.minutes is not None
        trainer = self._make_trainer(_TIMED_STEPS)
        times_s = []
        for _ in range(_TIMED_STEPS):
            before = time.monotonic()
            trainer.step()
            times_s.append(time.monotonic() - before)
        return max(1, int(self._options.minutes * 60 / np.median(times_s)))

    def _accuracy(self) -> float:
        answers = classify(self.trained(), self.val_images)
        return float((answers == self.val_labels).mean())

    def _resume(self) -> None:
        file = self._folder / _CHECKPOINT
        state = self._trainer.resume(file)
        planned, steps = self._planned_steps(), self._trainer.config.steps
        if planned is not None and planned != steps:
            raise CodesignError(f"checkpoint {file} is of a run of {steps} steps, not {planned}")
        self._curve = state["curve"]
        self._measured = [(int(step), float(value)) for step, value in state["measured"]]


def _mean(steps: list[ClassifierStep]) -> dict[str, float]:
    """Average steps into one point, which stands at the last of them."""
    keys = ("loss", "accuracy", "learning_rate")
    means = {key: float(np.mean([getattr(step, key) for step in steps])) for key in keys}
    return {"step": steps[-1].step, **means}


def _line(point: Mapping[str, float], steps: int) -> str:
    return (
        f"step {point['step']:.0f} of {steps}: loss {point['loss']:.3f}, "
        f"accuracy {point['accuracy']:.1%}"
    )
