"""What was measured, as a table and as a picture."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from rich.console import Console

from codesign_ros.console import right, slim_table

mpl.use("Agg")
import matplotlib.pyplot as plt

Cell = Mapping[str, Any]
OURS = "ours"


def title(cell: Cell) -> str:
    """A cell in a few words."""
    setup = cell["setup"]
    return (
        f"{setup['link']['rate_bps'] / 1e6:g} Mbit/s, robot {setup['robot_cores']:g} core, "
        f"{setup['precision']}, {setup['objective']}"
    )


def at_full_speed(cell: Cell) -> dict[str, Mapping[str, Any]]:
    """The measurements of a cell as fast as results come, by policy."""
    return {m["policy"]: m for m in cell["measurements"] if m["rate_hz"] is None}


def ratio_to_best(cell: Cell, fixed: bool) -> float | None:
    """Frames a second of ours over the best fixed cut's, or the best peer's; None without one.

    The median of the rounds' ratios: what the machine does to a round it does to both.
    """
    measured = at_full_speed(cell)
    others = [
        m
        for policy, m in measured.items()
        if not policy.startswith(OURS) and policy.startswith("cut:") == fixed and m["frames_s"] > 0
    ]
    if OURS not in measured or not others:
        return None
    best = max(others, key=lambda m: m["frames_s"])
    pairs = zip(measured[OURS]["rounds_s"], best["rounds_s"], strict=False)
    return statistics.median(ours / other for ours, other in pairs)


def print_tables(cells: Sequence[Cell], console: Console) -> None:
    """Print a table for each cell and what all come to.

    ``camera`` is its rate, ``kB`` the payload, ``robot`` and ``server`` processor time of a frame.
    """
    for cell in cells:
        numbers = ("camera", "1/s", "rounds", "drop %", "p50", "p95", "p99 ms", "kB", "robot",
                   "server ms", "plans")  # fmt: skip
        table = slim_table(title(cell), "policy", "plan", *right(*numbers))
        for m in cell["measurements"]:
            dropped = sum(m["dropped"].values())
            table.add_row(
                m["policy"],
                m["plan"],
                f"{m['rate_hz']:.1f}" if m["rate_hz"] else "window",
                f"{m['frames_s']:.2f}",
                f"{min(m['rounds_s']):.1f}-{max(m['rounds_s']):.1f}",
                f"{100 * dropped / max(1, dropped + m['frames']):.1f}",
                *(f"{m['response_ms'][p]:.0f}" for p in ("p50", "p95", "p99")),
                f"{m['payload_bytes'] / 1e3:.1f}",
                *(f"{m['cpu_ms'][side]:.1f}" for side in ("robot", "server")),
                str(m["plans"]),
            )
        console.print(table)
    for fixed, name in ((False, "best peer"), (True, "best fixed cut")):
        ratios = [r for cell in cells if (r := ratio_to_best(cell, fixed)) is not None]
        if ratios:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            console.print(
                f"ours over the {name}: {min(ratios):.2f} at least, {mean:.2f} in the geometric "
                f"mean of {len(ratios)} cells"
            )


def draw(cells: Sequence[Cell], path: Path) -> None:
    """Draw frames a second by policy, a panel a cell."""
    columns = min(3, len(cells))
    rows = math.ceil(len(cells) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 3.2 * rows), squeeze=False)
    for axis, cell in zip(axes.flat, cells, strict=False):
        measured = at_full_speed(cell)
        colours = ["tab:orange" if policy.startswith(OURS) else "tab:blue" for policy in measured]
        bars = axis.barh(list(measured), [m["frames_s"] for m in measured.values()], color=colours)
        axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
        axis.invert_yaxis()
        axis.set_title(title(cell), fontsize=9)
        axis.tick_params(labelsize=8)
        axis.margins(x=0.15)
    for axis in list(axes.flat)[len(cells) :]:
        axis.axis("off")
    figure.supxlabel("frames a second over the shaped link")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
