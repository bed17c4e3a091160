"""One training of a detector, from labelled pictures to a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.console import RenderableType
from rich.progress import Progress

from codesign_ros.bundle import Bundle
from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.data.classes import namesakes
from codesign_ros.models.network import Network
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.training.detector.canvases import Labelled
from codesign_ros.training.detector.data import (
    TrainingData,
    labelled_data,
    mine_classes,
    mine_data,
)
from codesign_ros.training.detector.measure import measure_detector, metrics_table
from codesign_ros.training.detector.options import DetectorOptions, fitting_input
from codesign_ros.training.detector.trainer import DetectorConfig, DetectorTrainer, pictures_a_step
from codesign_ros.training.options import MINE
from codesign_ros.training.run import CALIBRATION_FRAMES, TrainingRun
from codesign_ros.training.scenes import train_and_val_scenes
from codesign_ros.types.tensors import InputSpec

# What the mine's frames have on the average; other pictures are brighter, which BatchNorm mends.
MEAN, STD = (0.24, 0.24, 0.24), (0.12, 0.12, 0.12)


_SIZED_PICTURES = 40  # that decide on the input's size


class DetectorRun(TrainingRun):
    """The training of a detector."""

    task = "detection"
    architecture = "yolo"
    panels: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "loss": {"all": "loss", "classes": "class_loss", "boxes": "box_loss", "sides": "side_loss"}
    }
    options: DetectorOptions

    def __init__(
        self, out: Path, options: DetectorOptions, data: TrainingData, progress: Progress
    ) -> None:
        super().__init__(out, options, progress)
        self._data = data
        size = options.input or fitting_input(_sizes(data.train))
        if options.input is None and options.data != MINE:
            progress.console.print(
                f"input {size[0]}x{size[1]}, after the pictures; --input changes it"
            )
        self.spec = InputSpec(*size, MEAN, STD)
        self.classes = data.classes
        self.args = {
            "classes": len(data.classes),
            "variant": options.variant,
            "reg_max": options.reg_max,
        }
        self.trained_on, self.measured_on = data.train_name, data.val_name

    def make_trainer(self, steps: int) -> DetectorTrainer:
        """Make what does the steps."""
        options = self.options
        config = DetectorConfig(
            steps,
            **{**options.config, "learning_rate": options.peak_rate},
            bfloat16=options.bfloat16,
        )
        return DetectorTrainer(
            self.start_network, options.reg_max, self._data.train, config, options.torch_device
        )

    def measure(self) -> dict[str, Any]:
        """Measure precision by class and by size."""
        return measure_detector(self.averaged(), self._data, self.options.val_frames).to_json()

    def score(self, values: Mapping[str, Any]) -> float:
        """Return precision, the mean over the classes."""
        found = [value for value in values["map50"].values() if value is not None]
        return float(np.mean(found)) if found else 0.0

    def pictures_a_step(self) -> float:
        """Return how many pictures a step sees, on the average."""
        return pictures_a_step(self.spec, DetectorConfig(1, self.options.batch_frames))

    def judge(
        self, network: Network
    ) -> tuple[AccuracyTable, dict[str, Any], Sequence[RenderableType]]:
        """Measure precision, as the bundle's metric and as a table."""
        metrics = measure_detector(network, self._data, self.options.val_frames, self.progress)
        table = AccuracyTable("map50", metrics.mean_map50 or 0.0, self.measured_on, ())
        return table, metrics.to_json(), [metrics_table(metrics, self.measured_on)]

    def measured_curves(self, measured: Sequence[Mapping[str, Any]]) -> tuple[str, dict]:
        """Return precision by class."""
        return "mAP@0.5", {
            name: [(m["step"], m["map50"][name]) for m in measured if m["map50"][name] is not None]
            for name in self.classes
        }

    def calibration_frames(self) -> np.ndarray:
        """Return letterboxed training pictures, evenly from the whole set."""
        data = self._data.train
        count = min(CALIBRATION_FRAMES, len(data))
        # Odd ones: of the mine's scenes those are JPEGs, which compress better.
        indices = [min(2 * (i * len(data) // (2 * count)) + 1, len(data) - 1) for i in range(count)]
        return np.stack([letterbox(data.image(i), self.spec) for i in indices])


def _sizes(data: Labelled) -> list[tuple[int, int]]:
    """Return heights and widths of some pictures, evenly from the whole set [px]."""
    count = min(_SIZED_PICTURES, len(data))
    return [data.image(i * len(data) // count).shape[:2] for i in range(count)]  # type: ignore[misc]


@contextmanager
def open_detector_run(
    out: Path, options: DetectorOptions, progress: Progress
) -> Iterator[tuple[DetectorRun, int]]:
    """Open the data, or render scenes of the mine; see ``training.run.train``."""
    if options.data != MINE:
        data = labelled_data(Path(options.data), options.class_choice)
        known = () if options.init is None else Bundle.open(options.init).classes
        for warning in (*data.warnings, *namesakes(data.classes, known)):
            progress.console.print(
                warning, style="yellow", markup=False, highlight=False, soft_wrap=True
            )
        yield DetectorRun(out, options, data, progress), len(data.train)
        return
    names = mine_classes(options.class_choice)
    with train_and_val_scenes(options, progress) as scenes:
        yield DetectorRun(out, options, mine_data(*scenes, names), progress), options.frames
