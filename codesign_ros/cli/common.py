"""What several commands share: options, consoles, files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign_ros.cli.options.numbers import NOT_NEGATIVE, Whole
from codesign_ros.cli.options.places import OUTPUT_FILE
from codesign_ros.data.classes import ClassChoice
from codesign_ros.engines.factory import BACKENDS, DEFAULT_BACKEND
from codesign_ros.planning.objective import Objective
from codesign_ros.resources import default_bundle
from codesign_ros.types.codec_names import H264_CODECS, NECK_CODECS
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge, Structure
from codesign_ros.types.links import LinkSpec
from codesign_ros.wire.codecs import FRAME_CODECS, KNOWN_CODECS, TENSOR_CODECS

if TYPE_CHECKING:
    from codesign_ros.bundle import Bundle
    from codesign_ros.data.chosen import ChosenSource

STRUCTURES = tuple(structure.value for structure in Structure)
MERGES = tuple(merge.value for merge in Merge)
OBJECTIVES = tuple(objective.value for objective in Objective)


def command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    """Add a command to the parser; ``run`` gets its options and returns the exit status."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_bundle(parser: argparse._ActionsContainer) -> None:
    """Add ``--bundle``."""
    parser.add_argument(
        "--bundle", default="", help="model bundle (default: the one that comes with the package)"
    )


def add_backend(parser: argparse.ArgumentParser, default: str = DEFAULT_BACKEND) -> None:
    """Add ``--backend``."""
    parser.add_argument(
        "--backend",
        choices=tuple(BACKENDS),
        default=default,
        metavar="BACKEND",
        help=f"{', '.join(BACKENDS)} (default: {default})",
    )


def add_camera_jpeg(parser: argparse.ArgumentParser) -> None:
    """Add ``--camera-jpeg``."""
    parser.add_argument(
        "--camera-jpeg",
        type=Whole(1, 100),
        metavar="QUALITY",
        help="each frame comes out of a camera's JPEG (4:2:0) of this quality first (default: as "
        "it is)",
    )


def add_topic(parser: argparse._ActionsContainer) -> None:
    """Add ``--topic``."""
    parser.add_argument(
        "--topic", default="", help="image topic of a bag that has several (default: the only one)"
    )


def add_topics(parser: argparse._ActionsContainer) -> None:
    """Add ``--topic`` and ``--truth-topic``."""
    add_topic(parser)
    parser.add_argument(
        "--truth-topic",
        default="",
        help="topic of ground truth of a bag that has several (default: the one whose namespace is "
        "nearest to the images')",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``; see ``write_json``."""
    parser.add_argument(
        "--json", type=OUTPUT_FILE, metavar="FILE", help="write the result as JSON too"
    )


def add_structures(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add ``--structure``, whose help says what the structures are for: ``purpose``."""
    parser.add_argument(
        "--structure",
        nargs="+",
        choices=STRUCTURES,
        default=[structure.value for structure in BRANCH_STRUCTURES],
        help=f"structures {purpose} (default: the four of branches)",
    )


def add_objective(parser: argparse.ArgumentParser) -> None:
    """Add what Eq. 11 is told: objective, weight and codecs."""
    parser.add_argument("--objective", choices=OBJECTIVES, help="time that counts in Eq. 11")
    parser.add_argument(
        "--lambda-1", type=NOT_NEGATIVE, help="weight of the accuracy loss in Eq. 11 [s per unit]"
    )
    parser.add_argument(
        "--codec",
        nargs="+",
        choices=KNOWN_CODECS,
        metavar="CODEC",
        help=f"codecs to choose from: {', '.join(KNOWN_CODECS)}; the jpegs and raw hold for "
        "frames, as does h264 once its accuracy was measured on a film, neck.* for cuts where the "
        "bundle has a neck",
    )


def codecs_chosen(chosen: list[str] | None) -> dict[str, list[str]]:
    """The planner's two lists for the codecs that the user allows; a list without any stays."""
    lists = {
        "codecs": [codec for codec in chosen or () if codec in (*TENSOR_CODECS, *NECK_CODECS)],
        "frame_codecs": [codec for codec in chosen or () if codec in (*FRAME_CODECS, *H264_CODECS)],
    }
    return {name: codecs for name, codecs in lists.items() if codecs}


def add_classes(parser: argparse.ArgumentParser) -> None:
    """Add ``--map``, ``--classes`` and ``--ignore-unknown``; see ``class_choice``."""
    parser.add_argument(
        "--map",
        action="append",
        metavar="FOUND=CLASS,...",
        help='new names for classes, as in "Safety Helmet=helmet,No Safety Helmet=head"',
    )
    parser.add_argument(
        "--classes",
        action="append",
        metavar="CLASS,...",
        help="classes that count, by their new names, as in helmet,head; all others are left out",
    )
    parser.add_argument(
        "--ignore-unknown",
        action="store_true",
        help="leave out objects of classes that the network does not know, or, in training, of "
        "those that --map does not name",
    )


def class_choice(options: argparse.Namespace) -> ClassChoice:
    """Read the options of ``add_classes``.

    Raises:
        CodesignError: one is not written as it should be.
    """
    return ClassChoice.given(options.map, options.classes, options.ignore_unknown)


def open_chosen_source(options: argparse.Namespace, name: str, bundle: Bundle) -> ChosenSource:
    """Open a source with the classes and the frames that the options say; print its warnings.

    Args:
        options: with ``frames``, ``split`` and those of ``add_topics`` and ``add_classes``; some
            commands have ``labels`` or ``fps``.
        name: bag, folder, video, data set ..., as ``open_source`` takes it.
        bundle: the network that it is for.

    Raises:
        CodesignError: it cannot be read, or its classes do not fit the network.
    """
    from codesign_ros.data.chosen import open_chosen
    from codesign_ros.data.sources import FPS

    source = open_chosen(
        name,
        class_choice(options),
        bundle.task,
        bundle.classes,
        frames=options.frames,
        split=options.split,
        topic=options.topic or None,
        truth_topic=options.truth_topic or None,
        labels=getattr(options, "labels", None),
        fps=getattr(options, "fps", None) or FPS,
    )
    for warning in source.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return source


def print_broken(source: ChosenSource) -> None:
    """Say how many frames were left out since they could not be decoded, and why the first."""
    if source.broken:
        from codesign_ros.data.chosen import told_once

        print(f"warning: {told_once(source.broken)}", file=sys.stderr)


def check_late_share(late_share: float | None, links: Iterable[LinkSpec]) -> None:
    """Refuse ``--late-share`` where no link's rate varies.

    Raises:
        CodesignError: so it is; the line says what such a link is.
    """
    from codesign_ros.cost.lateness import varies

    if late_share is not None and not any(map(varies, links)):
        raise CodesignError(
            "--late-share needs a --link whose rate varies: one with states, their rates and mean "
            "durations (links.yaml has fading-radio)"
        )


def check_cuts(bundle: Bundle, cuts: Iterable[int]) -> None:
    """Refuse cuts that a network has not, before it is read.

    Raises:
        CodesignError: the line says which there are.
    """
    for cut in cuts:
        if cut > bundle.last_cut:
            raise CodesignError(f"cut {cut} does not exist: cuts are 0 to {bundle.last_cut}")


def open_bundle(options: argparse.Namespace) -> Bundle:
    """Open the bundle of ``--bundle``."""
    from codesign_ros.bundle import Bundle

    return Bundle.open(bundle_path(options))


def bundle_path(options: argparse.Namespace) -> Path:
    """Return where the bundle of ``--bundle`` is."""
    return Path(options.bundle) if options.bundle else default_bundle()
