"""The fleet's convex relaxation: robots may mix choices, and the best mix bounds every fleet plan.

What link and server do depends on the choices through sums over the robots alone (:class:`Sums`),
so the whole search happens in five dimensions, whatever the number of robots: Frank-Wolfe steps
(Frank and Wolfe 1956; fully corrective with pairwise inner steps, Lacoste-Julien and Jaggi 2015)
ask every robot for its best choice at the present prices and mix the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Columns of the sums over the robots.
OWN, LINK_ROOT, SERVER_ROOT, LINK_USE, SERVER_USE = range(5)
USES = slice(LINK_USE, SERVER_USE + 1)
_ROOTS = slice(LINK_ROOT, SERVER_ROOT + 1)

Oracle = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Prices (5,) -> the cheapest choice of every robot (R,), and their sums (5,)."""


@dataclass(frozen=True, eq=False)
class Mix:
    """The relaxation's solution.

    Attributes:
        choices: (V, R) the pure answers of which it is made.
        weights: (V,) share of each, above 0, sums to 1.
        lower_bound: no plan of the fleet has a lower objective [s].
        prices: (2,) what one whole link and one whole server would be worth beyond their sharing
            [s]; 0 where the robots' frame rates do not fill them.
        rounds: how often the robots were asked.
    """

    choices: np.ndarray
    weights: np.ndarray
    lower_bound: float
    prices: np.ndarray
    rounds: int


def relax(oracle: Oracle, limited: bool, tolerance: float = 1e-5, max_rounds: int = 150) -> Mix:
    """Minimise own + link_root^2 + server_root^2 over all mixes, with uses up to 1 if ``limited``.

    Args:
        oracle: asks the robots.
        limited: whether the frame rates limit the uses; without it they do not count.
        tolerance: relative gap between mix and lower bound at which to stop.
        max_rounds: most questions to the robots.
    """
    choices, first = oracle(np.array([1.0, 0.0, 0.0, 0.0, 0.0]))
    vertices, answers = first[None], [choices]
    weights = np.ones(1)
    prices, best_prices = np.zeros(2), np.zeros(2)
    # Stiffness of the augmented Lagrangian: one whole resource too much costs as much as all else.
    stiffness = float(first[OWN] + (first[_ROOTS] ** 2).sum()) or 1.0
    lower_bound = -np.inf
    rounds = 0
    for rounds in range(1, max_rounds + 1):  # noqa: B007 (reported)
        weights = _correct(vertices, weights, prices, stiffness, limited)
        mixed = weights @ vertices
        excess = mixed[USES] - 1.0
        now = np.maximum(0.0, prices + stiffness * excess) if limited else np.zeros(2)
        gradient = np.concatenate(([1.0], 2.0 * mixed[_ROOTS], now))
        choices, vertex = oracle(gradient)
        # x^2 >= 2 x0 x - x0^2, and no use above 1 is allowed: the answer's price bounds all plans.
        bound = float(vertex @ gradient - (mixed[_ROOTS] ** 2).sum() - now.sum())
        if bound > lower_bound:
            lower_bound, best_prices = bound, now
        value = float(mixed[OWN] + (mixed[_ROOTS] ** 2).sum())
        within = not limited or float(excess.max()) <= tolerance
        if within and value - lower_bound <= tolerance * abs(value):
            break
        if float((mixed - vertex) @ gradient) <= 0.1 * tolerance * abs(value):
            # The best mix at these prices (the augmented Lagrangian's inner problem): next prices.
            if np.allclose(prices, now, rtol=1e-9):
                break
            prices = now
            continue
        kept = weights > 0
        vertices = np.vstack((vertices[kept], vertex))
        answers = [answer for answer, keep in zip(answers, kept, strict=True) if keep] + [choices]
        weights = np.append(weights[kept], 0.0)
    kept = weights > 0
    return Mix(np.array(answers)[kept], weights[kept], lower_bound, best_prices, rounds)


def _correct(
    vertices: np.ndarray,
    weights: np.ndarray,
    prices: np.ndarray,
    stiffness: float,
    limited: bool,
    steps: int = 200,
) -> np.ndarray:
    """Find the best mix of the answers so far, by pairwise Frank-Wolfe steps with line search."""
    weights = weights.copy()
    for _ in range(steps):
        mixed = weights @ vertices
        use_slope = np.maximum(0.0, prices + stiffness * (mixed[USES] - 1.0)) * limited
        scores = vertices @ np.concatenate(([1.0], 2.0 * mixed[_ROOTS], use_slope))
        into = int(scores.argmin())
        out = int(np.where(weights > 0, scores, -np.inf).argmax())
        descent = float(scores[out] - scores[into])
        if descent <= 1e-9 * float(np.abs(scores).max()):
            break
        way = vertices[into] - vertices[out]
        # The objective along the way is quadratic as long as the same uses are above their limit;
        # the one with both above is the stiffest and never steps too far.
        stiff = stiffness * float((way[USES] ** 2).sum()) if limited else 0.0
        curvature = 2.0 * float((way[_ROOTS] ** 2).sum()) + stiff
        most = float(weights[out])
        step = most if curvature * most <= descent else descent / curvature
        weights[into] += step
        weights[out] = 0.0 if step == most else most - step
    return weights / weights.sum()
