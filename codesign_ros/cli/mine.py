"""``codesign mine``: bags of the synthetic mine."""

from __future__ import annotations

import argparse
from typing import Any

from codesign_ros.cli.common import command
from codesign_ros.cli.options.numbers import COUNT, SEED
from codesign_ros.cli.options.places import NEW_FOLDER
from codesign_ros.console import progress_bar


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(commands, "mine", _run, "write a bag of synthetic mine scenes with truth")
    parser.add_argument("out", type=NEW_FOLDER, help="bag directory to make")
    parser.add_argument("--seed", type=SEED, default=0, help="same seed, same messages")
    parser.add_argument("--frames", type=COUNT, default=300)
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap")
    parser.add_argument("--raw", action="store_true", help="sensor_msgs/Image in place of JPEGs")


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.data.bag_writer import write_mine_bag

    with progress_bar() as progress:
        task = progress.add_task("rendering", total=options.frames)
        write_mine_bag(
            options.out,
            seed=options.seed,
            frames=options.frames,
            storage=options.storage,
            raw=options.raw,
            progress=lambda done, _: progress.update(task, completed=done),
        )
    print(f"{options.out}: {options.frames} frames of seed {options.seed}")
    return 0
