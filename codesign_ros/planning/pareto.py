"""The trade between time and accuracy: what lambda_1 of Eq. 11 can choose, all of it, exactly.

L = T + lambda_1 * Delta A is linear in (T, Delta A), so as lambda_1 goes from 0 to infinity the
optimum walks over the vertices of the lower left hull of all candidates; where it steps from one to
the next is the slope between them. What no lambda_1 chooses may still be undominated: such plans
lie between the vertices, and only a limit on time or accuracy reaches them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from codesign_ros.planning.candidates import Candidates
from codesign_ros.planning.problem import Row
from codesign_ros.types.errors import CodesignError


@dataclass(frozen=True)
class FrontPoint:
    """A plan than which none is both faster and more accurate.

    Attributes:
        row: the plan.
        time_s: T of Eq. 11 [s].
        accuracy_loss: Delta A_total, 0 to 1.
        lambda_1: from where to where the plan is optimal [s per unit of loss]; None if it is for no
            lambda_1, or for a single one at which others are too.
    """

    row: Row
    time_s: float
    accuracy_loss: float
    lambda_1: tuple[float, float] | None


def pareto(evaluation: Candidates) -> list[FrontPoint]:
    """List all plans that keep the limits and that no other such plan undercuts, fastest first.

    Of plans with equal time and loss the one with fewer bytes on the link stands for all. Evaluate
    with a lambda_1 above 0: with 0 a loss does not count, and candidates whose loss is not known
    may be among the offered; they are passed over here.

    Raises:
        CodesignError: no plan of known accuracy loss keeps the limits.
    """
    kept = np.isfinite(evaluation.objective)
    kept &= np.broadcast_to(np.isfinite(evaluation.accuracy_loss), kept.shape)
    places = np.flatnonzero(kept)
    if not len(places):
        raise CodesignError("there is no front: no plan of known accuracy loss keeps the limits")
    duration, loss, payload = (
        np.broadcast_to(array, kept.shape).reshape(-1)[places]
        for array in (evaluation.time_s, evaluation.accuracy_loss, evaluation.payload_bytes)
    )
    order = np.lexsort((payload, loss, duration))
    duration, loss = duration[order], loss[order]
    # By rising time a plan is undominated if it loses less than all that are faster.
    least_before = np.concatenate(([np.inf], np.minimum.accumulate(loss)[:-1]))
    front = np.flatnonzero(loss < least_before)
    duration, loss = duration[front], loss[front]
    indices = np.array(np.unravel_index(places[order[front]], kept.shape)).T
    intervals = _intervals(duration, loss)
    return [
        FrontPoint(
            evaluation.row(index.tolist()), float(duration[i]), float(loss[i]), intervals.get(i)
        )
        for i, index in enumerate(indices)
    ]


def _intervals(duration: np.ndarray, loss: np.ndarray) -> dict[int, tuple[float, float]]:
    """The lambda_1 for which each vertex of the lower left hull is optimal, by its index.

    Args:
        duration: times, strictly rising.
        loss: losses, strictly falling.
    """

    def price(one: int, other: int) -> float:
        """The lambda_1 at which a point and a slower, more accurate one are equally good."""
        return float((duration[other] - duration[one]) / (loss[one] - loss[other]))

    # Andrew's monotone chain: at each vertex the price of accuracy must rise.
    hull: list[int] = []
    for i in range(len(duration)):
        while len(hull) > 1 and price(hull[-2], hull[-1]) >= price(hull[-1], i):
            hull.pop()
        hull.append(i)
    steps = [0.0, *(price(*pair) for pair in itertools.pairwise(hull)), math.inf]
    return {vertex: (steps[k], steps[k + 1]) for k, vertex in enumerate(hull)}
