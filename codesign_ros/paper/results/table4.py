"""Table IV: every cell beside the model and the null model, and where the gains come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from codesign_ros.paper.results.fitting import null_fps
from codesign_ros.paper.results.prediction import Bench
from codesign_ros.paper.results.printed import (
    ABLATIONS,
    DATA_SETS,
    METHODS,
    MODELS,
    OURS,
    ROOFSPLIT,
    SIDD,
    TABLE_4,
)
from codesign_ros.paper.results.sheet import Sheet, percent, span
from codesign_ros.paper.results.stages import ACCOUNTINGS

PREDICTED = (OURS, *ABLATIONS)
"""Methods that nothing was fitted to and of which the paper says what they do."""

_NOTES = (
    "Simulated: Eq. 8 with the devices' peaks; nothing was run on these devices.",
    "Three parameters are free, fitted under each accounting to the nine RoofSplit cells alone: a "
    "time that every frame takes beside Eq. 8, mu_1 and mu_2. The null model has three too: one "
    "throughput for each data set, the geometric mean of its RoofSplit rows.",
    "SIDD's super-resolution is not described: its rows are the network without it, which it "
    "cannot beat, and count in no error.",
    "Accuracies are not predicted: no data of these sets is here, and no weights are published.",
)


def table4(
    bench: Bench, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """Compare Table IV, as plain values.

    Args:
        bench: the experiment; its first robot is the table's.
        progress: is told how many accountings of how many are done.
    """
    fps = bench.predictions(next(iter(bench.robots)), progress)
    null = null_fps()
    printed = {method: np.array([TABLE_4[method][m].fps for m in MODELS]) for method in METHODS}
    log_off = {m: np.log(fps[m] / printed[m]) for m in METHODS}
    null_off = {m: np.log(null / printed[m]) for m in METHODS}
    of_fits = np.array([bench.fits[each].error for each in ACCOUNTINGS])
    of_model = np.mean([np.abs(log_off[m]).mean(axis=(1, 2)) for m in PREDICTED], axis=0)
    of_null = float(np.mean([np.abs(null_off[m]).mean() for m in PREDICTED]))
    best = int(of_fits.argmin())
    return {
        "simulated": True,
        "accountings": len(ACCOUNTINGS),
        "cells": [
            {
                "method": method,
                "model": model,
                "data_set": data_set,
                "paper_fps": TABLE_4[method][model].fps[d],
                "ours_fps": float(np.median(fps[method][:, m, d])),
                "ours_least_fps": float(fps[method][:, m, d].min()),
                "ours_most_fps": float(fps[method][:, m, d].max()),
                "null_fps": float(null[d]),
                "fitted": method == ROOFSPLIT,
                "bound": method == SIDD,
                "paper_accuracy": TABLE_4[method][model].accuracy[d],
                "ours_accuracy": None,
            }
            for method in METHODS
            for m, model in enumerate(MODELS)
            for d, data_set in enumerate(DATA_SETS)
        ],
        "averages": [
            {
                "method": method,
                "model": model,
                "paper": TABLE_4[method][model].average,
                # Of six columns three are throughputs; the others are accuracies, which are not
                # predicted.
                "paper_of_throughput": float(printed[method][m].sum() / 6),
                "ours_of_throughput": float(np.median(fps[method][:, m].sum(axis=1)) / 6),
                "ours": None,
            }
            for method in METHODS
            for m, model in enumerate(MODELS)
        ],
        "errors": {
            "mean_abs_log": {
                "null": of_null,
                "median": float(np.median(of_model)),
                "least": float(of_model.min()),
                "most": float(of_model.max()),
                "of_best_fit": float(of_model[best]),
            },
            "better_than_null": int((of_model < of_null).sum()),
            "on_the_fitted_cells": {
                "null": float(np.abs(null_off[ROOFSPLIT]).mean()),
                "median": float(np.median(of_fits)),
                "least": float(of_fits.min()),
                "most": float(of_fits.max()),
            },
            "best_fit": str(ACCOUNTINGS[best]),
            "best_fit_free": {
                "base_ms": 1e3 * float(bench.fits[ACCOUNTINGS[best]].free.base_s),
                "mu_1": 1 / float(bench.fits[ACCOUNTINGS[best]].free.robot),
                "mu_2": 1 / float(bench.fits[ACCOUNTINGS[best]].free.server),
            },
        },
        "gains": [_gain(fps, printed, method, best) for method in (ROOFSPLIT, *ABLATIONS)],
        "notes": list(_NOTES),
    }


def _gain(
    fps: Mapping[str, np.ndarray], printed: Mapping[str, np.ndarray], method: str, best: int
) -> dict[str, Any]:
    """By how much ours is faster: geometric means over the nine cells."""
    ours = np.exp(np.log(fps[OURS] / fps[method]).mean(axis=(1, 2)))
    return {
        "over": method,
        "paper": float(np.exp(np.log(printed[OURS] / printed[method]).mean())),
        "median": float(np.median(ours)),
        "least": float(ours.min()),
        "most": float(ours.max()),
        "of_best_fit": float(ours[best]),
    }


def table4_sheets(content: Mapping[str, Any]) -> list[Sheet]:
    """Table IV, its errors and its gains as tables."""
    accuracies = {(c["method"], c["model"], c["data_set"]): c for c in content["cells"]}
    rows = tuple(
        (
            c["method"] + (" (fitted)" if c["fitted"] else " (bound)" if c["bound"] else ""),
            c["model"],
            c["data_set"],
            f"{c['paper_fps']:.2f}",
            f"{c['ours_fps']:.1f}",
            percent(c["ours_fps"] / c["paper_fps"]),
            span(c["ours_least_fps"], c["ours_most_fps"]),
            percent(c["null_fps"] / c["paper_fps"]),
            f"{c['paper_accuracy']:.2f}",
            "-",
        )
        for c in accuracies.values()
    )
    return [
        Sheet(
            f"Table IV, SIMULATED: images/s, median and range of {content['accountings']} "
            "accountings; null: one constant for each data set",
            ("method", "network", "data set"),
            ("paper", "ours", "off", "range", "null off", "paper acc. [%]", "ours acc."),
            rows,
        ),
        averages_sheet(content),
        errors_sheet(content),
        gains_sheet(content),
    ]


def averages_sheet(content: Mapping[str, Any]) -> Sheet:
    """The last column, as far as it can be told."""
    rows = tuple(
        (
            a["method"],
            a["model"],
            f"{a['paper']:.2f}",
            "-",
            f"{a['paper_of_throughput']:.2f}",
            f"{a['ours_of_throughput']:.2f}",
            percent(a["ours_of_throughput"] / a["paper_of_throughput"]),
        )
        for a in content["averages"]
    )
    return Sheet(
        "Table IV, SIMULATED: column Average, the mean of three throughputs and three accuracies",
        ("method", "network"),
        ("paper", "ours", "its throughputs: paper", "ours", "off"),
        rows,
        "The whole of ours cannot be said without accuracies.",
    )


def errors_sheet(content: Mapping[str, Any]) -> Sheet:
    """The model's errors beside the null model's."""
    errors = content["errors"]
    predicted, fitted = errors["mean_abs_log"], errors["on_the_fitted_cells"]
    free = errors["best_fit_free"]
    rows = (
        ("null model", f"{fitted['null']:.3f}", f"{predicted['null']:.3f}"),
        ("Eq. 8, median accounting", f"{fitted['median']:.3f}", f"{predicted['median']:.3f}"),
        (
            "Eq. 8, range",
            span(fitted["least"], fitted["most"]),
            span(predicted["least"], predicted["most"]),
        ),
        (
            "Eq. 8, accounting that fits best",
            f"{fitted['least']:.3f}",
            f"{predicted['of_best_fit']:.3f}",
        ),
    )
    return Sheet(
        "Mean abs(ln(ours / paper))",
        ("model",),
        ("9 cells fitted to", "36 cells predicted"),
        rows,
        f"{errors['better_than_null']} of {content['accountings']} accountings predict better than "
        f"the null model. What fits best: {errors['best_fit']}; {free['base_ms']:.1f} ms a frame, "
        f"mu_1 {free['mu_1']:.3f}, mu_2 {free['mu_2']:.3f}.",
    )


def gains_sheet(content: Mapping[str, Any]) -> Sheet:
    """Where ours gains, by what is taken away."""
    rows = tuple(
        (
            f"ours over {g['over']}",
            f"{g['paper']:.2f}",
            f"{g['median']:.2f}",
            span(g["least"], g["most"]),
            f"{g['of_best_fit']:.2f}",
        )
        for g in content["gains"]
    )
    return Sheet(
        "Gains by source, geometric means of 9 cells",
        ("throughput",),
        ("paper", "ours", "range", "best fit"),
        rows,
    )
