"""Pictures of an evaluation: each frame as people see it, the worst beside their truth, curves."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from codesign_ros.data.frames import SourceFrame
from codesign_ros.evaluation.operating_point import Matches, match, shown
from codesign_ros.evaluation.quality import Quality
from codesign_ros.evaluation.replay import ReplayedFrame
from codesign_ros.pixels.drawing import draw_boxes
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAMES, WORST = "frames", "worst"
"""Folders of pictures."""
CURVES, CONFUSION = "precision_recall.png", "confusion.png"
"""Files of figures."""

_NOTHING, _MISSED = "nothing there", "missed"
_GAP_PX = 6
_BACKGROUND = 255
_FIGURE_INCHES = (6.4, 4.8)
_DPI = 120


@dataclass(frozen=True, order=True)
class _Mistaken:
    """A frame with mistakes; the worst is the greatest, and of equals the one that came first."""

    mistakes: int
    surety: float
    minus_number: int
    stem: str = field(compare=False)
    picture: np.ndarray = field(compare=False)


class FramePictures:
    """Draws frames while a source is evaluated.

    Args:
        folder: where to write; it is made for the first frame.
        task: what the network does.
        classes: names of the classes that count.
        display_threshold: boxes of this score and above are drawn.
        worst: how many of the frames with mistakes are drawn beside their truth, the worst first.

    Raises:
        CodesignError: something is in the folder already, or in its place.
    """

    def __init__(
        self,
        folder: Path,
        task: str,
        classes: Sequence[str],
        display_threshold: float,
        worst: int,
    ) -> None:
        self._folder = folder
        self._detects = task == "detection"
        self._classes = tuple(classes)
        self._threshold = display_threshold
        self._most = worst
        self._worst: list[_Mistaken] = []
        self._number = 0
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CodesignError(f"{folder} is not empty; name a new folder for the pictures")

    def add(self, frame: SourceFrame, prediction: ReplayedFrame) -> None:
        """Draw a frame, and keep it if it is among the worst.

        Raises:
            CodesignError: the picture cannot be written.
        """
        if not self._number:
            self._make(FRAMES)
        rgb = frame.rgb()
        boxes = self._seen(prediction, frame)
        stem = f"{self._number:06d}" + (f"_{frame.file.stem}" if frame.file else "")
        _write(self._folder / FRAMES / f"{stem}.jpg", draw_boxes(rgb, boxes, self._classes))
        self._keep(rgb, frame, prediction, stem)
        self._number += 1

    def finish(self, quality: Quality) -> list[str]:
        """Write the worst frames and the figures.

        Returns:
            What was written, by paths in the folder.

        Raises:
            CodesignError: a file cannot be written.
        """
        written = [FRAMES] if self._number else []
        ranked = sorted(self._worst, reverse=True)
        if ranked:
            self._make(WORST)
            written.append(WORST)
        for rank, each in enumerate(ranked, start=1):
            name = f"{rank:02d}_{each.mistakes}_mistakes_{each.stem}.jpg"
            _write(self._folder / WORST / name, each.picture)
        for name, figure in _figures(quality).items():
            try:
                figure.savefig(self._folder / name, dpi=_DPI)
            except OSError as error:
                raise CodesignError(
                    f"cannot write {self._folder / name}: {error.strerror}"
                ) from None
            written.append(name)
        return written

    def _make(self, name: str) -> None:
        try:
            (self._folder / name).mkdir(parents=True)
        except OSError as error:
            raise CodesignError(f"cannot write {self._folder}: {error.strerror}") from None

    def _seen(self, prediction: ReplayedFrame, frame: SourceFrame) -> tuple[Box, ...]:
        """Boxes to draw; what a classifier says stands at a box around all."""
        answer = prediction.answer
        if self._detects:
            return shown(answer.detections, self._threshold)
        if not answer.label:
            return ()
        return (Box(answer.label, 0, 0, frame.width, frame.height, answer.score),)

    def _keep(
        self, rgb: np.ndarray, frame: SourceFrame, prediction: ReplayedFrame, stem: str
    ) -> None:
        truth = prediction.truth
        if truth is None or not self._most:
            return
        found = self._seen(prediction, frame)
        if self._detects:
            true, surety = truth.boxes, 0.0
        else:
            true = (Box(truth.label, 0, 0, frame.width, frame.height),) if truth.label else ()
            surety = prediction.answer.score
        matches = match(true, found)
        entry = _Mistaken(matches.mistakes, surety, -self._number, stem, rgb)
        full = len(self._worst) == self._most
        if not entry.mistakes or (full and entry < self._worst[0]):
            return
        entry = replace(entry, picture=beside(rgb, true, found, matches, self._classes))
        (heapq.heappushpop if full else heapq.heappush)(self._worst, entry)


def beside(
    rgb: np.ndarray,
    true: Sequence[Box],
    found: Sequence[Box],
    matches: Matches,
    classes: Sequence[str],
) -> np.ndarray:
    """Draw a frame twice: on the left what is there, on the right what was found."""
    confused_true, confused_found = ({pair[i] for pair in matches.confused} for i in (0, 1))
    left = draw_boxes(
        rgb,
        _tagged(true, {"missed": set(matches.missed), "confused": confused_true}),
        _tags(classes, "missed", "confused"),
        scores=False,
    )
    right = draw_boxes(
        rgb,
        _tagged(found, {"wrong": set(matches.wrong), "confused": confused_found}),
        _tags(classes, "wrong", "confused"),
    )
    gap = np.full((rgb.shape[0], _GAP_PX, 3), _BACKGROUND, np.uint8)
    return np.concatenate((left, gap, right), axis=1)


def _tags(classes: Sequence[str], *mistakes: str) -> list[str]:
    """All labels that may be drawn."""
    return [*classes, *(f"{name} {mistake}" for mistake in mistakes for name in classes)]


def _tagged(boxes: Sequence[Box], mistakes: Mapping[str, set[int]]) -> list[Box]:
    """Boxes whose labels say what is wrong with them, by their places."""
    tagged = []
    for place, box in enumerate(boxes):
        words = [mistake for mistake, places in mistakes.items() if place in places]
        label = " ".join((box.label, *words))
        tagged.append(Box(label, box.x_min, box.y_min, box.x_max, box.y_max, box.score))
    return tagged


def _write(path: Path, rgb: np.ndarray) -> None:
    if not cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)):
        raise CodesignError(f"cannot write {path}: the disk may be full")


def _figures(quality: Quality) -> dict[str, Figure]:
    """Draw what the task has, by file name; nothing where no truth is known."""
    if quality.task == "classification" and quality.confusion.any():
        return {CONFUSION: confusion_figure(quality.confusion, quality.classes, quality.classes)}
    if quality.task == "detection" and quality.shown is not None:
        rows, columns = (*quality.classes, _NOTHING), (*quality.classes, _MISSED)
        return {
            CURVES: curves_figure(quality),
            CONFUSION: confusion_figure(quality.shown.confusion, rows, columns),
        }
    return {}


def curves_figure(quality: Quality) -> Figure:
    """Draw precision over recall of each class, and where the shown boxes stand."""
    from matplotlib.figure import Figure  # takes a second, and only this needs it

    metrics, point = quality.detection, quality.shown
    assert metrics is not None
    assert point is not None
    figure = Figure(_FIGURE_INCHES, layout="constrained")
    axis = figure.subplots()
    for name, precision in metrics.precision50.items():
        label = f"{name}, AP {metrics.map50[name]:.3f}"
        (line,) = axis.plot(np.linspace(0, 1, len(precision)), precision, label=label)
        recall, right = point.recall(name), point.precision(name)
        if recall is not None and right is not None:
            axis.plot(recall, right, "o", color=line.get_color())
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axis.set_title(f"overlap 0.5; dots: score {point.threshold:g} and above, which people see")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return figure


def confusion_figure(counts: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> Figure:
    """Draw a confusion matrix: counts by true class (row) and answer (column)."""
    from matplotlib.figure import Figure  # takes a second, and only this needs it

    figure = Figure(_FIGURE_INCHES, layout="constrained")
    axis = figure.subplots()
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares = counts / totals
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.5 else "black"
        axis.text(column, row, str(count), ha="center", va="center", color=ink)
    axis.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axis.set_yticks(range(len(rows)), rows)
    axis.set(xlabel="found", ylabel="true")
    return figure
