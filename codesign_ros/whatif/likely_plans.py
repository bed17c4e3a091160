"""Which engines plans are likely to need, whatever the link will be like.

Before anybody knows the link, Eq. 11 is solved for many of its rates and for each objective. The
halves of the best plans are the engines that are worth building ahead of time; so are those of the
best plans of other cuts that come near, since figures of devices are never quite right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import EngineKey
from codesign_ros.planning.grid import Solution, grid
from codesign_ros.planning.objective import Objective
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.types.plan import Plan
from codesign_ros.whatif.problem import WhatIf, what_if_problem

SLOWEST_BPS, FASTEST_BPS = 1e5, 1e9
"""The link rates that a plan is sought for [bit/s]."""

_RATES_A_DECADE = 10

NEAR = 0.05
"""By how much another cut's plan may be worse than the best and still count."""


@dataclass(frozen=True)
class Served:
    """What an engine is good for.

    Attributes:
        slowest_bps: the slowest link with a plan that runs it [bit/s].
        fastest_bps: the fastest one [bit/s].
        objectives: those with such a plan.
        best: whether one of these plans is the best, and not just near.
    """

    slowest_bps: float
    fastest_bps: float
    objectives: tuple[Objective, ...]
    best: bool

    def also(self, rate_bps: float, objective: Objective, best: bool) -> Served:
        """Add one more plan that runs the engine."""
        return Served(
            min(self.slowest_bps, rate_bps),
            max(self.fastest_bps, rate_bps),
            tuple(dict.fromkeys((*self.objectives, objective))),
            self.best or best,
        )


def likely_engines(bundle: Bundle, what_if: WhatIf) -> dict[EngineKey, Served]:
    """Find the engines that plans are likely to need between one robot and its servers.

    Args:
        bundle: the network.
        what_if: the devices and what can be chosen; its links give the delay alone, and its
            objective does not count.

    Returns:
        What each engine is good for, heads first, in order of the cuts.

    Raises:
        CodesignError: nothing can be planned with what is known.
    """
    problem = what_if_problem(bundle, what_if)
    served: dict[EngineKey, Served] = {}
    for objective in Objective:
        for rate_bps in sweep_bps():
            links = tuple(link.at_rate(rate_bps) for link in problem.links)
            solution = grid(replace(problem, links=links, objective=objective))
            for at, plan in enumerate(near_plans(solution)):
                for key in engines_of(plan, bundle.last_cut):
                    known = served.get(key, Served(rate_bps, rate_bps, (), False))
                    served[key] = known.also(rate_bps, objective, best=at == 0)
    return dict(sorted(served.items(), key=lambda item: (item[0].part, item[0].cut)))


def sweep_bps() -> Iterable[float]:
    """Link rates, evenly spread by their logarithm [bit/s]."""
    decades = np.log10(FASTEST_BPS / SLOWEST_BPS)
    return np.geomspace(SLOWEST_BPS, FASTEST_BPS, round(decades * _RATES_A_DECADE) + 1).tolist()


def near_plans(solution: Solution) -> list[Plan]:
    """The best plan, then the best plans of other cuts that are worse by ``NEAR`` at most."""
    best, *others = solution.best_of_each_cut()
    limit = best.prediction.objective * (1 + NEAR)
    near = (row for row in others if row.prediction.objective <= limit)
    return [solution.plan_of(row) for row in (solution.best, *near)]


def engines_of(plan: Plan, segments: int) -> list[EngineKey]:
    """The engines that a plan runs: none for a half without segments."""
    heads = [head_key(plan)] if plan.cut > 0 else []
    return [*heads, *([tail_key(plan)] if plan.cut < segments else [])]
