"""From labelled pictures to a detector's bundle (``codesign train``)."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from codesign_ros.bundle import Bundle, write_bundle
from codesign_ros.console import progress_bar
from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.training.detector.data import MINE, DataOpener, TrainingData
from codesign_ros.training.detector.measure import measure_detector, metrics_table
from codesign_ros.training.detector.options import DetectorOptions
from codesign_ros.training.detector.run import ARCHITECTURE, DetectorRun
from codesign_ros.types import InputSpec

_CALIBRATION_FRAMES = 16


def train_detector(out: Path, options: DetectorOptions, console: Console) -> Bundle:
    """Train a detector and write it as a bundle.

    Prints progress and at the end the precision. Beside ``out`` stands a checkpoint while the
    training runs (``OUT.training``).

    Raises:
        CodesignError: an option makes no sense, the data cannot be read, or ``out`` cannot be
            written.
    """
    options.check()
    start = time.monotonic()
    torch.set_num_threads(options.threads)
    with DataOpener() as opener, progress_bar(console) as progress:
        data = _opened(opener, options, progress)
        for warning in data.warnings:
            console.print(f"[yellow]{warning}[/]")
        run = DetectorRun(out, options, data, progress)
        run.train()
        network = run.trained()
        metrics = measure_detector(network, data, options.val_frames, progress)
        bundle = write_bundle(
            out,
            network,
            name=out.name.removesuffix(".bundle"),
            architecture=ARCHITECTURE,
            architecture_args=run.args,
            classes=data.classes,
            accuracy=AccuracyTable("map50", metrics.mean_map50 or 0.0, data.val_name, ()),
            calibration_frames=_calibration_frames(data, run.spec),
            task="detection",
        )
        run.finish(metrics, time.monotonic() - start)
    console.print(metrics_table(metrics, data.val_name))
    console.print(f"{out}: model {bundle.model_id}, {(time.monotonic() - start) / 60:.1f} minutes")
    return bundle


def _opened(opener: DataOpener, options: DetectorOptions, progress: Progress) -> TrainingData:
    if options.data != MINE:
        return opener.labelled(Path(options.data), options.classes)
    task = progress.add_task("rendering scenes", total=options.frames + options.val_frames)
    return opener.mine(
        options.seed,
        options.frames,
        options.val_frames,
        options.threads,
        lambda count: progress.advance(task, count),
    )


def _calibration_frames(data: TrainingData, spec: InputSpec) -> np.ndarray:
    """Letterboxed training pictures, evenly from the whole set."""
    count = min(_CALIBRATION_FRAMES, len(data.train))
    # Odd ones: of the mine's scenes those are JPEGs, which compress better.
    indices = [min(2 * (i * len(data.train) // (2 * count)) + 1, len(data.train) - 1)
               for i in range(count)]  # fmt: skip
    return np.stack([letterbox(data.train.image(i), spec) for i in indices])
