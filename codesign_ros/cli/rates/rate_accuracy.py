"""``codesign rate-accuracy``: accuracy against bytes of all ways to send a frame."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.common import (
    add_camera_jpeg,
    add_classes,
    add_topics,
    class_choice,
    command,
    open_chosen_source,
    print_broken,
)
from codesign_ros.cli.options.numbers import COUNT_OR_ALL, CUT, THREADS, Real, Whole
from codesign_ros.cli.options.places import OUTPUT_FILE
from codesign_ros.console import minutes, progress_bar, show
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import PRECISIONS

if TYPE_CHECKING:
    from rich.progress import Progress

    from codesign_ros.bundle import Bundle
    from codesign_ros.data.chosen import ChosenSource
    from codesign_ros.evaluation.rate.network import CutDetector
    from codesign_ros.evaluation.rate.result import SourceResult

_CODECS = ("uint8+zstd", "uint4+zstd")


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands,
        "rate-accuracy",
        _run,
        "compare bytes and accuracy of necks, tensors, JPEG, WebP and video on the same frames",
    )
    parser.add_argument("bundle", help="model bundle of a detector")
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="SOURCE",
        help="frames with known truth, as scenes:SEED (independent scenes) and a film (mine:SEED, "
        "a bag); of seeds that were not trained on. Video is coded on films alone",
    )
    parser.add_argument(
        "--frames",
        type=COUNT_OR_ALL,
        nargs="+",
        default=[0],
        help="so many of each source; one number for all, or one for each; 0 = all there are",
    )
    parser.add_argument(
        "--fps",
        type=Real(0.1, 240.0),
        help="of a generated film (mine:SEED), whose shots last about two seconds: the fewer "
        "frames a second, the more places as many frames show (default: 30)",
    )
    add_topics(parser)
    parser.add_argument("--split", help="part of a labelled data set (default: val, if it has one)")
    add_classes(parser)
    parser.add_argument(
        "--cuts",
        type=CUT,
        nargs="*",
        help=f"where tensors are sent as {' and '.join(_CODECS)} (default: where the necks are)",
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    add_camera_jpeg(parser)
    parser.add_argument(
        "--threads",
        type=THREADS,
        default=os.cpu_count() or 1,
        help="frames at the same time (default: all cores)",
    )
    parser.add_argument(
        "--drawings", type=Whole(2), default=200, help="of the bootstrap (default: 200)"
    )
    parser.add_argument(
        "--out",
        type=OUTPUT_FILE,
        default=Path("rate_accuracy"),
        metavar="STEM",
        help="writes STEM.json and STEM.png; what is done lies in STEM.N.checkpoint until then "
        "(default: rate_accuracy)",
    )


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.bundle import Bundle

    bundle = Bundle.open(options.bundle)
    if bundle.task != "detection":
        raise CodesignError(
            f"{options.bundle} is for {bundle.task}, and rate-accuracy compares detectors; "
            "codesign accuracy measures other networks"
        )
    sources = [
        open_chosen_source(argparse.Namespace(**{**vars(options), "frames": frames}), name, bundle)
        for name, frames in zip(options.data, _frames_by_source(options), strict=True)
    ]
    if options.fps is not None and not any(_is_generated_film(chosen) for chosen in sources):
        raise CodesignError(
            "--fps is of a generated film, and no --data is mine:SEED; other sources have their own"
        )
    from codesign_ros.evaluation.rate.network import CutDetector
    from codesign_ros.evaluation.rate.report import draw, tables

    cuts = [neck.cut for neck in bundle.necks] if options.cuts is None else options.cuts
    detector = CutDetector(bundle, options.precision, cuts, _CODECS)
    results = []
    checkpoints = []
    with progress_bar() as progress:
        for number, chosen in enumerate(sources):
            checkpoints.append(Path(f"{options.out}.{number}.checkpoint"))
            name = options.data[number]
            results.append(
                _measured(options, bundle, detector, chosen, name, checkpoints[-1], progress)
            )
    content = {
        "bundle": str(options.bundle),
        "model_id": bundle.model_id,
        "precision": options.precision,
        "camera_jpeg": options.camera_jpeg,
        "sources": [result.to_json() for result in results],
    }
    draw(results, Path(f"{options.out}.png"))
    notes = dict.fromkeys(note for result in results for note in result.notes)
    show(
        (table for result in results for table in tables(result)),
        notes,
        Path(f"{options.out}.json"),
        content,
    )
    for checkpoint in checkpoints:
        checkpoint.unlink(missing_ok=True)
    return 0


def _is_generated_film(chosen: ChosenSource) -> bool:
    from codesign_ros.data.sources import MineSource

    return isinstance(chosen.source, MineSource) and not chosen.source.independent


def _frames_by_source(options: argparse.Namespace) -> list[int]:
    """How many frames each source is to have."""
    sources, given = len(options.data), options.frames
    if len(given) not in (1, sources):
        raise CodesignError(
            f"--frames has {len(given)} numbers for {sources} sources; give one, or one for each"
        )
    return given * sources if len(given) == 1 else given


def _measured(
    options: argparse.Namespace,
    bundle: Bundle,
    detector: CutDetector,
    chosen: ChosenSource,
    name: str,
    checkpoint: Path,
    progress: Progress,
) -> SourceResult:
    """Measure all ways on one source."""
    from codesign_ros.data.sources import LabelledSource, MineSource
    from codesign_ros.evaluation.rate.coders import jpeg, still_coders
    from codesign_ros.evaluation.rate.measure import RateMeasurement
    from codesign_ros.evaluation.rate.neck_film import AFTER, ANSWER_S, NeckFilm
    from codesign_ros.evaluation.rate.result import SourceResult, results
    from codesign_ros.evaluation.rate.video import video_coders
    from codesign_ros.wire.neck.film import FRAMES

    source = chosen.source
    single = isinstance(source, LabelledSource)
    single |= isinstance(source, MineSource) and source.independent
    films, notes = ([], []) if single else video_coders(chosen.fps)
    neck_film = None
    if not single and any(neck.codec.knows_films for neck in detector.necks):
        neck_film = NeckFilm(detector, chosen.fps)
        notes.append(
            f"neck.K{AFTER}: each is written after the newest of the last {FRAMES} frames whose "
            f"answer is there, {ANSWER_S} s after that frame"
        )
    measurement = RateMeasurement(
        bundle=bundle,
        detector=detector,
        stills=still_coders(),
        films=films,
        neck_film=neck_film,
        camera=None if options.camera_jpeg is None else jpeg("420", options.camera_jpeg),
        source=chosen,
        name=name,
        choice=(options.split, options.topic, options.truth_topic, class_choice(options)),
        classes=bundle.classes if chosen.box_classes is None else chosen.box_classes,
        threads=options.threads,
    )
    task = progress.add_task(name, total=chosen.frames)
    done = 0

    def show_done(frames: int) -> None:
        nonlocal done
        done = frames
        progress.update(task, completed=frames)

    def tell(frames: int, seconds: float) -> None:
        progress.console.print(
            f"{name}: {frames} frames left in {len(measurement.ways)} ways, about "
            f"{minutes(seconds)}",
            highlight=False,
            soft_wrap=True,
        )

    try:
        found = measurement.run(checkpoint, tell, show_done)
    except KeyboardInterrupt:
        raise CodesignError(
            f"interrupted after {done} of {chosen.frames} frames of {name}; "
            f"{options.command_line} goes on"
        ) from None
    print_broken(chosen)
    frames = len(found.objects)
    block = 1 if single else _film_block(frames, chosen.fps)
    ways = results(
        measurement.ways,
        found,
        measurement.classes,
        block=block,
        count=options.drawings,
        threads=options.threads,
    )
    return SourceResult(name, frames, block, ways, tuple(notes))


def _film_block(frames: int, fps: float) -> int:
    """Frames of a film that are drawn together: two seconds of it, and ten times at least."""
    return max(1, min(round(2 * fps), frames // 10))
