"""Accuracy against bytes for people: tables and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.table import Table

from codesign_ros.console import right, slim_table
from codesign_ros.evaluation.rate.result import RAW, Difference, SourceResult, WayResult
from codesign_ros.types.errors import CodesignError

_PANEL_INCHES = (6.4, 4.8)
_DPI = 120
_MARKERS = "osD^v<>pPX*"


def tables(result: SourceResult) -> list[Table]:
    """Lay out a source's ways: bytes and accuracy, then the accuracy of each class."""
    drawn = "" if result.block == 1 else f", {result.block} frames at a time"
    title = (
        f"{result.frames} frames of {result.source}: bytes a frame, accuracy [%], and its "
        "difference from raw frames \N{PLUS-MINUS SIGN} standard error (paired bootstrap"
        f"{drawn}) [points]"
    )
    ways = slim_table(
        title, "way", *right("bytes", "95 % below", "AP", "difference", "mAP@0.5", "difference")
    )
    classes = slim_table(
        "AP at an overlap of 0.5 by class [%], and difference [points]",
        "way",
        *right(*(text for name in result.ways[0].map50_by_class for text in (name, "difference"))),
    )
    for way in result.ways:
        ways.add_row(
            way.name,
            f"{way.bytes_mean:,.0f}",
            f"{way.bytes_p95:,.0f}",
            *_cells(way, way.ap),
            *_cells(way, way.map50),
        )
        by_class = (cell for each in way.map50_by_class.values() for cell in _cells(way, each))
        classes.add_row(way.name, *by_class)
    return [ways, classes]


def _cells(way: WayResult, each: Difference) -> tuple[str, str]:
    if math.isnan(each.value):
        return "", ""
    if way.name == RAW:
        return f"{100 * each.value:.1f}", ""
    difference = f"{100 * each.difference:+.2f} \N{PLUS-MINUS SIGN}{100 * each.standard_error:.2f}"
    return f"{100 * each.value:.1f}", difference


def draw(results: Sequence[SourceResult], file: Path) -> None:
    """Draw loss of AP over bytes, a panel for each source, a line for each family.

    Raises:
        CodesignError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    width, height = _PANEL_INCHES
    figure = Figure(figsize=(width * len(results), height), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False, sharey=True)[0]
    families = dict.fromkeys(way.family for result in results for way in result.ways[1:])
    looks = {
        family: {"color": f"C{place % 10}", "marker": _MARKERS[place % len(_MARKERS)]}
        for place, family in enumerate(families)
    }
    for panel, result in zip(panels, results, strict=True):
        for family, group in groupby(result.ways[1:], key=lambda way: way.family):
            ways = sorted(group, key=lambda way: way.bytes_mean)
            panel.errorbar(
                [way.bytes_mean for way in ways],
                [100 * way.ap.difference for way in ways],
                [100 * way.ap.standard_error for way in ways],
                label=family,
                markersize=5,
                linewidth=1.2,
                capsize=2,
                **looks[family],
            )
        panel.axhline(0, color="grey", linewidth=0.8)
        panel.set_xscale("log")
        panel.set_xlabel("bytes a frame")
        panel.set_title(f"{result.frames} frames of {result.source}")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small")
    panels[0].set_ylabel("COCO AP, difference from raw frames [points]")
    try:
        figure.savefig(file, dpi=_DPI)
    except OSError as error:
        raise CodesignError(f"cannot write {file}: {error.strerror}") from None
