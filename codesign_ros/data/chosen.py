"""A source of frames whose labels are renamed, chosen and left out as the user says."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from codesign_ros.data.bags import BagSource
from codesign_ros.data.classes import ClassChoice, ClassNames, FoundClasses
from codesign_ros.data.frames import FrameSource, SourceFrame
from codesign_ros.data.labelled import names_for, open_detection_set
from codesign_ros.data.sources import FPS, LabelledSource, Limited, MineSource, open_source
from codesign_ros.data.stamped_labels import StampedLabels
from codesign_ros.mine.render import CLASSES, MIN_SEEN
from codesign_ros.pixels.decode import ImageError
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.errors import CodesignError

DETECTION, CLASSIFICATION = "detection", "classification"


@dataclass(frozen=True)
class ChosenSource:
    """Another source with the truth of its frames in the network's classes.

    Attributes:
        source: where frames come from.
        names: what the classes of its boxes, or of its frames, are called; None = as they are.
        of_frames: whether a frame has a class as a whole; where that is left out, so is the frame.
        broken: frames that could not be decoded and were left out the last time, a line each.
    """

    source: FrameSource
    names: ClassNames | None
    of_frames: bool
    broken: list[str] = field(default_factory=list)

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.source.fps

    @property
    def frames(self) -> int | None:
        """How many frames there are at most; None where nobody knows."""
        return self.source.frames

    @property
    def live(self) -> bool:
        """Whether frames are taken while we iterate."""
        return self.source.live

    @property
    def box_classes(self) -> tuple[str, ...] | None:
        """The classes of boxes that count; None where they are not chosen."""
        return None if self.names is None or self.of_frames else self.names.classes

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was mended or left out, a line each."""
        own = warnings_of(self.source)
        return (*own, *(self.names.warnings if self.names is not None else ()))

    def __iter__(self) -> Iterator[SourceFrame]:
        self.broken.clear()
        return self._chosen(self.source, 0)

    def from_frame(self, first: int) -> Iterator[SourceFrame]:
        """Yield the source's frames from number ``first`` on, those that are left out counted."""
        if isinstance(self.source, MineSource):
            return self._chosen(self.source.from_frame(first), first)
        return self._chosen(itertools.islice(self.source, first, None), first)

    def _chosen(self, frames: Iterable[SourceFrame], first: int) -> Iterator[SourceFrame]:
        is_any = False
        for number, frame in enumerate(frames, first):
            try:
                frame.rgb()
            except ImageError as error:
                self.broken.append(_left_out(number, frame, error))
                continue
            is_any = True
            truth = None if frame.truth is None else self.renamed(frame.truth)
            if truth is not None or frame.truth is None:
                yield replace(frame, truth=truth)
        if self.broken and not first and not is_any:
            raise CodesignError(f"no frame can be decoded: {told_once(self.broken)}")

    def renamed(self, truth: GroundTruth) -> GroundTruth | None:
        """Rename what is in a frame: its boxes, or its own class; None if that is left out."""
        if self.names is None:
            return truth
        if not self.of_frames:
            return replace(truth, boxes=self.names.boxes(truth.boxes))
        if not truth.label:
            return truth
        target = self.names.targets[truth.label]
        return None if target is None else replace(truth, label=target)


def decoded(frames: Iterable[tuple[int, SourceFrame]]) -> tuple[list[np.ndarray], list[str]]:
    """Decode frames, each with its number in its source.

    Returns:
        Those that can be, (H, W, 3) uint8 RGB, and a line for each that cannot.
    """
    pictures, broken = [], []
    for number, frame in frames:
        try:
            pictures.append(frame.rgb())
        except ImageError as error:
            broken.append(_left_out(number, frame, error))
    return pictures, broken


def _left_out(number: int, frame: SourceFrame, error: ImageError) -> str:
    where = f" ({frame.file})" if frame.file else ""
    return f"frame {number}{where} is broken and is left out: {error}"


def told_once(broken: Sequence[str]) -> str:
    """Tell in one line of broken frames: the first, and how many more there are."""
    others = len(broken) - 1
    return broken[0] + (f"; and {others} more could not be decoded" if others else "")


def warnings_of(source: FrameSource) -> tuple[str, ...]:
    """What was mended or left out when a source was opened, a line each."""
    if isinstance(source, Limited):
        return warnings_of(source.source)
    if isinstance(source, (LabelledSource, StampedLabels)):
        return source.labelled.warnings
    return source.warnings if isinstance(source, BagSource) else ()


def open_chosen(
    spec: str,
    choice: ClassChoice,
    task: str,
    known: Sequence[str],
    *,
    frames: int = 0,
    split: str | None = None,
    topic: str | None = None,
    truth_topic: str | None = None,
    labels: str | None = None,
    fps: float = FPS,
) -> ChosenSource:
    """Open a source for a network; what does not fit the network is refused before any frame.

    Args:
        spec: see ``open_source``.
        choice: what is said of classes.
        task: what the network does, one of ``bundle.description.TASKS``.
        known: its classes.
        frames: see ``open_source``.
        split: see ``open_source``.
        topic: see ``open_source``.
        truth_topic: see ``open_source``.
        labels: a labelled data set with the ground truth of these frames, see ``StampedLabels``.
        fps: see ``open_source``.

    Raises:
        CodesignError: as ``open_source``, ``StampedLabels`` and ``ClassChoice.resolve``;
            or there are no labels, or none for this task, and the choice is of labels; or several
            topics of a bag, or a topic and ``labels``, say what is in the frames.
    """
    source = open_source(
        spec,
        topic=topic,
        truth_topic=truth_topic,
        frames=frames,
        fps=fps,
        split=split,
        names=choice.kept or (),
    )
    if labels is not None:
        if truth_topic:
            raise CodesignError("--labels and --truth-topic both name ground truth: give one")
        named = names_for(labels, choice.kept or ())
        source = StampedLabels(source, open_detection_set(labels, None, named))
    of_frames = task == CLASSIFICATION
    found = classes_of(source, of_frames)
    if of_frames and not found.names and classes_of(source, False).names:
        raise CodesignError(
            f"{spec} has boxes and no class for a whole frame, which a classifier needs; measure a "
            "detector on it"
        )
    if not found.names and (choice.renames or choice.ignore_unknown):
        raise CodesignError(
            f"{choice.words}: {spec} has no labels for {task}; leave the option out, or name a bag "
            "with ground truth or a labelled data set"
        )
    if task not in (DETECTION, CLASSIFICATION):
        return ChosenSource(source, None, of_frames)
    return ChosenSource(source, choice.resolve(found, known, spec), of_frames)


def classes_of(source: FrameSource, of_frames: bool) -> FoundClasses:
    """Say which classes the labels of a source have, before its first frame.

    Args:
        source: of any kind; most have no labels.
        of_frames: classes of whole frames; otherwise those of boxes.
    """
    if isinstance(source, Limited):
        return classes_of(source.source, of_frames)
    if isinstance(source, (LabelledSource, StampedLabels)) and not of_frames:
        return FoundClasses.of_sets(source.labelled)
    if isinstance(source, BagSource):
        truths = source.truths
        boxes = (box.label for truth in truths for box in truth.boxes)
        frames = (truth.label for truth in truths if truth.label)
        return FoundClasses.of_labels(frames if of_frames else boxes)
    if isinstance(source, MineSource):
        return FoundClasses.of_labels(CLASSES if of_frames else MIN_SEEN)
    return FoundClasses((), frozenset())
