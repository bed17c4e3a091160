"""Fig. 8 by our cost models as tables and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Column, Table

from codesign_ros.console import right, slim_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CURVE = ("input, mode", "frames")
_SHARES = (0.0, 0.05, 0.10, 0.15, 0.20, 0.30, 0.50, 0.75, 1.0)


def fig8_table(report: Mapping[str, Any]) -> Table:
    """The paper's claims, and what is true of each of our curves."""
    paper = report["paper"]
    table = slim_table(
        f"Fig. 8, SIMULATED: Rep-GoogLeNet in {report['structure']}, {report['robot']} to "
        f"{report['server']} at {report['link_bps'] / 1e6:g} Mbit/s",
        *(Column(name, no_wrap=True) for name in _CURVE),
        *right("best at", "off", "frames/s", "ratio", "sent", "kept", "gain", no_wrap=True),
        *("rises, falls", "at 15 %", "below"),
        caption="off: points from the paper's split; ratio: ours / paper; sent, kept: frames/s "
        "with all on the server, all on the robot; gain, below: of the dynamic structure",
    )
    split, gain = f"{paper['best_share']:.0%}", f"{paper['gain_of_dynamic']:+.0%}"
    table.add_row(
        "the paper", "", split, "", f"{paper['s3_fps']:g}", "", "", "", gain, *3 * ["yes"]
    )
    for curve in report["curves"]:
        off = curve["best_share"] - paper["best_share"]
        table.add_row(
            f"{curve['input']} {curve['mode']}",
            curve["throughput"],
            f"{curve['best_share']:.0%}",
            f"{100 * off:+.0f}",
            f"{curve['best_fps']:.0f}",
            f"{curve['best_fps'] / paper['s3_fps']:.3g}",
            f"{curve['cuts'][0]['fps']:.0f}",
            f"{curve['cuts'][-1]['fps']:.0f}",
            f"{curve['gain_of_dynamic']:+.0%}",
            *("yes" if holds else "NO" for holds in curve["claims"].values()),
        )
    return table


def fig8_curves_table(report: Mapping[str, Any]) -> Table:
    """Throughput in frames/s at the splits nearest to round shares."""
    table = slim_table(
        "Throughput of S3 in frames/s, at the split nearest to this share",
        *(Column(name, no_wrap=True) for name in _CURVE),
        *right(*(f"{share:.0%}" for share in _SHARES)),
    )
    for curve in report["curves"]:
        nearest = (
            min(curve["cuts"], key=lambda row: abs(row["share"] - share)) for share in _SHARES
        )
        cells = (f"{row['fps']:.1f}" for row in nearest)
        table.add_row(f"{curve['input']} {curve['mode']}", curve["throughput"], *cells)
    return table


def fig8_figure(report: Mapping[str, Any]) -> Figure:
    """Draw the curves, one panel for each input."""
    from matplotlib.figure import Figure  # takes a second, and only this needs it

    inputs = list(dict.fromkeys(curve["input"] for curve in report["curves"]))
    figure = Figure((6.4 * len(inputs), 4.6), layout="constrained")
    panels = dict(zip(inputs, figure.subplots(1, len(inputs), squeeze=False)[0], strict=True))
    # Okabe and Ito's colours; dashes tell what throughput means.
    colours = {"paper": "#0072B2", "roofline": "#E69F00"}
    styles = dict(zip(report["throughput"], ("-", "--", ":"), strict=True))
    for curve in report["curves"]:
        panel = panels[curve["input"]]
        share, fps = np.array([(100 * row["share"], row["fps"]) for row in curve["cuts"]]).T
        colour = colours[curve["mode"]]
        label = f"mode {curve['mode']}, {curve['throughput']}"
        panel.plot(share, fps, styles[curve["throughput"]], color=colour, label=label)
        panel.plot(
            [100 * curve["best_share"]], [curve["best_fps"]], "*", color=colour, markersize=12
        )
    for name, panel in panels.items():
        best = 100 * report["paper"]["best_share"]
        panel.axvline(best, color="#009E73", linestyle="-.", label="the paper's best split")
        s3_fps = report["paper"]["s3_fps"]
        panel.axhline(s3_fps, color="#666666", linestyle="-.", label="Table IV, w/o dynamic")
        panel.set_title(f"input {name}")
        panel.set_xlabel("share of the work on the robot [%]")
        panel.set_ylabel("throughput [frames/s]")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        panel.legend(fontsize="x-small")
    figure.suptitle("Fig. 8 by our cost models (simulated; stars: best split)")
    return figure
