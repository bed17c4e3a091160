"""What the robots of a fleet can choose from, reduced to what can ever be best for one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from codesign_ros.planning.candidates import Candidates, evaluate
from codesign_ros.planning.limits import refusal
from codesign_ros.planning.problem import Problem
from codesign_ros.types.errors import CodesignError


@dataclass(frozen=True, eq=False)
class Options:
    """The non-dominated choices of one class of robots (K of them).

    A choice that is no better than another in head time, payload, time on each server and accuracy
    loss can not become the better one by a slower robot, a slower link, a smaller share of link or
    server or another weight of the loss: each of these scales one of them for all choices alike. So
    one reduction serves all robots of a class.

    Attributes:
        evaluation: all choices of the class.
        places: (K, 7) index of each in the evaluation.
        head_s, payload_bytes, accuracy_loss: (K,) its costs, the link undivided.
        tail_s: (V, K) its time on each of the V servers, undivided; 0 on all but one.
    """

    evaluation: Candidates
    places: np.ndarray
    head_s: np.ndarray
    payload_bytes: np.ndarray
    tail_s: np.ndarray
    accuracy_loss: np.ndarray


def options(problem: Problem) -> Options:
    """Reduce a class of robots to its non-dominated choices.

    Args:
        problem: what a robot of this class can choose, what every choice costs it where it has a
            server for itself, and its limits. All servers of the tables are shared, and all classes
            of a fleet have the same ones. Links, lambda_1 and the kind of time that counts play no
            part: robots have links and weights of their own, and a fleet's objective is latency.

    Raises:
        CodesignError: there is no server; no choice has a known cost or keeps the limits; or a
            limit stands on what depends on the shares.
    """
    servers = len(problem.tables.axes.servers)
    if not servers:
        raise CodesignError("a fleet needs at least one server to share")
    for name in ("deadline_s", "uplink_bytes_per_s", "robot_energy_j"):
        if getattr(problem.limits, name) is not None:
            raise CodesignError(
                f"a robot of a fleet cannot have the limit {name}, which depends on what the "
                "others do; set frame_rate_hz instead"
            )
    # The loss counts, so a choice whose loss is not known is not offered.
    evaluation = evaluate(replace(problem, lambda_1=1.0))
    flat = np.flatnonzero(np.isfinite(evaluation.objective))
    if not len(flat):
        raise CodesignError(
            refusal(evaluation.offered, evaluation.bounds)
            if evaluation.offered.any()
            else "nothing to choose from: no choice of a class of robots has a known cost"
        )
    shape, e = evaluation.objective.shape, evaluation
    places = np.unravel_index(flat, shape)
    head_s, payload_bytes, served_s, loss = (
        np.broadcast_to(costs, shape)[places]
        for costs in (e.head_s, e.payload_bytes, e.tail_s, e.accuracy_loss)
    )
    tail_s = np.where(places[-1] == np.arange(servers)[:, None], served_s, 0.0)
    kept = nondominated([head_s, payload_bytes, *tail_s, loss])
    return Options(
        evaluation,
        np.array(places).T[kept],
        head_s[kept],
        payload_bytes[kept],
        tail_s[:, kept],
        loss[kept],
    )


def nondominated(costs: Sequence[np.ndarray]) -> np.ndarray:
    """Find the points that no other point undercuts; of equal points the first stays.

    Args:
        costs: one array (n,) for each criterion, all finite; less is better.

    Returns:
        Their indices, by rising sum of the normalised criteria.
    """
    # By rising sum nothing is dominated by what comes after it, so the first that is left is
    # always one to keep, and all that it dominates goes.
    scales = [float(np.abs(cost).mean()) or 1.0 for cost in costs]
    total = np.sum([cost / scale for cost, scale in zip(costs, scales, strict=True)], axis=0)
    # Sums that rounding makes equal must not put a dominated point first: lexsort by all criteria.
    left = np.lexsort((*costs[::-1], total))
    columns = [np.ascontiguousarray(cost[left]) for cost in costs]
    kept = []
    while len(left):
        kept.append(left[0])
        better = columns[0] < columns[0][0]
        for column in columns[1:]:
            better |= column < column[0]
        left = left[better]
        columns = [column[better] for column in columns]
    return np.array(kept, dtype=np.int64)
