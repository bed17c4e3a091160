"""What ``codesign split-train --convergence`` shows: section V's limits and rate, simulated."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from codesign_ros.console import right
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
from codesign_ros.types.errors import CodesignError

MU, SMOOTHNESS = 1.0, 10.0
ITERATIONS = 200
# Mini-batches: mean squared length of the gradient's noise, runs that are averaged, eta * L.
_VARIANCE, _RUNS, _NOISY_STEP = 40.0, 50, 0.5
_ROUNDING = 1e-9


@dataclass(frozen=True)
class StepRow:
    """Gradient descent with one step size.

    Attributes:
        name: the step size as a formula.
        step: eta.
        below_eq24: eta < 2 / mu.
        below_eq26: eta <= 2 / L.
        loss_change: of the first iteration, as a share of the first gap; above 0 the loss grew.
        eq18_change: what Eq. 18 has for it, a lower bound.
        descent_change: the descent lemma's upper bound of it.
        gap_share: gap after all iterations as a share of the first.
        eq27_share: what Eq. 27 allows.
        eq27_holds: in every iteration.
        exact_factor: largest possible factor of one iteration.
    """

    name: str
    step: float
    below_eq24: bool
    below_eq26: bool
    loss_change: float
    eq18_change: float
    descent_change: float
    gap_share: float
    eq27_share: float
    eq27_holds: bool
    exact_factor: float


@dataclass(frozen=True)
class Convergence:
    """All that was simulated; gaps (iterations + 1,) by name of the step size.

    Attributes:
        mu: strong convexity of the problem, from its Hessian.
        smoothness: L, likewise.
        rows: one for each step size.
        gaps: L(w^(k)) - L(w*) of each.
        noisy_mean: mean gap over the runs with noisy gradients.
        noisy_bound: its bound.
        noisy_step: eta of those runs.
    """

    mu: float
    smoothness: float
    rows: tuple[StepRow, ...]
    gaps: dict[str, np.ndarray]
    noisy_mean: np.ndarray
    noisy_bound: np.ndarray
    noisy_step: float

    def document(self) -> dict[str, Any]:
        """Everything but the curves, for JSON; a gap too large for a number is null."""
        rows = [
            {key: None if value == np.inf else value for key, value in asdict(row).items()}
            for row in self.rows
        ]
        return {
            "simulated": True,
            "mu": self.mu,
            "smoothness": self.smoothness,
            "iterations": len(self.noisy_mean) - 1,
            "limits": step_limits(self.mu, self.smoothness),
            "steps": rows,
            "noisy": {
                "step": self.noisy_step,
                "variance": _VARIANCE,
                "runs": _RUNS,
                "mean_gap": float(self.noisy_mean[-1]),
                "bound": float(self.noisy_bound[-1]),
            },
        }


def simulate(seed: int = 1, iterations: int = ITERATIONS) -> Convergence:
    """Run gradient descent at the limits of Eq. 24-27, inside and outside of them."""
    problem = make_ridge(MU, SMOOTHNESS, seed=seed)
    mu, smoothness = problem.curvature
    limits = step_limits(mu, smoothness)
    steps = {
        "1/L": 1 / smoothness,
        "3/(2L)": limits["eq27_proven"],
        "(2-mu/(2L))/L": limits["eq27"],
        "1.99/L": 1.99 / smoothness,
        "2/L": limits["eq26"],
        "2.05/L": 2.05 / smoothness,
        "1/mu": 1 / mu,
    }
    gaps = {name: descend(problem, step, iterations) for name, step in steps.items()}
    noisy_step = _NOISY_STEP / smoothness
    runs = [
        descend(problem, noisy_step, iterations, variance=_VARIANCE, seed=seed + run)
        for run in range(_RUNS)
    ]
    factors, floor = noise_bound(noisy_step, mu, smoothness, _VARIANCE, iterations)
    return Convergence(
        mu=mu,
        smoothness=smoothness,
        rows=tuple(_row(problem, name, step, gaps[name]) for name, step in steps.items()),
        gaps=gaps,
        noisy_mean=np.mean(runs, 0),
        noisy_bound=factors * runs[0][0] + floor,
        noisy_step=noisy_step,
    )


def _row(problem: SplitRidge, name: str, step: float, gaps: np.ndarray) -> StepRow:
    mu, smoothness = problem.curvature
    gradient = problem.gradient(problem.start)
    allowed = paper_factor(step, mu) ** np.arange(len(gaps)) * gaps[0]
    return StepRow(
        name=name,
        step=step,
        below_eq24=step < 2 / mu,
        below_eq26=step <= 2 / smoothness,
        loss_change=float((gaps[1] - gaps[0]) / gaps[0]),
        eq18_change=lower_bound_eq18(0.0, gradient, step, mu) / gaps[0],
        descent_change=upper_bound(0.0, gradient, step, smoothness) / gaps[0],
        gap_share=float(gaps[-1] / gaps[0]),
        eq27_share=float(allowed[-1] / gaps[0]),
        eq27_holds=bool((gaps <= allowed * (1 + _ROUNDING)).all()),
        exact_factor=exact_factor(step, mu, smoothness),
    )


def print_convergence(result: Convergence, console: Console) -> None:
    """Print limits, table and what mini-batches change."""
    mu, smoothness = result.mu, result.smoothness
    iterations = len(result.noisy_mean) - 1
    limits = step_limits(mu, smoothness)
    console.print(
        f"Simulated: ridge regression in two halves, mu {mu:.4g}, L {smoothness:.4g}, "
        f"{iterations} iterations\n"
        f"Step limits: Eq. 24 2/mu = {limits['eq24']:.4g}; Eq. 26 2/L = {limits['eq26']:.4g}; "
        f"Eq. 27 holds to (2-mu/(2L))/L = {limits['eq27']:.4g}"
    )
    headings = (
        *("", "in\nEq. 24", "in\nEq. 26", "1st step:\nEq. 18 >=", "\nsimulated"),
        *("descent\nlemma <=", "last\ngap", "Eq. 27\n<=", "Eq. 27\nholds"),
    )
    table = Table(
        Column("eta", no_wrap=True),
        *right(*headings, no_wrap=True),
        title="Gradient descent (Eq. 15): changes and gaps as shares of the first gap",
    )
    words = {True: "yes", False: "no"}
    for row in result.rows:
        table.add_row(
            row.name,
            f"{row.step:.4f}",
            words[row.below_eq24],
            words[row.below_eq26],
            f"{row.eq18_change:+.3f}",
            f"{row.loss_change:+.3f}",
            f"{row.descent_change:+.3f}",
            f"{row.gap_share:.1e}",
            f"{row.eq27_share:.1e}",
            words[row.eq27_holds],
        )
    console.print(table)
    allowed = paper_factor(result.noisy_step, mu) ** iterations * result.noisy_mean[0]
    console.print(
        f"With noisy gradients (sigma^2 {_VARIANCE:g}, eta {result.noisy_step:.4g}, mean of "
        f"{_RUNS} runs) the gap ends at {result.noisy_mean[-1]:.3g}; the bound with noise allows "
        f"{result.noisy_bound[-1]:.3g}, Eq. 27 {allowed:.3g}"
    )


def draw_convergence(result: Convergence, path: Path) -> None:
    """Draw the gaps and their bounds as a PNG.

    Raises:
        CodesignError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # takes a second, and only this needs it

    figure = Figure((11.0, 4.4), layout="constrained")
    exact, noisy = figure.subplots(1, 2)
    for row in result.rows:
        gaps = result.gaps[row.name]
        iterations = np.arange(len(gaps))
        (line,) = exact.plot(iterations, gaps / gaps[0], label=f"eta = {row.name}")
        allowed = paper_factor(row.step, result.mu) ** iterations
        exact.plot(iterations, allowed, "--", color=line.get_color(), linewidth=0.8)
    exact.set_ylim(1e-8, 1e4)
    exact.set_title("exact gradients; dashed: Eq. 27", fontsize="medium")
    exact.set_ylabel("gap / first gap")
    iterations = np.arange(len(result.noisy_mean))
    first = result.noisy_mean[0]
    noisy.plot(iterations, result.noisy_mean / first, label=f"mean of {_RUNS} runs")
    noisy.plot(iterations, result.noisy_bound / first, "--", label="bound with noise")
    allowed = paper_factor(result.noisy_step, result.mu) ** iterations
    noisy.plot(iterations, allowed, ":", label="Eq. 27")
    noisy.set_title(
        f"noisy gradients, eta = {_NOISY_STEP:g}/L, sigma^2 = {_VARIANCE:g}", fontsize="medium"
    )
    for axis in (exact, noisy):
        axis.set_yscale("log")
        axis.set_xlabel("iteration")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize="small")
    figure.suptitle(
        f"Simulated: ridge regression in two halves, mu = {result.mu:.3g}, "
        f"L = {result.smoothness:.3g}"
    )
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise CodesignError(f"cannot write {path}: {error.strerror}") from None
    except ValueError as error:
        raise CodesignError(f"cannot write {path}: {error}") from None
