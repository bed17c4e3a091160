"""Section V's bounds against plain numpy, and where they do not hold."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from codesign_ros.paper.convergence import (
    SplitRidge,
    descend,
    exact_factor,
    lower_bound_eq18,
    make_ridge,
    noise_bound,
    paper_factor,
    step_limits,
    upper_bound,
)
from codesign_ros.paper.convergence_report import draw_convergence, print_convergence, simulate
from codesign_ros.types.errors import CodesignError

numbers = st.floats(0.1, 10)


def valley(mu=1.0, steep=10.0):
    """(mu x^2 + steep y^2) / 2 with x at the head and y at the tail, as a ridge problem."""
    ridge = mu / 2
    features = np.sqrt(2 * (np.diag([mu, steep]) - ridge * np.eye(2)))
    return SplitRidge(features[:, :1], features[:, 1:], np.zeros(2), ridge)


def loss_of(problem, weights):
    """L(w) of a ridge problem as its definition has it, without sides."""
    features = np.hstack([problem.head_features, problem.tail_features])
    residual = features @ weights - problem.targets
    return residual @ residual / (2 * len(residual)) + problem.ridge / 2 * weights @ weights


def test_constants_of_the_problem_are_those_asked_for():
    problem = make_ridge(0.5, 8.0, seed=3)
    assert problem.curvature == pytest.approx((0.5, 8.0))
    # The Hessian by differences of the gradient.
    point, width = problem.start, 12
    columns = [
        (problem.gradient(point + 1e-3 * axis) - problem.gradient(point - 1e-3 * axis)) / 2e-3
        for axis in np.eye(width)
    ]
    np.testing.assert_allclose(np.array(columns), problem.hessian, atol=1e-8)
    np.testing.assert_allclose(problem.gradient(problem.optimum), 0, atol=1e-12)
    assert loss_of(problem, problem.optimum) < loss_of(problem, point)


def test_gradients_of_the_two_sides_are_the_whole_gradient():
    """Eq. 12 and 13: by differences of the loss, which knows no sides."""
    problem = make_ridge(1.0, 5.0, head_weights=2, tail_weights=5, samples=9)
    point = np.random.default_rng(0).standard_normal(7)
    slopes = [
        (loss_of(problem, point + 1e-6 * axis) - loss_of(problem, point - 1e-6 * axis)) / 2e-6
        for axis in np.eye(7)
    ]
    np.testing.assert_allclose(problem.gradient(point), slopes, atol=1e-7)


@settings(max_examples=50, deadline=None)
@given(mu=numbers, ratio=st.floats(1.01, 50), share=st.floats(0.01, 3), seed=st.integers(0, 99))
def test_eq18_is_a_lower_bound_and_smoothness_gives_the_upper(mu, ratio, share, seed):
    problem = make_ridge(mu, mu * ratio, head_weights=2, tail_weights=2, samples=5, seed=seed)
    point = np.random.default_rng(seed).standard_normal(4)
    gradient, loss = problem.gradient(point), loss_of(problem, point)
    step = share / (mu * ratio)
    after = loss_of(problem, point - step * gradient)
    rounding = 1e-9 * max(loss, after)
    assert lower_bound_eq18(loss, gradient, step, mu) <= after + rounding
    assert after <= upper_bound(loss, gradient, step, mu * ratio) + rounding


def test_counterexample_eq17_and_eq24_do_not_make_the_loss_fall():
    """(x^2 + 10 y^2) / 2 at (0, 1) with eta = 1, well below 2 / mu = 2."""
    problem, point = valley(), np.array([0.0, 1.0])
    gradient = problem.gradient(point)
    assert 1.0 < step_limits(*problem.curvature)["eq24"] == pytest.approx(2.0)
    assert loss_of(problem, point) == pytest.approx(5.0)
    # Eq. 19 is met: the right-hand side of Eq. 18 lies far below the loss ...
    assert lower_bound_eq18(5.0, gradient, 1.0, 1.0) == pytest.approx(-45.0)
    # ... and the loss goes up, as the descent lemma allows it to.
    assert loss_of(problem, point - gradient) == pytest.approx(405.0)
    assert upper_bound(5.0, gradient, 1.0, 10.0) == pytest.approx(405.0)


@given(mu=numbers, ratio=st.floats(1, 50), excess=st.floats(0, 3), x=numbers, y=numbers)
def test_what_eq18_does_say_from_2_over_mu_on_the_loss_cannot_fall(mu, ratio, excess, x, y):
    """Eq. 24 is necessary: an upper limit of the step, not the paper's "lower bound"."""
    problem, point = valley(mu, mu * ratio), np.array([x, y])
    step = (2 + excess) / mu
    loss = loss_of(problem, point)
    assert loss_of(problem, point - step * problem.gradient(point)) >= loss * (1 - 1e-9)


def test_counterexample_eq26_at_its_right_end_nothing_converges():
    problem, point = valley(), np.array([0.0, 1.0])
    for _ in range(50):
        point = point - 0.2 * problem.gradient(point)
    assert loss_of(problem, point) == pytest.approx(5.0)  # it went from (0, 1) to (0, -1) and back
    assert paper_factor(0.2, 1.0) ** 50 * 5 < 0.03  # what Eq. 27 says


def test_counterexample_eq27_fails_just_inside_of_eq26():
    """eta = 0.198 < 2 / L = 0.2: the factor is 0.96, not 0.90."""
    problem, point = valley(), np.array([0.0, 1.0])
    after = loss_of(problem, point - 0.198 * problem.gradient(point))
    assert after / 5 == pytest.approx((1 - 1.98) ** 2)
    assert after / 5 > paper_factor(0.198, 1.0)


@given(mu=numbers, ratio=st.floats(1, 1000), share=st.floats(1e-3, 1))
def test_eq27_holds_exactly_as_far_as_its_limit(mu, ratio, share):
    smoothness = mu * ratio
    limits = step_limits(mu, smoothness)
    inside, outside = share * limits["eq27"], limits["eq27"] * (1 + 1e-6 + 0.1 * share)
    assert exact_factor(inside, mu, smoothness) <= paper_factor(inside, mu) * (1 + 1e-9)
    assert exact_factor(outside, mu, smoothness) > paper_factor(outside, mu)
    assert limits["eq27_proven"] <= limits["eq27"] * (1 + 1e-9)
    assert limits["eq27"] < limits["eq26"] <= limits["eq24"] * (1 + 1e-9)
    # The proof's factor, from the descent lemma and |g|^2 >= 2 mu gap.
    step = share * limits["eq27_proven"]
    proven = 1 - 2 * step * mu * (1 - step * smoothness / 2)
    assert proven <= paper_factor(step, mu) * (1 + 1e-9)


@pytest.mark.parametrize("name", ["eq27_proven", "eq27"])
def test_simulated_gaps_stay_below_eq27(name):
    problem = make_ridge(1.0, 20.0, seed=5)
    step = step_limits(*problem.curvature)[name]
    gaps = descend(problem, step, 80)
    # Independently: each axis of the Hessian shrinks by itself.
    values = np.linalg.eigvalsh(problem.hessian)
    powers = (1 - step * values) ** (2 * np.arange(81)[:, None])
    np.testing.assert_allclose(gaps, powers @ values / 2, rtol=1e-6, atol=1e-12)
    assert (gaps <= paper_factor(step, 1.0) ** np.arange(81) * gaps[0] * (1 + 1e-6)).all()


def test_counterexample_strong_convexity_in_each_half_alone_is_not_enough():
    """x^2 / 2 + y^2 / 2 + 2 x y: strongly convex in x and in y, yet it has no minimum."""
    hessian = np.array([[1.0, 2.0], [2.0, 1.0]])
    assert np.linalg.eigvalsh(hessian)[0] == pytest.approx(-1.0)
    point = np.array([1.0, -1.0])
    losses = []
    for _ in range(30):
        losses.append(point @ hessian @ point / 2)
        point = point - 0.2 * hessian @ point
    assert losses[0] == -1
    assert losses[-1] < -1e4


def test_counterexample_two_linear_layers_are_not_convex():
    """(w_1 w_2 - 1)^2 / 2 between two of its minima."""

    def loss(head, tail):
        return (head * tail - 1) ** 2 / 2

    assert loss(1, 1) == loss(-1, -1) == 0 < loss(0, 0)


def test_noisy_gradients_stay_above_zero_and_below_their_bound():
    problem = make_ridge(1.0, 10.0, seed=1)
    step, variance = 0.1, 30.0
    runs = [descend(problem, step, 120, variance=variance, seed=seed) for seed in range(100)]
    factors, floor = noise_bound(step, 1.0, 10.0, variance, 120)
    mean = np.mean(runs, 0)
    assert (mean <= factors * runs[0][0] + floor).all()
    # Where it ends, worked out axis by axis: shrinking and noise in balance.
    values = np.linalg.eigvalsh(problem.hessian)
    level = (values / 2 * step**2 * variance / 12 / (1 - (1 - step * values) ** 2)).sum()
    assert mean[60:].mean() == pytest.approx(level, rel=0.1)
    assert mean[-1] > paper_factor(step, 1.0) ** 120 * runs[0][0]  # Eq. 27 knows no noise


@pytest.mark.parametrize("constants", [(0, 1), (2, 1), (1, 1), (-1, 2)])
def test_constants_that_make_no_problem(constants):
    with pytest.raises(CodesignError, match="0 < mu < L"):
        make_ridge(*constants)


def test_report_says_what_holds(tmp_path):
    result = simulate(iterations=60)
    holds = {row.name: (row.below_eq24, row.below_eq26, row.eq27_holds) for row in result.rows}
    assert holds == {
        "1/L": (True, True, True),
        "3/(2L)": (True, True, True),
        "(2-mu/(2L))/L": (True, True, True),
        "1.99/L": (True, True, False),
        "2/L": (True, True, False),
        "2.05/L": (True, False, False),
        "1/mu": (True, False, False),
    }
    for row in result.rows:
        assert row.eq18_change <= row.loss_change <= row.descent_change + 1e-9
    assert result.rows[-1].eq18_change < 0 < result.rows[-1].loss_change
    document = json.loads(json.dumps(result.document(), allow_nan=False))
    assert document["simulated"] is True
    assert document["limits"]["eq26"] == pytest.approx(0.2)

    console = Console(width=110, record=True)
    print_convergence(result, console)
    text = console.export_text()
    assert "Simulated" in text
    assert "…" not in text

    draw_convergence(result, tmp_path / "rate.png")
    assert (tmp_path / "rate.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(CodesignError, match="cannot write"):
        draw_convergence(result, tmp_path / "none" / "rate.png")
