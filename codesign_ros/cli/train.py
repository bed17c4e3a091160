"""``codesign train``: from data to a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from codesign_ros.cli.common import add_classes, command
from codesign_ros.cli.options.numbers import (
    COUNT,
    CUT,
    POSITIVE,
    SEED,
    SHARE,
    THREADS,
    WIDTH,
    Whole,
    image_size,
)
from codesign_ros.cli.options.places import BUNDLE_FOLDER, OUTPUT_FOLDER, refuse_bundle
from codesign_ros.console import alive, result_console
from codesign_ros.resources import default_bundle

_DETECTION, _CLASSIFICATION, _NECK = "detection", "classification", "neck"
_MINUTES = {_DETECTION: 75.0, _CLASSIFICATION: 25.0, _NECK: 20.0}
_NANO = "nano"
_NONE = "none"


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(commands, "train", _run, "train a detector or classifier and write its bundle")
    parser.add_argument("out", type=BUNDLE_FOLDER, help="bundle directory to make")
    parser.add_argument(
        "--data",
        help="mine (generated scenes; the default); for detection a data set in VOC, COCO or YOLO "
        "layout; for classification a folder with a folder of images for each class, or "
        "mnist:DIR, fashion-mnist:DIR, cifar100:DIR",
    )
    parser.add_argument(
        "--task", choices=(_DETECTION, _CLASSIFICATION), help="what to learn (default: detection)"
    )
    parser.add_argument("--seed", type=SEED, help="of data, weights and augmentation")
    parser.add_argument("--frames", type=COUNT, help="scenes of the mine to train on")
    parser.add_argument(
        "--scenes",
        type=OUTPUT_FOLDER,
        metavar="DIR",
        help="keep the drawn scenes of the mine here, and take them from here the next time",
    )
    parser.add_argument("--val-frames", type=COUNT, help="pictures to measure on, at most")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=POSITIVE, help="how often each picture is seen")
    length.add_argument(
        "--steps", type=COUNT, help="optimiser steps; with the same seed the run repeats itself"
    )
    length.add_argument(
        "--minutes",
        type=POSITIVE,
        help="time for training and measuring; drawing scenes comes on top (default with the mine: "
        f"{_MINUTES[_DETECTION]:g}, for classification {_MINUTES[_CLASSIFICATION]:g})",
    )
    parser.add_argument(
        "--batch-frames", type=Whole(1, 65_536), help="pixels of a batch, in whole frames"
    )
    parser.add_argument("--learning-rate", type=POSITIVE, help="its peak")
    parser.add_argument(
        "--variant", choices=("nano", "small"), help="width of the detector (default: nano)"
    )
    parser.add_argument("--reg-max", type=Whole(1, 256), help="bins of a box side's distribution")
    parser.add_argument(
        "--input",
        type=image_size,
        metavar="HxW",
        help="the network's input [px] (default: after the pictures)",
    )
    add_classes(parser)
    parser.add_argument(
        "--init",
        metavar="BUNDLE",
        help="weights to start from, or none (default: a nano detector of images other than the "
        "mine's starts from the package's detector)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with an interrupted run, which has its options in its checkpoint",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where to compute")
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        help="train a detector in 16 bits, quicker on processors with AMX",
    )
    parser.add_argument(
        "--patience",
        type=SHARE,
        metavar="SHARE",
        help="stop when nothing was better for this share of the steps (default 0.4; 0: never)",
    )
    neck = parser.add_argument_group(
        "a neck", "few bytes at a cut of the network in --init; any source of frames will do"
    )
    neck.add_argument("--neck", type=CUT, metavar="CUT", help="the cut: train a neck for it")
    neck.add_argument(
        "--enter",
        type=CUT,
        metavar="CUT",
        help="the cut whose tensors the decoder makes (default: the same)",
    )
    neck.add_argument(
        "--bytes", type=COUNT, nargs="+", metavar="N", help="of a frame by level, the most first"
    )
    neck.add_argument("--topic", help="image topic of a bag that has several")
    neck.add_argument("--channels", type=WIDTH, help="of the latent (default 32 for each map)")
    neck.add_argument("--encoder-width", type=WIDTH, help="channels in the encoder (default 64)")
    neck.add_argument("--encoder-depth", type=Whole(0, 1000), help="residual blocks in the encoder")
    neck.add_argument("--decoder-width", type=WIDTH, help="channels in the decoder (default 96)")
    neck.add_argument("--decoder-depth", type=Whole(0, 1000), help="residual blocks in the decoder")
    neck.add_argument(
        "--own-tail", action="store_true", help="train the segments behind the neck with it"
    )
    neck.add_argument(
        "--feature-share",
        type=SHARE,
        metavar="SHARE",
        help="of the steps, the first ones, that compare maps alone "
        "(default 0.12; 0.5 with --enter behind the cut; 0 where it goes on from a neck)",
    )
    parser.add_argument("--threads", type=THREADS, help="processor cores (default: the idle ones)")


def _run(options: argparse.Namespace) -> int:
    into_its_own = options.neck is not None and options.init == str(options.out)
    if not options.resume and not into_its_own:
        refuse_bundle(options.out)
    with alive("loading torch"):  # seconds, and only this command needs it
        from codesign_ros.bundle import Bundle
        from codesign_ros.training.base_run import train
        from codesign_ros.training.classifier.options import ClassifierOptions
        from codesign_ros.training.classifier.run import open_classifier_run
        from codesign_ros.training.detector.options import DetectorOptions
        from codesign_ros.training.detector.run import open_detector_run
        from codesign_ros.training.mine_classifier.run import (
            MineClassifierOptions,
            open_mine_classifier_run,
        )
        from codesign_ros.training.neck.options import NeckOptions
        from codesign_ros.training.neck.run import open_neck_run
        from codesign_ros.training.options import MINE, TrainingOptions, resumed

    given: dict[str, Any] = {
        name: value
        for name, value in vars(options).items()
        if value is not None and value is not False and name not in ("run", "out", "command_line")
    }
    if options.resume:
        given = resumed(options.out, given)
    task = given.pop("task", _NECK if "neck" in given else _DETECTION)
    of_mine = given.get("data", MINE) == MINE
    if "init" in given:
        given["init"] = None if given["init"] in (None, _NONE) else Path(given["init"])
    elif task == _DETECTION and not of_mine and given.get("variant", _NANO) == _NANO:
        given["init"] = default_bundle()
    if given.get("init") is not None and not options.resume:
        Bundle.open(given["init"])  # says so before scenes are drawn, if it cannot be read
    if given.get("scenes") is not None:
        given["scenes"] = Path(given["scenes"])
    if (of_mine or task == _NECK) and given.keys().isdisjoint(("epochs", "steps", "minutes")):
        given["minutes"] = _MINUTES[task]
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    kind: type[TrainingOptions]
    open_run: Any
    if task == _NECK:
        kind, open_run = NeckOptions, open_neck_run
    elif task == _DETECTION:
        kind, open_run = DetectorOptions, open_detector_run
    elif of_mine:
        kind, open_run = MineClassifierOptions, open_mine_classifier_run
    else:
        kind, open_run = ClassifierOptions, open_classifier_run
    train(options.out, kind.given(given), result_console(), open_run)
    return 0
