"""Where the paper's results contradict its equations, its text or each other; no fit is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.cost.roofline import RooflineMode, compute_s
from codesign_ros.paper.results.printed import (
    AVERAGE_GAIN,
    DATA_SETS,
    FIG_5_FPS,
    FIG_5_OURS_IMAGENET_FPS,
    FIG_5_RESPONSE_S,
    FIG_6,
    METHODS,
    MODELS,
    MPMS,
    OURS,
    ROOFSPLIT,
    SIDD,
    TABLE_4,
    TABLE_7,
    WO_DYNAMIC,
    WO_ROOFLINE,
    Beside,
)
from codesign_ros.paper.results.sheet import Sheet, span
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import Structure

_PRINTED_DIGIT = 0.01


class Check(NamedTuple):
    """One check.

    Attributes:
        about: what is checked.
        arithmetic: the printed figures, and what comes of them.
        so: what follows.
    """

    about: str
    arithmetic: str
    so: str


def checks(repvggs: Mapping[str, NetworkProfile], nano: DeviceSpec) -> list[Check]:
    """Work out all checks.

    Args:
        repvggs: RepVGG at 32 x 32 px with MNIST's classes, by variant.
        nano: Device 1, at full use.
    """
    return [
        _full_use(repvggs, nano),
        *_little(),
        *_text_against_table(),
        *_average_gains(),
        _roofsplit_against_no_split(),
        _two_names(),
        *_separable(),
        _averages(),
        _helmets(),
    ]


def _full_use(repvggs: Mapping[str, NetworkProfile], nano: DeviceSpec) -> Check:
    ms = {}
    for variant, network in repvggs.items():
        last = network.segments
        work = (network.flops(0, last, Structure.S3), network.bytes(0, last, Structure.S3))
        ms[variant] = 1e3 * compute_s(*work, nano, RooflineMode.PAPER)
    fps = TABLE_4[ROOFSPLIT][MODELS[0]].fps[0]
    all_of_them = ", ".join(f"{name} {value:.1f} ms" for name, value in ms.items())
    first = next(iter(ms.values()))
    return Check(
        "Eq. 5 at mu = 1, all of RepVGG on the Nano at 32 px",
        f"{all_of_them}; the paper's RoofSplit on MNIST: 1 / {fps:.2f} = {1e3 / fps:.0f} ms",
        f"most of the paper's time is not in its Eq. 5, or mu is {first * fps / 1e3:.2f} (smallest "
        "RepVGG)",
    )


def _ours(beside: Beside, sign: int) -> float:
    return beside.value * (1 + sign * beside.ours_better_by)


def _little() -> list[Check]:
    fps = {each.data_set: _ours(each, 1) for each in FIG_5_FPS}
    response_s = {each.data_set: _ours(each, -1) for each in FIG_5_RESPONSE_S}
    fps["ImageNet"] = FIG_5_OURS_IMAGENET_FPS
    inside = {name: fps[name] * response_s[name] for name in response_s}
    told = "; ".join(
        f"{n}: {fps[n]:.2f} / s x {1e3 * response_s[n]:.1f} ms = {v:.2f}" for n, v in inside.items()
    )
    return [
        Check(
            "Fig. 5, throughput times response of ours (Little: the frames that are inside)",
            told,
            "below 1 on ImageNet the system is idle at times, so its throughput is the rate of the "
            "requests, not what it can do; on MNIST two frames wait or run at a time",
        )
    ]


def _text_against_table() -> list[Check]:
    table = TABLE_4
    fps = [
        ("MNIST, RoofSplit", FIG_5_FPS[0].value, table[ROOFSPLIT]["RepVGG"].fps[0]),
        ("ImageNet, SIDD", FIG_5_FPS[3].value, table[SIDD]["RepVGG"].fps[2]),
        ("ImageNet, ours", FIG_5_OURS_IMAGENET_FPS, table[OURS]["RepVGG"].fps[2]),
    ]
    accuracy = [
        (
            f"{data_set}, ours",
            value,
            table[OURS]["RepVGG"].accuracy[DATA_SETS.index(data_set)],
        )
        for data_set, method, value in FIG_6
        if method == OURS
    ]
    return [
        Check(
            f"text about {figure} against Table IV, RepVGG from Nano to Xavier NX in both",
            "; ".join(f"{name}: {a:.2f} and {b:.2f}" for name, a, b in pairs),
            f"up to {max(abs(a / b - 1) for _, a, b in pairs):.0%} apart for one experiment",
        )
        for figure, pairs in (("Fig. 5 [images/s]", fps), ("Fig. 6 [%]", accuracy))
    ]


def _average_gains() -> list[Check]:
    ours = _ours(FIG_5_FPS[0], 1)
    gains = {
        ROOFSPLIT: ours / FIG_5_FPS[0].value - 1,
        MPMS: ours / FIG_5_FPS[1].value - 1,
        SIDD: ours / TABLE_4[SIDD]["RepVGG"].fps[0] - 1,
    }
    least = (sum(gains.values()) + 3 * gains[MPMS]) / 6
    imagenet = 6 * AVERAGE_GAIN["ImageNet"] - FIG_5_FPS[3].ours_better_by
    roofsplit = TABLE_4[OURS]["RepVGG"].fps[2] / TABLE_4[ROOFSPLIT]["RepVGG"].fps[2] - 1
    named = ", ".join(f"{name} {gain:.1%}" for name, gain in gains.items())
    return [
        Check(
            f"gain of {AVERAGE_GAIN['MNIST']:.2%} on average over six baselines, MNIST (abstract)",
            f"{named} (SIDD by Table IV); the other three have at least MPMS's, which is second "
            f"best: mean at least {least:.1%}",
            "the average is below what its parts allow",
        ),
        Check(
            f"gain of {AVERAGE_GAIN['ImageNet']:.2%} on average on ImageNet",
            f"six gains add up to {6 * AVERAGE_GAIN['ImageNet']:.0%}; less SIDD's "
            f"{FIG_5_FPS[3].ours_better_by:.1%} (text) and RoofSplit's {roofsplit:.1%} (Table IV), "
            f"{imagenet - roofsplit:.1%} remain for four",
            "four of the baselines would be faster than ours on average",
        ),
    ]


def _roofsplit_against_no_split() -> Check:
    slower = [
        (model, name)
        for model in MODELS
        for d, name in enumerate(DATA_SETS)
        if TABLE_4[ROOFSPLIT][model].fps[d] < TABLE_4[WO_ROOFLINE][model].fps[d]
    ]
    return Check(
        'Table IV, RoofSplit against "w/o roofline", which leaves all on the server',
        f"RoofSplit is slower in {len(slower)} of 9 cells",
        "either splitting costs throughput here, or the dynamic structure gives it, which Eq. 8 "
        "cannot: a branch more is work more",
    )


def _two_names() -> Check:
    ratios = [
        b / a
        for model in MODELS
        for a, b in zip(TABLE_4[ROOFSPLIT][model].fps, TABLE_4[WO_DYNAMIC][model].fps, strict=True)
    ]
    return Check(
        'RoofSplit is "a variation of our method without the dynamic model structure"',
        f'"w/o dynamic" over RoofSplit in Table IV: {span(min(ratios), max(ratios))}',
        "one method under two names has two throughputs; the row that lacks more may be faster",
    )


def additive_r2(values: np.ndarray, factors: tuple[np.ndarray, ...]) -> float:
    """R^2 of a sum of effects, one for each level of each factor.

    Args:
        values: (n,) what is explained.
        factors: each (n,) the level of that factor.
    """
    columns = [np.ones(len(values))]
    for levels in factors:
        columns += [(levels == level).astype(float) for level in np.unique(levels)]
    design = np.stack(columns, axis=1)
    fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
    return float(1 - ((values - fitted) ** 2).sum() / ((values - values.mean()) ** 2).sum())


def _separable() -> list[Check]:
    rows = [(m, k) for m in range(len(METHODS)) for k in range(len(MODELS))]
    values = np.log([TABLE_4[METHODS[m]][MODELS[k]].fps for m, k in rows])
    method, model = (np.repeat([row[i] for row in rows], 3) for i in (0, 1))
    data_set = np.tile(np.arange(3), len(rows))
    flat = values.ravel()
    r2 = additive_r2(flat, (method, model, data_set))
    by_row = additive_r2(flat, (method * len(MODELS) + model, data_set))
    return [
        Check(
            "Table IV as a product of one factor each for method, network and data set",
            f"R^2 of ln(images/s) over its 54 cells: {r2:.3f}; with one factor for each row "
            f"instead of method and network: {by_row:.3f}",
            "no stage is the bottleneck in one cell and not in another, as splitting would have it",
        )
    ]


def _averages() -> Check:
    off4 = [
        abs((sum(row.fps) + sum(row.accuracy)) / 6 - row.average)
        for rows in TABLE_4.values()
        for row in rows.values()
    ]
    off7 = [abs((r.helmet + r.person + r.fps) / 3 - r.average) for r in TABLE_7.values()]
    same = sum(off < _PRINTED_DIGIT for off in off4 + off7)
    return Check(
        '"Average" of Tables IV and VII',
        f"the plain mean of images/s and percent gives {same} of {len(off4 + off7)} rows to within "
        f"{_PRINTED_DIGIT}",
        "it adds quantities of different units",
    )


def _helmets() -> Check:
    cloud, ours = TABLE_7["cloud"].helmet, TABLE_7[OURS].helmet
    return Check(
        'Table VII: helmets "approximately 2.4 %" better in the cloud',
        f"{cloud} against {ours}: {cloud - ours:.2f} points, {cloud / ours - 1:.1%}",
        "neither is 2.4",
    )


def checks_sheet(found: list[Check]) -> Sheet:
    """The checks as a table."""
    return Sheet(
        "Contradictions that need no fit",
        ("about", "arithmetic", "so"),
        (),
        tuple(map(tuple, found)),
    )


def checks_content(found: list[Check]) -> dict[str, Any]:
    """The checks as plain values."""
    return {"checks": [each._asdict() for each in found], "notes": []}
