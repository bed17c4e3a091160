"""Algorithm 1 of the paper: gradient descent on the partition point.

``total_time`` says what lambda and T_total are. Line 7 of the printed algorithm has lambda * N for
the tail too; Eq. 6, with 1 - lambda, is followed. With the attainable performance I * beta of Eq. 5
the total is piecewise linear: its local minima are cuts, and descent ends in the one that its start
leads to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.cost.roofline import RooflineMode
from codesign_ros.cost.tables import NO_CODEC
from codesign_ros.planning.total_time import SplitCurves, TotalTime
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec
from codesign_ros.types.plan import Plan

# Steps that short end the descent; without an alpha they start with a tenth [share of depth].
_LEAST_STEP = 1e-8
_TENTH = 0.1


@dataclass(frozen=True)
class DescentPoint:
    """One point of the descent.

    Attributes:
        depth: lambda.
        total_s: T_total of Eq. 7 [s].
        slope_s: derivative of T_total along which the next step goes [s per unit of lambda]; 0
            where neither side descends.
        intensity: I_1 [FLOP/byte].
    """

    depth: float
    total_s: float
    slope_s: float
    intensity: float


@dataclass(frozen=True)
class Descent:
    """One run of Algorithm 1.

    Attributes:
        trajectory: its points from the start on; the last one is lambda*.
        plan: the real cut nearest to lambda*, with its times.
        best_cut: the cut of least T_total among all that are known.
        best_s: its T_total [s].
        converged: whether it ended where no step goes down, before its steps were used up.
    """

    trajectory: tuple[DescentPoint, ...]
    plan: Plan
    best_cut: int
    best_s: float
    converged: bool

    @property
    def depth(self) -> float:
        """lambda*."""
        return self.trajectory[-1].depth

    @property
    def gap_s(self) -> float:
        """How much the plan takes longer than the best cut [s]."""
        return self.plan.latency_s - self.best_s

    @property
    def is_stuck(self) -> bool:
        """Whether another cut is truly faster."""
        return self.gap_s > 1e-9 * self.best_s

    @property
    def report(self) -> str:
        """Where the descent ended, in a sentence."""
        if not self.is_stuck:
            return f"gradient found the best cut, {self.plan.cut} ({1e3 * self.best_s:.4g} ms)"
        ended = "a local minimum" if self.converged else "out of steps"
        return (
            f"gradient stuck at cut {self.plan.cut} ({ended}), {1e3 * self.gap_s:.3g} ms above the "
            f"best cut {self.best_cut}"
        )


def algorithm_1(
    curves: SplitCurves,
    robot: DeviceSpec,
    server: DeviceSpec,
    link: LinkSpec,
    mode: RooflineMode = RooflineMode.PAPER,
    starts: Sequence[float] = (0.5,),
    alpha: float | None = None,
    max_iterations: int = 1000,
) -> Descent:
    """Minimise T_total over lambda by projected gradient descent.

    A step that would not lower T_total is halved until it does. Step 6, "adjust lambda or I_0 to
    maximize I_1" where I_1 is below the robot's I_m1, goes to the lambda of greatest I_1, but only
    if T_total is lower there: done whatever it costs, it would undo every step of the descent.

    Args:
        curves: the network.
        robot: hardware 1.
        server: hardware 2.
        link: between them; its delay counts for every cut but N.
        mode: how attainable performance follows from intensity.
        starts: lambda_0 of each run.
        alpha: step size [1/s]; None = chosen anew in every step so that it leads a tenth of the
            depth on, since the slopes of a network differ by orders of magnitude.
        max_iterations: most steps of a run.

    Returns:
        The run that ended lowest.

    Raises:
        CodesignError: a start is outside 0 to 1, or there is none.
    """
    if not starts or not all(0.0 <= start <= 1.0 for start in starts):
        raise CodesignError(f"Algorithm 1 needs starts from 0 to 1, not {list(starts)}")
    total = TotalTime(curves, robot, server, link, mode)
    runs = [_descend(total, float(start), alpha, max_iterations) for start in starts]
    return min((_described(total, *run) for run in runs), key=lambda each: each.plan.latency_s)


def _step(total: TotalTime, depth: float) -> DescentPoint:
    """Describe a point."""
    left, right = total.slopes_s(depth)
    # At a kink descent goes to the side that falls more steeply, if either falls.
    falls = [slope for slope in (min(0.0, right), max(0.0, left)) if slope]
    slope = max(falls, key=abs, default=0.0)
    return DescentPoint(depth, total(depth), slope, total.intensity(depth))


def _described(total: TotalTime, trajectory: Sequence[DescentPoint], converged: bool) -> Descent:
    """Round to the nearest cut and compare with all."""
    curves = total.curves
    totals = np.array([total(float(each)) for each in curves.depth])
    best = int(totals.argmin())
    nearest = int(np.abs(curves.depth - trajectory[-1].depth).argmin())
    head_s, link_s, tail_s = total.stages_s(float(curves.depth[nearest]))
    codecs = {0: curves.frame_codec, len(curves.cuts) - 1: NO_CODEC}
    plan = Plan(
        cut=int(curves.cuts[nearest]),
        head_structure=curves.structure,
        tail_structure=curves.structure,
        codec=codecs.get(nearest, curves.codec),
        server_available=True,
        head_s=head_s,
        link_s=link_s,
        tail_s=tail_s,
        payload_bytes=float(curves.payload_bytes[nearest]),
        link_bps=total.link.bandwidth_bps,
    )
    return Descent(tuple(trajectory), plan, int(curves.cuts[best]), float(totals[best]), converged)


def _descend(
    total: TotalTime, start: float, alpha: float | None, max_iterations: int
) -> tuple[list[DescentPoint], bool]:
    """Run lines 2 to 17 of Algorithm 1 from one lambda_0; tell whether it ended by itself."""
    trajectory = [_step(total, start)]
    for _ in range(max_iterations):
        here = trajectory[-1]
        depth = _next_depth(total, here, alpha)
        if depth != here.depth:
            trajectory.append(_step(total, depth))
        # Step 6 of the algorithm.
        is_memory_bound = trajectory[-1].intensity < total.robot.ridge_intensity
        if is_memory_bound and total(total.most_intense) < trajectory[-1].total_s:
            trajectory.append(_step(total, total.most_intense))
        if trajectory[-1] is here:
            return trajectory, True
    return trajectory, False


def _next_depth(total: TotalTime, here: DescentPoint, alpha: float | None) -> float:
    """Where line 13 leads, projected to 0 to 1; where the step starts if no step goes down."""
    move = _TENTH * float(np.sign(here.slope_s)) if alpha is None else alpha * here.slope_s
    while abs(move) > _LEAST_STEP:
        depth = min(1.0, max(0.0, here.depth - move))
        if total(depth) < here.total_s:
            return depth
        move *= 0.5
    return here.depth
