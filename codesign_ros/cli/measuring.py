"""What commands that measure accuracy share: frames with known truth, and a progress bar."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from codesign_ros.cli.common import add_classes, add_topics, open_chosen_source, print_broken
from codesign_ros.cli.options.numbers import COUNT_OR_ALL
from codesign_ros.console import progress_bar
from codesign_ros.mine.generator import seed_of
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.errors import CodesignError

if TYPE_CHECKING:
    from rich.progress import Progress

    from codesign_ros.bundle import Bundle
    from codesign_ros.data.chosen import ChosenSource
    from codesign_ros.evaluation.labelled_frames import MeasuredFrames

_SCENES = "scenes:"


def add_data(parser: argparse.ArgumentParser, text: str = "", *, required: bool = False) -> None:
    """Add ``--data``, ``--split``, ``--frames`` and what says of classes; see ``measured_frames``.

    Args:
        parser: of the command.
        text: what else there is to say on ``--data``.
        required: whether the command needs data.
    """
    parser.add_argument(
        "--data",
        required=required,
        help="frames with known truth: bag, labelled data set, or scenes:SEED (independent scenes, "
        f"of a seed not trained on){text}",
    )
    add_topics(parser)
    parser.add_argument("--split", help="part of a labelled data set (default: val, if it has one)")
    parser.add_argument(
        "--frames", type=COUNT_OR_ALL, default=0, help="so many frames; 0 = all there are"
    )
    add_classes(parser)


def open_data(options: argparse.Namespace, bundle: Bundle) -> ChosenSource:
    """Open the source of ``--data``, before what takes seconds to load; print its warnings.

    Raises:
        CodesignError: there is none, or its classes do not fit the network.
    """
    _scenes_seed(options)
    return open_chosen_source(options, options.data, bundle)


@contextlib.contextmanager
def measured_frames(
    options: argparse.Namespace, bundle: Bundle, chosen: ChosenSource
) -> Iterator[tuple[MeasuredFrames, Progress]]:
    """Read the frames of ``--data``, or render them; what is rendered goes when they are done with.

    Args:
        options: with ``threads`` beside those of ``add_data``.
        bundle: the network that they are for.
        chosen: what ``open_data`` opened.

    Yields:
        The frames, and progress bars for what is measured on them.

    Raises:
        CodesignError: the data cannot be read, or are not fit to measure an accuracy on.
    """
    with (
        tempfile.TemporaryDirectory(prefix="codesign_frames_") as folder,
        progress_bar() as progress,
    ):
        yield _frames(options, bundle, chosen, Path(folder), progress), progress


def _frames(
    options: argparse.Namespace,
    bundle: Bundle,
    chosen: ChosenSource,
    folder: Path,
    progress: Progress,
) -> MeasuredFrames:
    from codesign_ros.data.sources import LabelledSource, MineSource
    from codesign_ros.evaluation.labelled_frames import MeasuredFrames

    scenes_seed = _scenes_seed(options)
    if scenes_seed is None:
        frames = MeasuredFrames.of_source(chosen, bundle.input)
        print_broken(chosen)
        single = isinstance(chosen.source, LabelledSource)
        single |= isinstance(chosen.source, MineSource) and chosen.source.independent
        return replace(frames, classes=chosen.box_classes, is_film=not single)
    from codesign_ros.mine.render import CLASSES
    from codesign_ros.training.scenes import render_scenes

    task = progress.add_task("rendering scenes", total=options.frames)
    scenes = render_scenes(
        folder / "scenes",
        scenes_seed,
        options.frames,
        processes=options.threads,
        on_rendered=lambda count: progress.advance(task, count),
    )
    truths = map(GroundTruth, (CLASSES[label] for label in scenes.labels), scenes.boxes)
    pictures = zip(scenes.images, map(chosen.renamed, truths), strict=True)
    counted = (pair for pair in pictures if pair[1] is not None)
    frames = MeasuredFrames.of_pictures(counted, bundle.input)
    return replace(frames, classes=chosen.box_classes)


def _scenes_seed(options: argparse.Namespace) -> int | None:
    """The seed of the scenes that ``--data`` asks for; None = it names something else."""
    if not options.data.startswith(_SCENES):
        return None
    seed = seed_of(options.data.removeprefix(_SCENES))
    if seed is None or options.frames < 1:
        raise CodesignError(
            f"--data {options.data} --frames {options.frames}: scenes of the mine need a seed, as "
            "in scenes:7, and a number of frames"
        )
    return seed
