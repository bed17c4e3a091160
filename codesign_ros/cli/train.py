"""``codesign train``: from data to a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from codesign_ros.cli.common import command, result_console

_TRAIN_MINUTES = 25.0


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(commands, "train", _run, "train the mine's classifier and write its bundle")
    parser.add_argument("out", type=Path, help="bundle directory to make")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=int, help="training scenes")
    parser.add_argument(
        "--steps", type=int, help="so many optimiser steps, which makes the run repeatable"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help=f"time for everything, if --steps is not given (default: {_TRAIN_MINUTES:g})",
    )
    parser.add_argument(
        "--measure-frames", type=int, help="scenes that the accuracy is measured on"
    )
    parser.add_argument("--threads", type=int, help="processor cores to use")


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.training.command import TrainOptions, train_bundle

    names = ("seed", "frames", "steps", "minutes", "measure_frames", "threads")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if "steps" not in given:
        given.setdefault("minutes", _TRAIN_MINUTES)
    train_bundle(options.out, TrainOptions(**given), result_console())
    return 0
