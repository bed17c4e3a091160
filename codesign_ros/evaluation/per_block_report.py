"""Structures per block for people to read, and as plain values for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Column, Table

from codesign_ros.console import right, slim_table
from codesign_ros.evaluation.per_block import SURE, BlockEffect, Pair, PerBlock, Whole


def per_block_tables(result: PerBlock) -> list[Table]:
    """Lay out what each block changes, and what was chosen against one structure for each half."""
    structures = list(dict.fromkeys(change.structure for change in result.changes))
    changes = {(change.block, change.structure): change for change in result.changes}
    blocks = slim_table(
        f"One block in another structure, the others {result.base.value}: points of "
        f"{result.metric} and ms, each with its standard error",
        Column("block", no_wrap=True),
        *right(*(structure.value for structure in structures)),
        Column("chosen", no_wrap=True),
    )
    for block, chosen in result.chosen.items():
        cells = [_change(changes[block, structure]) for structure in structures]
        blocks.add_row(block, *cells, chosen.value)
    title = "Whole networks, on frames that had no part in choosing"
    wholes = slim_table(title, "structures", *right(result.metric, "ms"))
    for pair, whole in result.uniform.items():
        best = " (best)" if pair == result.best_uniform else ""
        wholes.add_row(f"{_name(pair)}{best}", *_whole(whole))
    wholes.add_row("per block", *_whole(result.per_block))
    return [blocks, wholes]


def verdict(result: PerBlock) -> str:
    """Say what structures per block add, and whether more than the measurement can tell."""
    best, own, gain = result.uniform[result.best_uniform], result.per_block, result.gain
    sure = [
        what
        for what, amount, error in (
            ("accuracy", gain.value, gain.value_error),
            ("time", gain.time_s, gain.time_error_s),
        )
        if abs(amount) > SURE * error
    ]
    difference = (
        f"{100 * gain.value:+.1f} +- {100 * gain.value_error:.1f} points and "
        f"{gain.time_s * 1e3:+.2f} +- {gain.time_error_s * 1e3:.2f} ms"
    )
    doubt = f"; beyond {SURE:g} standard errors: {' and '.join(sure) if sure else 'neither'}"
    return (
        f"per block: {result.metric} {own.value:.3f}, {own.time_s * 1e3:.1f} ms; best uniform "
        f"{_name(result.best_uniform)}: {best.value:.3f}, {best.time_s * 1e3:.1f} ms "
        f"({difference}{doubt})"
    )


def per_block_json(result: PerBlock) -> dict[str, Any]:
    """The result; accuracies are shares, times are in seconds."""
    loss, time_s = result.predicted
    return {
        "metric": result.metric,
        "base": result.base.value,
        "changes": [
            {**asdict(change), "structure": change.structure.value} for change in result.changes
        ],
        "chosen": {block: structure.value for block, structure in result.chosen.items()},
        "predicted_loss": loss,
        "predicted_time_s": time_s,
        "uniform": {_name(pair): asdict(whole) for pair, whole in result.uniform.items()},
        "best_uniform": _name(result.best_uniform),
        "per_block": asdict(result.per_block),
        "gain": asdict(result.gain),
    }


def _name(pair: Pair) -> str:
    return " | ".join(dict.fromkeys(structure.value for structure in pair))


def _change(change: BlockEffect) -> str:
    return (
        f"{-100 * change.loss:+.1f}+-{100 * change.loss_error:.1f} "
        f"{change.time_s * 1e3:+.2f}+-{change.time_error_s * 1e3:.2f}"
    )


def _whole(whole: Whole) -> tuple[str, str]:
    return (
        f"{whole.value:.3f} +- {whole.value_error:.3f}",
        f"{whole.time_s * 1e3:.2f} +- {whole.time_error_s * 1e3:.2f}",
    )
