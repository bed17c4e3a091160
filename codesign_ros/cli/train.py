"""``codesign train``: from data to a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from codesign_ros.cli.common import command, image_size
from codesign_ros.console import result_console
from codesign_ros.resources import default_bundle
from codesign_ros.types import CodesignError

_MINUTES = {"detection": 75.0, "classification": 25.0}
_MINE = "mine"
_NANO = "nano"
_NONE = "none"


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(commands, "train", _run, "train a detector or classifier and write its bundle")
    parser.add_argument("out", type=Path, help="bundle directory to make")
    parser.add_argument(
        "--data",
        default=_MINE,
        help="mine (generated scenes; the default); for detection a data set in VOC, COCO or YOLO "
        "layout; for classification a folder with a folder of images for each class, or "
        "mnist:DIR, fashion-mnist:DIR, cifar100:DIR",
    )
    parser.add_argument("--task", choices=tuple(_MINUTES), default="detection")
    parser.add_argument("--seed", type=int, help="of data, weights and augmentation")
    parser.add_argument("--frames", type=int, help="scenes of the mine to train on")
    parser.add_argument("--val-frames", type=int, help="pictures to measure on, at most")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, help="how often each picture is seen")
    length.add_argument(
        "--steps", type=int, help="optimiser steps; with the same seed the run repeats itself"
    )
    length.add_argument(
        "--minutes",
        type=float,
        help="time for training (default with the mine: "
        f"{_MINUTES['detection']:g}, for classification {_MINUTES['classification']:g})",
    )
    parser.add_argument("--batch-frames", type=int, help="pixels of a batch, in whole frames")
    parser.add_argument("--learning-rate", type=float, help="its peak")
    parser.add_argument("--variant", help="width of the detector: nano or small")
    parser.add_argument("--reg-max", type=int, help="bins of a box side's distribution")
    parser.add_argument("--input", type=image_size, metavar="HxW", help="the network's input [px]")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="classes to learn")
    parser.add_argument(
        "--init",
        metavar="BUNDLE",
        help="weights to start from, or none (default: a nano detector of images other than the "
        "mine's starts from the package's detector)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoint of an interrupted run"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where to compute")
    parser.add_argument("--threads", type=int, help="processor cores to use")


def _run(options: argparse.Namespace) -> int:
    given = {
        name: value
        for name, value in vars(options).items()
        if value is not None and name not in ("run", "out", "task")
    }
    if not given["resume"]:
        del given["resume"]
    if "init" in given:
        given["init"] = None if given["init"] == _NONE else Path(given["init"])
    no_length = given.keys().isdisjoint(("epochs", "steps", "minutes"))
    if options.data == _MINE and no_length:
        given["minutes"] = _MINUTES[options.task]
    if options.task == "detection":
        _train_detector(options.out, given)
    elif options.data == _MINE:
        _train_mine_classifier(options.out, given)
    else:
        _train_classifier(options.out, given)
    return 0


def _train_detector(out: Path, given: dict[str, Any]) -> None:
    from codesign_ros.training.detector.command import train_detector
    from codesign_ros.training.detector.options import DetectorOptions

    if "input" in given:
        given["height"], given["width"] = given.pop("input")
    if "classes" in given:
        given["classes"] = tuple(given["classes"])
    if given["data"] != _MINE and given.get("variant", _NANO) == _NANO:
        given.setdefault("init", default_bundle())
    train_detector(out, DetectorOptions(**given), result_console())


def _train_mine_classifier(out: Path, given: dict[str, Any]) -> None:
    from codesign_ros.training.mine_classifier.command import TrainOptions, train_bundle

    del given["data"]
    if "val_frames" in given:
        given["measure_frames"] = given.pop("val_frames")
    try:
        chosen = TrainOptions(**given)
    except TypeError:
        raise CodesignError(
            "the mine's classifier takes --seed, --frames, --val-frames, --steps, --minutes and "
            "--threads only"
        ) from None
    train_bundle(out, chosen, result_console())


def _train_classifier(out: Path, given: dict[str, Any]) -> None:
    from codesign_ros.training.classifier.command import train_classifier
    from codesign_ros.training.classifier.options import ClassifierOptions

    spec = given.pop("data")
    try:
        chosen = ClassifierOptions(**given)
    except TypeError:
        raise CodesignError(
            "a classifier's data have classes of their own: --frames, --classes, --variant and "
            "--reg-max are the detector's"
        ) from None
    train_classifier(spec, out, chosen, result_console())
