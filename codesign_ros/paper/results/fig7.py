"""Fig. 7: ours beside RoofSplit with other robots, from what was fitted on the first robot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from codesign_ros.paper.results.prediction import Bench
from codesign_ros.paper.results.printed import DATA_SETS, MODELS, OURS, ROOFSPLIT, TABLE_4
from codesign_ros.paper.results.sheet import Sheet, percent, span

_SAME = 0.01
_NOTES = (
    "Simulated. The figure is a picture and its values are printed nowhere; for the first robot "
    "they are Table IV's. mu_1 of the others is taken to be that of the first, fitted to its "
    "RoofSplit rows; no figure of another robot is used.",
    "Holds: share of the accountings in which ours is faster than RoofSplit by more than 1 %, as "
    "the paper says of every robot, network and data set.",
)


def fig7(bench: Bench) -> dict[str, Any]:
    """Compare robots, as plain values; the bench's first robot is the one of Table IV."""
    cells = []
    for i, robot in enumerate(bench.robots):
        fps = bench.predictions(robot)
        for m, model in enumerate(MODELS):
            for d, data_set in enumerate(DATA_SETS):
                ours, roofsplit = fps[OURS][:, m, d], fps[ROOFSPLIT][:, m, d]
                ratio = ours / roofsplit
                printed = {name: TABLE_4[name][model].fps[d] for name in (OURS, ROOFSPLIT)}
                cells.append(
                    {
                        "robot": robot,
                        "model": model,
                        "data_set": data_set,
                        "paper_ratio": printed[OURS] / printed[ROOFSPLIT] if i == 0 else None,
                        "ratio": float(np.median(ratio)),
                        "ratio_least": float(ratio.min()),
                        "ratio_most": float(ratio.max()),
                        "ours_fps": float(np.median(ours)),
                        "roofsplit_fps": float(np.median(roofsplit)),
                        "holds": float((ratio > 1 + _SAME).mean()),
                    }
                )
    return {"simulated": True, "cells": cells, "notes": list(_NOTES)}


def fig7_sheet(content: Mapping[str, Any]) -> Sheet:
    """The comparison as a table."""
    rows = tuple(
        (
            c["robot"].removeprefix("jetson-"),
            c["model"],
            c["data_set"],
            f"{c['ours_fps']:.1f}",
            f"{c['roofsplit_fps']:.1f}",
            "-" if c["paper_ratio"] is None else f"{c['paper_ratio']:.2f}",
            f"{c['ratio']:.2f}",
            "-" if c["paper_ratio"] is None else percent(c["ratio"] / c["paper_ratio"]),
            span(c["ratio_least"], c["ratio_most"]),
            f"{c['holds']:.0%}",
        )
        for c in content["cells"]
    )
    return Sheet(
        "Fig. 7, SIMULATED: images/s by robot, and ours over RoofSplit",
        ("robot", "network", "data set"),
        ("ours", "RoofSplit", "paper's ratio", "ratio", "off", "range", "holds"),
        rows,
    )
