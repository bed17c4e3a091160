"""``codesign replay-tail``: a tail on embeddings that were recorded, without robot and planner."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from codesign_ros.cli.common import add_backend, add_bundle, add_json, command, open_bundle
from codesign_ros.console import alive, progress_bar, show


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = command(
        commands, "replay-tail", _run, "run recorded embeddings through a tail, beside its answers"
    )
    parser.add_argument(
        "bag", help="bag with embeddings, plans and, to hold against, the answers of a tail"
    )
    add_bundle(parser)
    add_backend(parser)
    add_json(parser)


def _run(options: argparse.Namespace) -> int:
    from codesign_ros.evaluation.recorded.tail import replay_table, replay_tail
    from codesign_ros.nodes.watching.recorded import open_talk

    with alive(f"opening {options.bag}"):
        bundle = open_bundle(options)
    with open_talk(Path(options.bag)) as talk:
        with progress_bar() as progress:
            task = progress.add_task("replaying", total=None)
            rows = replay_tail(
                talk.frames(), bundle, options.backend, lambda: progress.advance(task)
            )
        ambiguous = sorted(talk.ambiguous)
    said = [f"{robot}: epoch {epoch} has two plans in the bag" for robot, epoch in ambiguous]
    said += [f"{count} frames: {why}" for row in rows for why, count in row.refused.items()]
    said += [
        f"{row.robot}, epoch {row.plan.epoch}: answered otherwise: frames "
        f"{', '.join(map(str, row.differing[:10]))}{' ...' if row.different > 10 else ''}"
        for row in rows
        if row.plan is not None and row.differing
    ]
    content = {"bag": options.bag, "bundle": bundle.name, "plans": [row.to_json() for row in rows]}
    show([replay_table(rows)], said, options.json, content)
    bad = any(row.different or row.refused for row in rows)
    return 1 if bad or not rows else 0
