"""Scenes of the mine rendered once to disk, for training and for measuring.

Drawing a scene takes about a tenth of a second, and training looks at each many times; so they are
drawn once, by several processes, into one file of raw pixels that is then mapped into memory.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import cv2
import numpy as np
from rich.progress import Progress

from codesign_ros.mine.generator import MINE_VERSION, MineGenerator
from codesign_ros.mine.render import CLASSES
from codesign_ros.mine.tunnel import HEIGHT, WIDTH
from codesign_ros.training.options import TrainingOptions
from codesign_ros.types.boxes import Box, GroundTruth
from codesign_ros.types.errors import CodesignError

OTHER_SEED = 1_000_000
"""Added to the training seed for the scenes that measure: no scene is in both."""

_FRAME_BYTES = HEIGHT * WIDTH * 3
# Frames that a process draws before it reports.
_CHUNK = 4
# Robots' cameras send raw pictures or JPEGs: every second scene goes through one of this quality.
_JPEG_QUALITY = 85


@dataclass(frozen=True, kw_only=True)
class SceneOptions(TrainingOptions):
    """Options of a training on scenes of the mine.

    Attributes:
        frames: training scenes, 768 kB each.
        scenes: folder in which drawn scenes are kept for the next time, also for going on after an
            interruption; None = a temporary one.
    """

    least: ClassVar[Mapping[str, int]] = {**TrainingOptions.least, "frames": 1}

    frames: int = 8000
    scenes: Path | None = None


@dataclass(frozen=True, eq=False)
class SceneSet:
    """Frames and what is in them.

    Attributes:
        images: (n, H, W, 3) uint8, RGB; may be a memory map.
        labels: (n,) int64, index into ``codesign_ros.mine.render.CLASSES``.
        boxes: for each frame its boxes.
        name: what they are, in a few words.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: tuple[tuple[Box, ...], ...]
    name: str


def render_scenes(
    file: Path,
    seed: int,
    frames: int,
    *,
    processes: int = 2,
    on_rendered: Callable[[int], None] = lambda _count: None,
) -> SceneSet:
    """Draw independent scenes into a new file.

    Args:
        file: raw pixels go here, 768 kB for each frame; it must live as long as the result.
        seed: seed of the scenes; frame i is frame i of ``MineGenerator(seed)``, the odd ones as
            they come out of a JPEG.
        frames: how many.
        processes: how many processes draw.
        on_rendered: told how many more frames are drawn.

    Raises:
        CodesignError: the disk has no room for the file.
    """
    needed = frames * _FRAME_BYTES
    free = shutil.disk_usage(file.parent).free
    if free < needed:
        raise CodesignError(
            f"{frames} scenes need {needed / 1e9:.1f} GB in {file.parent}, which has "
            f"{free / 1e9:.1f} GB free; take fewer frames or set TMPDIR to a larger disk"
        )
    images = np.memmap(file, np.uint8, "w+", shape=(frames, HEIGHT, WIDTH, 3))
    chunks = [range(start, min(start + _CHUNK, frames)) for start in range(0, frames, _CHUNK)]
    # A forked process would inherit torch's threads in whatever state they are.
    context = multiprocessing.get_context("spawn")
    truths: list[GroundTruth] = []
    workers: set[BaseProcess] = set()
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        try:
            others = set(multiprocessing.active_children())
            # A Ctrl-C at the terminal is for this process, which ends those that draw: they inherit
            # what is blocked, from before they can say so themselves.
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                jobs = [pool.submit(_render_chunk, file, frames, seed, chunk) for chunk in chunks]
                workers = set(multiprocessing.active_children()) - others
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            for job in jobs:
                drawn = job.result()
                truths += drawn
                on_rendered(len(drawn))
        except BaseException:
            for worker in workers:
                worker.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    labels = np.array([CLASSES.index(truth.label) for truth in truths], np.int64)
    name = f"{frames} independent scenes of the synthetic mine, seed {seed}, every second as a JPEG"
    return SceneSet(images, labels, tuple(truth.boxes for truth in truths), name)


@contextmanager
def train_and_val_scenes(
    options: SceneOptions, progress: Progress
) -> Iterator[tuple[SceneSet, SceneSet]]:
    """Draw scenes: ``frames`` of the seed, and others to measure on.

    They go into temporary files, or are kept in ``options.scenes`` and taken from there.

    Raises:
        CodesignError: the disk has no room for the files, or they cannot be written.
    """
    seed, frames, val_frames = options.seed, options.frames, options.val_frames
    task = progress.add_task("rendering scenes", total=frames + val_frames)
    with _folder(options.scenes) as folder:
        train, val = (
            _kept_scenes(
                folder / f"{name}_{set_seed}_{count}",
                set_seed,
                count,
                processes=options.threads or 1,
                on_rendered=lambda more: progress.advance(task, more),
            )
            for name, set_seed, count in (
                ("train", seed, frames),
                ("val", seed + OTHER_SEED, val_frames),
            )
        )
        yield train, val


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is None:
        with TemporaryDirectory(prefix="codesign_train_") as folder:
            yield Path(folder)
        return
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodesignError(f"cannot write {kept}: {error.strerror}") from None
    yield kept


def _kept_scenes(
    file: Path, seed: int, frames: int, *, processes: int, on_rendered: Callable[[int], None]
) -> SceneSet:
    """Draw scenes into a file, or take those that are in it already."""
    known = file.with_suffix(".json")
    if known.exists() and file.exists() and file.stat().st_size == frames * _FRAME_BYTES:
        document = json.loads(known.read_text(encoding="utf-8"))
        if document["version"] == MINE_VERSION:
            on_rendered(frames)
            boxes = [[Box(*row) for row in rows] for rows in document["boxes"]]
            return SceneSet(
                np.memmap(file, np.uint8, "r", shape=(frames, HEIGHT, WIDTH, 3)),
                np.array(document["labels"], np.int64),
                tuple(map(tuple, boxes)),
                document["name"],
            )
    drawn = render_scenes(file, seed, frames, processes=processes, on_rendered=on_rendered)
    rows = [[(b.label, b.x_min, b.y_min, b.x_max, b.y_max) for b in each] for each in drawn.boxes]
    document = {
        "version": MINE_VERSION,
        "name": drawn.name,
        "labels": drawn.labels.tolist(),
        "boxes": rows,
    }
    known.write_text(json.dumps(document), encoding="utf-8")
    return drawn


def _render_chunk(file: Path, frames: int, seed: int, indices: range) -> list[GroundTruth]:
    """Draw some frames into their places in the file; runs in a process of its own."""
    cv2.setNumThreads(1)
    images = np.memmap(file, np.uint8, "r+", shape=(frames, HEIGHT, WIDTH, 3))
    generator = MineGenerator(seed)
    truths = []
    for index in indices:
        frame = generator.frame(index)
        picture = frame.image
        if index % 2:
            _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            decoded = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
            assert decoded is not None
            picture = decoded
        cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=images[index])
        truths.append(frame.truth)
    return truths
