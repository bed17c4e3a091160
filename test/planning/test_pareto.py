"""The front of time and accuracy loss against brute force."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from codesign_ros.planning.candidates import evaluate
from codesign_ros.planning.grid import grid
from codesign_ros.planning.objective import Objective
from codesign_ros.planning.pareto import pareto
from codesign_ros.planning.problem import Limits, Problem
from codesign_ros.types.errors import CodesignError
from support.planning import LINK, random_tables


def problem_of(seed, **more):
    return Problem(random_tables(seed, unknown=0.1), links=(LINK,), lambda_1=0.1, **more)


def all_points(problem):
    """Time and loss of every candidate that keeps the limits, one by one."""
    evaluation = evaluate(problem)
    found = []
    for index in np.argwhere(np.isfinite(evaluation.objective)):
        prediction = evaluation.row(index).prediction
        time_s = (
            prediction.latency_s if problem.objective is Objective.LATENCY else prediction.pace_s
        )
        found.append((time_s, prediction.accuracy_loss))
    return sorted(set(found))


@pytest.mark.parametrize("objective", Objective)
@pytest.mark.parametrize("seed", range(5))
def test_front_is_what_nothing_dominates(seed, objective):
    problem = problem_of(seed, objective=objective)
    points = np.array(all_points(problem))
    expected = [
        (time_s, loss)
        for time_s, loss in points
        if not (
            (points[:, 0] <= time_s)
            & (points[:, 1] <= loss)
            & ((points[:, 0] < time_s) | (points[:, 1] < loss))
        ).any()
    ]
    front = pareto(evaluate(problem))
    assert [point.time_s for point in front] == pytest.approx([point[0] for point in expected])
    assert [point.accuracy_loss for point in front] == pytest.approx(
        [point[1] for point in expected]
    )
    for point in front:
        assert point.row.prediction.accuracy_loss == pytest.approx(point.accuracy_loss)


@pytest.mark.parametrize("objective", Objective)
@pytest.mark.parametrize("seed", range(5))
def test_each_lambda_1_has_its_plan(seed, objective):
    problem = problem_of(seed, objective=objective)
    front = [point for point in pareto(evaluate(problem)) if point.lambda_1 is not None]
    # The intervals follow each other without a gap.
    assert front[0].lambda_1[0] == 0
    assert front[-1].lambda_1[1] == math.inf
    for one, other in itertools.pairwise(front):
        assert one.lambda_1[1] == other.lambda_1[0]
        assert one.lambda_1[0] < one.lambda_1[1]
    for point in front:
        lower, upper = point.lambda_1
        inside = lower + 1.0 if upper == math.inf else 0.5 * (lower + upper)
        best = grid(dataclasses.replace(problem, lambda_1=inside)).best.prediction
        assert point.time_s + inside * point.accuracy_loss == pytest.approx(best.objective)
        assert best.accuracy_loss == pytest.approx(point.accuracy_loss)


def test_unsupported_plans_are_optimal_for_no_lambda_1():
    unsupported = 0
    for seed in range(5):
        problem = problem_of(seed)
        front = pareto(evaluate(problem))
        for point in front:
            if point.lambda_1 is None:
                unsupported += 1
                for lambda_1 in 10 ** np.linspace(-4, 3, 60):
                    best = min(
                        each.time_s + lambda_1 * each.accuracy_loss
                        for each in front
                        if each.lambda_1 is not None
                    )
                    assert point.time_s + lambda_1 * point.accuracy_loss >= best - 1e-12
    assert unsupported


def test_limits_cut_the_front():
    problem = problem_of(2)
    front = pareto(evaluate(problem))
    limit = front[1].accuracy_loss
    cut = pareto(evaluate(dataclasses.replace(problem, limits=Limits(accuracy_loss=limit))))
    assert [point.time_s for point in cut] == [point.time_s for point in front[1:]]
    with pytest.raises(CodesignError, match="no plan of known accuracy loss keeps the limits"):
        pareto(evaluate(dataclasses.replace(problem, limits=Limits(deadline_s=0.0))))


def test_unknown_losses_are_passed_over_at_lambda_1_0():
    tables = random_tables(1, unknown=0.5)
    without = pareto(evaluate(Problem(tables, links=(LINK,), lambda_1=0.0)))
    with_weight = pareto(evaluate(Problem(tables, links=(LINK,), lambda_1=1.0)))
    assert [p.row.candidate for p in without] == [p.row.candidate for p in with_weight]
