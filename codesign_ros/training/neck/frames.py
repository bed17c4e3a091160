"""Pictures that a neck learns from: any source, no labels needed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.progress import Progress

from codesign_ros.data.chosen import told_once, warnings_of
from codesign_ros.data.sources import open_source
from codesign_ros.pixels.decode import ImageError
from codesign_ros.pixels.letterbox import Letterbox, letterbox
from codesign_ros.training.neck.options import NeckOptions
from codesign_ros.training.options import MINE
from codesign_ros.training.scenes import SceneSet, train_and_val_scenes
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

_LEAST_FRAMES = 4
# Of a source, the share of frames that measures.
_VAL_SHARE = 0.15


@dataclass(frozen=True, eq=False)
class Pictures:
    """Letterboxed pictures, as the sampler of the detector's training takes them.

    Attributes:
        images: uint8 (n, H, W, 3), RGB; may be a memory map.
        truths: what is in each, where it is known, in pixels of the input.
        name: what they are, in a few words.
    """

    images: np.ndarray
    truths: Sequence[Sequence[Box]] | None
    name: str

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> Pictures:
        """Return the first ones alone."""
        truths = None if self.truths is None else self.truths[:count]
        return Pictures(self.images[:count], truths, self.name)

    def image(self, index: int) -> np.ndarray:
        """Return a picture, uint8 (H, W, 3), RGB."""
        return np.array(self.images[index])

    def boxes(self, index: int) -> np.ndarray:
        """Return boxes to lay crops around, float32 (n, 4); none where nothing is known."""
        boxes = self.truths[index] if self.truths is not None else ()
        rows = [(b.x_min, b.y_min, b.x_max, b.y_max) for b in boxes]
        return np.array(rows, np.float32).reshape(-1, 4)

    def labels(self, index: int) -> np.ndarray:
        """Return a class for each box, which nobody asks about."""
        return np.zeros(len(self.boxes(index)), np.int64)


@contextmanager
def open_pictures(
    options: NeckOptions, spec: InputSpec, progress: Progress
) -> Iterator[tuple[Pictures, Pictures]]:
    """Open pictures to learn from, and others to measure on.

    Raises:
        CodesignError: the source cannot be read, has too few frames, or there is no room for them.
    """
    if options.data == MINE:
        with train_and_val_scenes(options, progress) as scenes:
            train, val = (_of_scenes(each, spec) for each in scenes)
            yield train, val
        return
    with TemporaryDirectory(prefix="codesign_neck_") as folder:
        images, truths = _read(options, spec, Path(folder) / "frames", progress)
        held = max(1, min(options.val_frames, round(_VAL_SHARE * len(images))))
        # The last ones: frames of a film are like those beside them.
        first = len(images) - held
        is_known = any(each is not None for each in truths)
        known = [each or () for each in truths] if is_known else None
        name = f"frames of {options.data}"
        train = Pictures(images[:first], known and known[:first], f"{first} {name}")
        val = Pictures(images[first:], known and known[first:], f"{held} other {name}")
        yield train, val


def _of_scenes(scenes: SceneSet, spec: InputSpec) -> Pictures:
    rows, columns = scenes.images.shape[1:3]
    if (rows, columns) == (spec.height, spec.width):
        return Pictures(scenes.images, scenes.boxes, scenes.name)
    images = np.stack([letterbox(image, spec) for image in scenes.images])
    place = Letterbox.of(rows, columns, spec)
    truths = [[place.to_input(box) for box in boxes] for boxes in scenes.boxes]
    return Pictures(images, truths, scenes.name)


def _read(
    options: NeckOptions, spec: InputSpec, file: Path, progress: Progress
) -> tuple[np.ndarray, list[Sequence[Box] | None]]:
    """Decode frames into a file, evenly from the whole source where its length is known."""
    source = open_source(options.data, topic=options.topic, seed=options.seed)
    if source.live:
        raise CodesignError(f"{options.data} is live: record it first, and train on the recording")
    most = options.frames + options.val_frames
    every = 1 if source.frames is None else max(1, source.frames // most)
    needed = most * spec.height * spec.width * 3
    free = shutil.disk_usage(file.parent).free
    if free < needed:
        raise CodesignError(
            f"{most} frames need {needed / 1e9:.1f} GB in {file.parent}, which has "
            f"{free / 1e9:.1f} GB free; take fewer --frames or set TMPDIR to a larger disk"
        )
    task = progress.add_task("reading frames", total=most)
    images = np.memmap(file, np.uint8, "w+", shape=(most, spec.height, spec.width, 3))
    truths: list[Sequence[Box] | None] = []
    broken: list[str] = []
    for number, frame in enumerate(source):
        if number % every:
            continue
        if len(truths) == most:
            break
        try:
            rgb = frame.rgb()
        except ImageError as error:
            broken.append(f"frame {number} is broken and is left out: {error}")
            continue
        images[len(truths)] = letterbox(rgb, spec)
        place = Letterbox.of(frame.height, frame.width, spec)
        truth = frame.truth
        truths.append(None if truth is None else [place.to_input(box) for box in truth.boxes])
        progress.advance(task)
    for line in (*warnings_of(source), *([told_once(broken)] if broken else [])):
        progress.console.print(line)
    if len(truths) < _LEAST_FRAMES:
        raise CodesignError(
            f"{options.data} has {len(truths)} frames; a neck needs {_LEAST_FRAMES} or more"
        )
    return images[: len(truths)], truths
