"""The fleet's convex relaxation: robots may mix choices, and the best mix bounds every fleet plan.

What the shared links and servers do depends on the choices through sums over the robots alone: the
robots' own times, and for each link and server a few sums of their work on it (:class:`Sums`). So
the whole search happens in a few dimensions, whatever the number of robots: Frank-Wolfe steps
(Frank and Wolfe 1956; fully corrective with pairwise inner steps, Lacoste-Julien and Jaggi 2015)
ask every robot for its best choice at the present prices and mix the answers. It is convex where
it is given how often robots meet on what they share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Oracle = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Prices (1 + 5 D,) -> the cheapest choice of every robot (R,), and their sums (1 + 5 D,)."""

OWN = 0


@dataclass(frozen=True)
class Sums:
    """Where the sums stand: own times at ``OWN``, then five times D; links before servers.

    Attributes:
        shared: D, how many links and servers the robots share.
        paced: whether all robots' numbers of frames are known, hence how often they meet.
    """

    shared: int
    paced: bool = False

    @property
    def size(self) -> int:
        """How many sums there are."""
        return 1 + 5 * self.shared

    @property
    def roots(self) -> slice:
        """Of the robots' work on each link and server [s^0.5]."""
        return self._part(0)

    @property
    def uses(self) -> slice:
        """What part of each the frames fill that robots must keep up with."""
        return self._part(1)

    @property
    def works(self) -> slice:
        """The robots' work on each [s]."""
        return self._part(2)

    @property
    def busy(self) -> slice:
        """The roots, each times the part of it that the robot's frames fill [s^0.5]."""
        return self._part(3)

    @property
    def loads(self) -> slice:
        """What part of each all frames fill."""
        return self._part(4)

    def met(self, sums: np.ndarray) -> np.ndarray:
        """How often a robot finds another one at work: (..., D), 0 to 1, for sums (..., 1 + 5 D).

        1 where that is not known: there is always another frame then. See ``solve``.
        """
        roots, loads = sums[..., self.roots], sums[..., self.loads]
        if not self.paced:
            return np.ones_like(roots)
        busy = sums[..., self.busy]
        # Sums from which a robot was taken away may be below nothing by a rounding error.
        free = np.maximum(0.0, roots * (1.0 - loads))
        return np.divide(busy, free + busy, where=busy > 0, out=np.zeros_like(busy))

    def objective(self, sums: np.ndarray, met: np.ndarray) -> np.ndarray:
        """What sums (..., 1 + 5 D) come to where robots meet so often, (..., D) or (D,) [s]."""
        together = met * sums[..., self.roots] ** 2 + (1.0 - met) * sums[..., self.works]
        return sums[..., OWN] + together.sum(axis=-1)

    def _part(self, number: int) -> slice:
        return slice(1 + number * self.shared, 1 + (number + 1) * self.shared)


@dataclass(frozen=True, eq=False)
class Mix:
    """The relaxation's solution.

    Attributes:
        choices: (V, R) the pure answers of which it is made.
        weights: (V,) share of each, above 0, sums to 1.
        lower_bound: no plan of the fleet has a lower objective [s].
    """

    choices: np.ndarray
    weights: np.ndarray
    lower_bound: float


def relax(
    oracle: Oracle,
    where: Sums,
    met: np.ndarray,
    limited: bool,
    tolerance: float = 1e-5,
    max_rounds: int = 150,
) -> Mix:
    """Minimise ``where.objective`` over all mixes; if ``limited``, with uses up to 1.

    Args:
        oracle: asks the robots.
        where: which sum is what.
        met: how often robots meet on each link and server (D,), 0 to 1.
        limited: whether the frame rates limit the uses; without it they do not count.
        tolerance: relative gap between mix and lower bound at which to stop.
        max_rounds: most questions to the robots.
    """
    first_prices = np.zeros(where.size)
    first_prices[OWN] = 1.0
    choices, first = oracle(first_prices)
    vertices, answers = first[None], [choices]
    weights = np.ones(1)
    prices = np.zeros(where.shared)
    # Stiffness of the augmented Lagrangian: one whole resource too much costs as much as all else.
    stiffness = float(where.objective(first, met)) or 1.0
    lower_bound = -np.inf
    for _ in range(max_rounds):
        weights = _correct(vertices, weights, prices, stiffness, where, met, limited)
        mixed = weights @ vertices
        excess = mixed[where.uses] - 1.0
        now = np.maximum(0.0, prices + stiffness * excess) * limited
        gradient = _slope(mixed, now, where, met)
        choices, vertex = oracle(gradient)
        # x^2 >= 2 x0 x - x0^2, and no use above 1 is allowed: the answer's price bounds all plans.
        curved = float((met * mixed[where.roots] ** 2).sum())
        bound = float(vertex @ gradient - curved - now.sum())
        lower_bound = max(lower_bound, bound)
        value = float(where.objective(mixed, met))
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
    return Mix(np.array(answers)[kept], weights[kept], lower_bound)


def _correct(
    vertices: np.ndarray,
    weights: np.ndarray,
    prices: np.ndarray,
    stiffness: float,
    where: Sums,
    met: np.ndarray,
    limited: bool,
    steps: int = 200,
) -> np.ndarray:
    """Find the best mix of the answers so far, by pairwise Frank-Wolfe steps with line search."""
    weights = weights.copy()
    for _ in range(steps):
        mixed = weights @ vertices
        use_slope = np.maximum(0.0, prices + stiffness * (mixed[where.uses] - 1.0)) * limited
        scores = vertices @ _slope(mixed, use_slope, where, met)
        into = int(scores.argmin())
        out = int(np.where(weights > 0, scores, -np.inf).argmax())
        descent = float(scores[out] - scores[into])
        if descent <= 1e-9 * float(np.abs(scores).max()):
            break
        way = vertices[into] - vertices[out]
        # The objective along the way is quadratic as long as the same uses are above their limit;
        # the one with all above is the stiffest and never steps too far.
        stiff = stiffness * float((way[where.uses] ** 2).sum()) if limited else 0.0
        curvature = 2.0 * float((met * way[where.roots] ** 2).sum()) + stiff
        most = float(weights[out])
        step = most if curvature * most <= descent else descent / curvature
        weights[into] += step
        weights[out] = 0.0 if step == most else most - step
    return weights / weights.sum()


def _slope(mixed: np.ndarray, of_uses: np.ndarray, where: Sums, met: np.ndarray) -> np.ndarray:
    """The gradient of the objective, (1 + 5 D,); of the uses it is given."""
    slope = np.zeros(where.size)
    slope[OWN] = 1.0
    slope[where.roots] = 2.0 * met * mixed[where.roots]
    slope[where.uses] = of_uses
    slope[where.works] = 1.0 - met
    return slope
