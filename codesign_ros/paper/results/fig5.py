"""Fig. 5 and 6: the figures that the text about them names, beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from codesign_ros.paper.results.networks import Subject
from codesign_ros.paper.results.prediction import Bench, method_fps
from codesign_ros.paper.results.printed import (
    DATA_SETS,
    FIG_5_FPS,
    FIG_5_RESPONSE_S,
    FIG_6,
    MPMS,
    OURS,
    ROOFSPLIT,
    SIDD,
    TABLE_4,
)
from codesign_ros.paper.results.sheet import Sheet, percent, span
from codesign_ros.paper.results.stages import ACCOUNTINGS, S3, Accounting, Stages, tables_of
from codesign_ros.planning.policies.base import Situation
from codesign_ros.planning.policies.mpms import Mpms
from codesign_ros.planning.problem import Problem

_REPVGG = 0
_NOTES = (
    "Simulated; the free parameters are Table IV's, fitted to its RoofSplit rows alone. The figure "
    "is a picture: these are the values that the text names, ours by the gains that it names.",
    "The response is that of a frame that waits for none (base time + T1 + T3 + T2). The paper's "
    "requests come at random times at a rate that it does not give, so waiting is not predicted.",
    "MPMS is this package's policy, which takes Rayleigh fading for the link; SIDD is without its "
    "super-resolution. The other three baselines have no printed value.",
)


def fig5(bench: Bench) -> dict[str, Any]:
    """Compare what is printed about Fig. 5, as plain values."""
    fps: dict[tuple[str, str], list[float]] = {}
    response_s: dict[tuple[str, str], list[float]] = {}
    robot = next(iter(bench.robots))
    for accounting in ACCOUNTINGS:
        free = bench.fits[accounting].free
        for d, data_set in enumerate(DATA_SETS):
            stages, roofsplit = bench.stages(accounting, _REPVGG, d, robot)
            period_s, latency_s = (
                stages.period_s(accounting.reading, free),
                stages.latency_s(free),
            )
            cuts = {ROOFSPLIT: roofsplit, MPMS: _mpms_cut(bench, accounting, d)}
            found = method_fps(stages, accounting.reading, free, roofsplit)
            for method, value in (
                *((m, 1.0 / float(period_s[cut, S3, S3])) for m, cut in cuts.items()),
                *((m, found[m]) for m in (OURS, SIDD)),
            ):
                fps.setdefault((data_set, method), []).append(value)
            for method, value in (
                *((m, float(latency_s[cut, S3, S3])) for m, cut in cuts.items()),
                (OURS, _ours_latency_s(stages, period_s, latency_s)),
            ):
                response_s.setdefault((data_set, method), []).append(value)

    def row(what: str, data_set: str, method: str, paper: float) -> dict[str, Any]:
        found = (fps if what == "fps" else response_s)[data_set, method]
        return {
            "what": what,
            "data_set": data_set,
            "method": method,
            "paper": paper,
            "ours": float(np.median(found)),
            "ours_least": min(found),
            "ours_most": max(found),
            "bound": method == SIDD,
        }

    cells: dict[tuple[str, str, str], dict[str, Any]] = {}
    for what, printed, sign in (("fps", FIG_5_FPS, 1), ("response_s", FIG_5_RESPONSE_S, -1)):
        for each in printed:
            for method, value in (
                (each.method, each.value),
                (OURS, each.value * (1 + sign * each.ours_better_by)),
            ):
                key = (what, each.data_set, method)
                cells.setdefault(key, row(*key, value))
    return {"simulated": True, "cells": list(cells.values()), "notes": list(_NOTES)}


def _ours_latency_s(stages: Stages, period_s: np.ndarray, latency_s: np.ndarray) -> float:
    """Latency of the candidate of ours that has the highest throughput; of equals the lowest."""
    s = period_s.shape[1]
    offered = np.ones(period_s.shape, bool)
    offered[0] = offered[-1] = np.eye(s, dtype=bool)
    least_s = period_s[offered].min()
    return float(latency_s[offered & (period_s <= least_s * (1 + 1e-9))].min())


def _mpms_cut(bench: Bench, accounting: Accounting, data_set: int) -> int:
    free = bench.fits[accounting].free
    (robot, *_), server = bench.robots.values(), bench.server
    robot = replace(robot, utilisation=1 / float(free.robot))
    server = replace(server, utilisation=1 / float(free.server))
    subject = Subject.of("RepVGG", accounting.repvgg, data_set, accounting.sides)
    tables = tables_of(bench.networks[subject], robot, server, accounting.times, accounting.sent)
    problem = Problem(tables, (bench.link,))
    return Mpms().decide(Situation(problem, robot, server)).row.candidate.cut


def fig5_sheets(content: Mapping[str, Any]) -> list[Sheet]:
    """The comparison as tables."""
    return [
        Sheet(
            title,
            ("data set", "method"),
            ("paper", "ours", "off", "range"),
            tuple(
                (
                    c["data_set"],
                    c["method"] + (" (bound)" if c["bound"] else ""),
                    f"{scale * c['paper']:.{digits}f}",
                    f"{scale * c['ours']:.1f}",
                    percent(c["ours"] / c["paper"]),
                    span(scale * c["ours_least"], scale * c["ours_most"]),
                )
                for c in content["cells"]
                if c["what"] == what
            ),
        )
        for title, what, scale, digits in (
            ("Fig. 5, SIMULATED: throughput of RepVGG [images/s]", "fps", 1.0, 2),
            ("Fig. 5, SIMULATED: response time of RepVGG [ms]", "response_s", 1e3, 1),
        )
    ]


def fig6() -> dict[str, Any]:
    """List what is printed about Fig. 6; nothing of it can be worked out here."""
    return {
        "cells": [
            {
                "data_set": data_set,
                "method": method,
                "paper": value,
                "ours": None,
                "table_4": TABLE_4[OURS]["RepVGG"].accuracy[DATA_SETS.index(data_set)]
                if method == OURS
                else None,
            }
            for data_set, method, value in FIG_6
        ],
        "notes": [
            "Not measured: MNIST, CIFAR-100 and ImageNet are not here, the paper's weights are not "
            "published, and an accuracy does not follow from Eq. 8.",
            "Where you have a set, measure it: codesign train OUT.bundle --task classification "
            "--data mnist:DIR (or fashion-mnist:DIR, cifar100:DIR), then codesign accuracy "
            "OUT.bundle says what every structure costs. Debian's package dataset-fashion-mnist "
            "brings a set that the paper does not have.",
        ],
    }


def fig6_sheet(content: Mapping[str, Any]) -> Sheet:
    """The list as a table."""
    return Sheet(
        "Fig. 6: accuracy of RepVGG [%]",
        ("data set", "method"),
        ("paper's text", "Table IV", "ours"),
        tuple(
            (
                c["data_set"],
                c["method"],
                f"{c['paper']:.2f}",
                "" if c["table_4"] is None else f"{c['table_4']:.2f}",
                "-",
            )
            for c in content["cells"]
        ),
    )
