"""Fits the model's free parameters, and the null model, to the RoofSplit rows of Table IV alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from codesign_ros.paper.results.printed import DATA_SETS, MODELS, ROOFSPLIT, TABLE_4
from codesign_ros.paper.results.stages import Free, period_s

# Grid of the search: points for each parameter, how much it narrows each time, and how often. The
# last step is below 0.1 %.
_POINTS, _NARROWER, _ROUNDS = 17, 0.4, 9
# mu is searched from 1 down to this.
_LEAST_UTILISATION = 1e-3

CELLS = tuple(itertools.product(range(len(MODELS)), range(len(DATA_SETS))))
"""Cells of a method in Table IV: indices of model and data set."""


class Cell(NamedTuple):
    """T1, T3's two parts and T2 of a cell's cut at full use [s]."""

    head_s: float
    link_s: float
    delay_s: float
    tail_s: float


class Fit(NamedTuple):
    """What was fitted.

    Attributes:
        free: the parameters.
        error: mean of abs(ln(fitted / printed)) over the cells that it was fitted to.
    """

    free: Free
    error: float


def printed_fps(method: str) -> np.ndarray:
    """Throughput of a method in Table IV, in the order of ``CELLS`` [images/s]."""
    return np.array([TABLE_4[method][MODELS[m]].fps[d] for m, d in CELLS])


def fit(cells: Sequence[Cell], reading: str, fps: np.ndarray) -> Fit:
    """Fit base time, mu_1 and mu_2 by least squares of ln(fps), on a grid that narrows.

    Args:
        cells: what was measured.
        reading: key of ``stages.READINGS``.
        fps: what the paper measured there [images/s].
    """
    head_s, link_s, delay_s, tail_s = np.array(cells, float).T
    measured = np.log(fps)
    # No frame takes longer than it took. 1 / mu is searched in logarithms.
    low = np.array([0.0, 0.0, 0.0])
    high = np.array([1.0 / fps.max(), *2 * [-np.log(_LEAST_UTILISATION)]])
    bottom, top, best = low, high, low
    for _ in range(_ROUNDS):
        axes = [np.linspace(*ends, _POINTS) for ends in zip(bottom, top, strict=True)]
        base, robot, server = (a[..., None] for a in np.meshgrid(*axes, indexing="ij"))
        with np.errstate(divide="ignore"):
            took_s = base + period_s(
                reading, np.exp(robot) * head_s, link_s, np.exp(server) * tail_s, delay_s
            )
            off = ((np.log(took_s) + measured) ** 2).mean(axis=-1)
        place = np.unravel_index(off.argmin(), off.shape)
        best = np.array([axis[i] for axis, i in zip(axes, place, strict=True)])
        half = _NARROWER * (top - bottom) / 2
        bottom, top = np.maximum(low, best - half), np.minimum(high, best + half)
    free = Free(float(best[0]), *np.exp(best[1:]).tolist())
    took_s = free.base_s + period_s(
        reading, free.robot * head_s, link_s, free.server * tail_s, delay_s
    )
    return Fit(free, float(np.abs(np.log(took_s) + measured).mean()))


def null_fps() -> np.ndarray:
    """The null model, one constant for each data set: the geometric mean of its RoofSplit rows.

    Returns:
        (data sets,) [images/s].
    """
    rows = [TABLE_4[ROOFSPLIT][model].fps for model in MODELS]
    means: np.ndarray = np.exp(np.log(rows).mean(axis=0))
    return means
