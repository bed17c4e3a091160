"""Opens whatever frames can come from: bag, video, camera, images, labelled images, the mine."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from codesign_ros.data.bags import BagSource
from codesign_ros.data.frames import FrameSource, SourceFrame
from codesign_ros.data.gstreamer import GstreamerSource, check_no_address, is_gstreamer
from codesign_ros.data.image_files import IMAGE_SUFFIXES, entries
from codesign_ros.data.images import described, upright_picture
from codesign_ros.data.labelled import (
    DetectionSet,
    has_labels,
    names_for,
    open_detection_set,
    open_for_measuring,
)
from codesign_ros.data.storage.recording import is_bag
from codesign_ros.data.video import CameraSource, VideoSource
from codesign_ros.mine.generator import MOST_SEED, MineFrame, MineGenerator, seed_of
from codesign_ros.pixels.decode import ImageError
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.errors import CodesignError, listed

_DESCRIPTIONS = (".json", ".yaml", ".yml")


FPS = 30.0
"""Of sources that have no rate of their own [1/s]."""


def open_source(
    spec: str,
    *,
    topic: str | None = None,
    truth_topic: str | None = None,
    topic_option: str = "--topic",
    seed: int = 0,
    frames: int = 0,
    fps: float = FPS,
    split: str | None = None,
    names: Sequence[str] = (),
    size: tuple[int, int] = (0, 0),
    stopping: threading.Event | None = None,
) -> FrameSource:
    """Open a source of frames.

    Args:
        spec: A bag, a video file, ``/dev/videoN``, ``csi[:SENSOR_ID]`` or ``gstreamer:PIPELINE``
            (``data.gstreamer``), a folder of images, a labelled data set (``data.labelled``),
            ``mine`` or ``mine:SEED`` (a film), ``scenes`` or ``scenes:SEED`` (independent scenes
            of the mine).
        topic: The image topic, for bags with several.
        truth_topic: The topic of ground truth, for bags with several; see ``BagSource``.
        topic_option: What whoever reads the error says it with.
        seed: Seed of the mine where ``spec`` names none.
        frames: Stop after so many frames; 0 = all there are (the mine and cameras: no end).
        fps: Rate of sources that have none of their own (folder, mine); asked of a camera.
        split: Part of a labelled data set; None = its ``val``, or all where it has no such part.
        names: What the numbers in a labelled data set's files mean, where it has no list of that.
        size: Width and height asked of a camera [px]; 0 = its own.
        stopping: When set, a camera through GStreamer ends although no frame comes.

    Raises:
        CodesignError: The source is missing, unreadable or of no known kind.
    """
    if frames < 0 or fps <= 0:
        raise CodesignError(f"a source needs frames >= 0 and fps > 0 (not {frames}, {fps})")
    if not spec.strip():
        raise CodesignError("a source needs a name: a bag, a folder, a video, a camera or mine")
    if spec.startswith("~"):
        spec = os.path.expanduser(spec)
    try:
        if (named := topic or truth_topic) and not is_bag(Path(spec)):
            raise CodesignError(f"topic '{named}' is of no use: source {spec} is no bag")
        if is_gstreamer(spec):
            camera = GstreamerSource(spec, fps, size, stopping)
            return Limited(camera, frames) if frames else camera
        check_no_address(spec)
        path = Path(spec)
        if _is_labelled(path):
            classes = names_for(spec, names)
            if split:
                whole = open_detection_set(spec, split, classes)
            else:
                whole = open_for_measuring(spec, classes)
            images = whole.images[:frames] if frames else whole.images
            return LabelledSource(replace(whole, images=images), fps)
        if split:
            raise CodesignError(f"source {spec} has no split '{split}': it is no labelled data set")
        source: FrameSource
        if spec.partition(":")[0] in ("mine", "scenes"):
            independent = spec.startswith("scenes")
            return MineSource(_mine_seed(spec, seed), frames or None, fps, independent=independent)
        if spec.startswith("/dev/"):
            source = CameraSource(path, fps, size)
        elif not path.exists():
            raise CodesignError(f"source {spec} does not exist")
        elif is_bag(path):
            source = BagSource(
                path, topic=topic, truth_topic=truth_topic, topic_option=topic_option
            )
        elif path.is_dir():
            source = FolderSource(path, fps)
        elif not path.is_file():  # a pipe that nobody writes to would keep OpenCV for ever
            raise CodesignError(f"source {spec} is neither a file nor a folder")
        else:
            source = VideoSource(path)
        return Limited(source, frames) if frames else source
    except OSError as error:
        raise CodesignError(f"source {spec} cannot be opened: {error.strerror}") from error


def _is_labelled(path: Path) -> bool:
    described = path.is_file() and path.suffix.lower() in _DESCRIPTIONS
    return (described or path.is_dir()) and not is_bag(path) and has_labels(path)


def _mine_seed(spec: str, seed: int) -> int:
    _, colon, text = spec.partition(":")
    if not colon:
        return seed
    found = seed_of(text)
    if found is None:
        raise CodesignError(
            f"source '{spec}': the seed must be a whole number from 0 to {MOST_SEED}, as in mine:7"
        )
    return found


class Limited:
    """The first frames of another source, ``source``."""

    def __init__(self, source: FrameSource, limit: int) -> None:
        self.source = source
        self._limit = limit
        self.fps = source.fps
        self.live = source.live
        self.frames: int | None = limit if source.frames is None else min(limit, source.frames)

    def __iter__(self) -> Iterator[SourceFrame]:
        return itertools.islice(iter(self.source), self._limit)


class MineSource:
    """The synthetic mine, with ground truth; without an end if ``frames`` is None.

    A film, or independent scenes: those tell more of a network, since a film's frames are alike.
    """

    live = False

    def __init__(
        self, seed: int, frames: int | None, fps: float, *, independent: bool = False
    ) -> None:
        self._mine = MineGenerator(seed)
        self.independent = independent
        self.frames = frames
        self.fps = fps

    def __iter__(self) -> Iterator[SourceFrame]:
        return self.from_frame(0)

    def from_frame(self, first: int) -> Iterator[SourceFrame]:
        """Yield the frames from number ``first`` on; independent ones before it are not drawn."""
        if self.independent:
            numbers = itertools.count(first) if self.frames is None else range(first, self.frames)
            frames: Iterator[MineFrame] = map(self._mine.frame, numbers)
        else:
            frames = itertools.islice(self._mine.sequence(self.frames, self.fps), first, None)
        for number, frame in enumerate(frames, first):
            height, width, channels = frame.image.shape
            yield SourceFrame(
                round(number * 1e9 / self.fps),
                frame.image.tobytes(),
                "bgr8",
                height,
                width,
                width * channels,
                frame.truth,
            )


class FolderSource:
    """The JPEG and PNG files of a folder, in the order of their names."""

    live = False

    def __init__(self, path: Path, fps: float) -> None:
        there = entries(path)
        self._files = [p for p in there if p.suffix.lower() in IMAGE_SUFFIXES]
        if not self._files:
            bags = [str(p) for p in there if is_bag(p)]
            named = f"; it has {listed(bags)}: name a bag itself" if bags else ""
            raise CodesignError(f"folder {path} has no images ({', '.join(IMAGE_SUFFIXES)}){named}")
        self.frames: int | None = len(self._files)
        self.fps = fps

    def __iter__(self) -> Iterator[SourceFrame]:
        for number, file in enumerate(self._files):
            try:
                data = file.read_bytes()
            except OSError as error:
                raise CodesignError(f"image {file} cannot be read: {error.strerror}") from error
            try:
                picture = upright_picture(data)
            except ImageError:  # as in a bag: one frame that nobody can decode
                picture = data, *described(data), 0
            stamp_ns = round(number * 1e9 / self.fps)
            yield SourceFrame(stamp_ns, *picture, file=file)


class LabelledSource:
    """The pictures of a labelled data set, with their boxes as ground truth.

    Attributes:
        labelled: The data set; its ``warnings`` are for whoever opened the source to print.
    """

    live = False

    def __init__(self, labelled: DetectionSet, fps: float) -> None:
        self.labelled = labelled
        self.frames: int | None = len(labelled)
        self.fps = fps

    def __iter__(self) -> Iterator[SourceFrame]:
        for number, image in enumerate(self.labelled.images):
            stamp_ns = round(number * 1e9 / self.fps)
            truth = GroundTruth("", image.boxes)
            height, width = image.height, image.width
            if image.orientation == 1:
                data, encoding = image.read()
                step = 0
            else:  # whoever decodes a frame takes it as it is stored
                data, encoding, step = image.load().tobytes(), "rgb8", 3 * width
            yield SourceFrame(stamp_ns, data, encoding, height, width, step, truth, image.path)
