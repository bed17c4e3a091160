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
# Share of the frames that a policy may lose and still keep up.
_MOST_LOST = 0.05


def title(cell: Cell) -> str:
    """A cell in a few words."""
    setup = cell["setup"]
    link = setup["planner"].get("link") or f"{setup['link']['rate_bps'] / 1e6:g} Mbit/s"
    robots = "robot" if setup["robots"] == 1 else f"{setup['robots']} robots, each"
    return (
        f"{link}, {robots} {setup['robot_cores']:g} core, {setup['precision']}, "
        f"{setup['objective']}"
    )


def at_full_speed(cell: Cell) -> dict[str, Mapping[str, Any]]:
    """The measurements of a cell as fast as results come, by policy."""
    return {m["policy"]: m for m in cell["measurements"] if m["rate_hz"] is None}


def at_rates(cell: Cell) -> dict[float, dict[str, Mapping[str, Any]]]:
    """The measurements of a cell at fixed rates, by rate and policy."""
    by_rate: dict[float, dict[str, Mapping[str, Any]]] = {}
    for m in cell["measurements"]:
        if m["rate_hz"] is not None:
            by_rate.setdefault(m["rate_hz"], {})[m["policy"]] = m
    return by_rate


def lost(m: Mapping[str, Any]) -> float:
    """Share of the frames without an answer; see ``Measurement.lost``."""
    sent = m["frames"] + sum(m["dropped"].values())
    if m["rate_hz"] is not None:
        sent = max(sent, m["rate_hz"] * len(m["robots_s"]) * m["duration_s"])
    return float(1 - m["frames"] / sent) if sent else 0.0


def late_ratios(cell: Cell) -> dict[float, float]:
    """By rate, p95 of ours over that of the best other policy that keeps up with it."""
    ratios = {}
    for rate_hz, measured in at_rates(cell).items():
        others = [
            m["response_ms"]["p95"]
            for policy, m in measured.items()
            if not policy.startswith(OURS) and lost(m) <= _MOST_LOST
        ]
        if OURS in measured and others:
            ratios[rate_hz] = measured[OURS]["response_ms"]["p95"] / min(others)
    return ratios


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

    ``camera`` is its rate, ``lost`` what was dropped or not answered in time, ``kB`` the payload,
    ``robot`` and ``server`` processor time of a frame, ``mAP`` mAP@0.5 against the truth.
    """
    for cell in cells:
        numbers = ("camera", "1/s", "rounds", "lost %", "p50", "p95", "p99 ms", "kB", "robot",
                   "server ms", "mAP", "plans")  # fmt: skip
        table = slim_table(title(cell), "policy", "plan", *right(*numbers))
        for m in cell["measurements"]:
            table.add_row(
                m["policy"],
                m["plan"],
                f"{m['rate_hz']:.1f}" if m["rate_hz"] else "window",
                f"{m['frames_s']:.2f}",
                f"{min(m['rounds_s']):.1f}-{max(m['rounds_s']):.1f}",
                f"{100 * lost(m):.1f}",
                *(f"{m['response_ms'][p]:.0f}" for p in ("p50", "p95", "p99")),
                f"{m['payload_bytes'] / 1e3:.1f}",
                *(f"{m['cpu_ms'][side]:.1f}" for side in ("robot", "server")),
                "" if m["accuracy"] is None else f"{100 * m['accuracy']:.1f}",
                str(m["plans"]),
            )
        console.print(table)
        if cell["setup"]["robots"] > 1:
            for m in cell["measurements"]:
                each = ", ".join(f"{frames_s:.2f}" for frames_s in m["robots_s"])
                console.print(f"{m['policy']}: frames a second of each robot {each}")
        for policy, rate_hz in cell["highest_hz"].items():
            console.print(f"{policy}: at most 5 % lost up to {rate_hz:.1f} Hz")
        for policy, reason in cell["refused"].items():
            console.print(f"{policy} has no row: {reason}")
        for rate_hz, ratio in late_ratios(cell).items():
            console.print(f"p95 of ours over the best other's at {rate_hz:.1f} Hz: {ratio:.2f}")
    for fixed, name in ((False, "best peer"), (True, "best fixed cut")):
        ratios = [r for cell in cells if (r := ratio_to_best(cell, fixed)) is not None]
        if ratios:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            console.print(
                f"ours over the {name}: {min(ratios):.2f} at least, {mean:.2f} in the geometric "
                f"mean of {len(ratios)} cells"
            )


def draw(cells: Sequence[Cell], path: Path) -> None:
    """Draw frames a second by policy, or where all had one rate p95; a panel a cell and rate."""
    panels: list[tuple[str, str, dict[str, float]]] = []
    for cell in cells:
        if measured := at_full_speed(cell):
            frames_s = {policy: m["frames_s"] for policy, m in measured.items()}
            panels.append((title(cell), "frames a second", frames_s))
        for rate_hz, of_rate in at_rates(cell).items():
            p95_ms = {policy: m["response_ms"]["p95"] for policy, m in of_rate.items()}
            panels.append((title(cell), f"p95 of the response at {rate_hz:.1f} Hz [ms]", p95_ms))
    if not panels:
        return
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 3.4 * rows), squeeze=False)
    for axis, (name, quantity, values) in zip(axes.flat, panels, strict=False):
        colours = ["tab:orange" if policy.startswith(OURS) else "tab:blue" for policy in values]
        bars = axis.barh(list(values), list(values.values()), color=colours)
        axis.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
        axis.invert_yaxis()
        axis.set_title(name, fontsize=9)
        axis.set_xlabel(quantity, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.margins(x=0.15)
    for axis in list(axes.flat)[len(panels) :]:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
