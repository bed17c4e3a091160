"""Gradient search of the joint problem (the paper's remark after Eq. 11).

The partition point becomes a number, lambda from 0 to 1 (share of depth; between two cuts costs are
interpolated), and every other choice a probability: softmax(z / temperature) over its entries. What
is minimised is the expected objective under the product of these distributions, by gradient descent
on lambda and all z, while the temperature falls and the distributions become choices. The end is
rounded to a real candidate. The objective is not convex in this form, so several starts are made
and the report says how far from the exhaustive optimum they ended, and in which choices they
differ from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codesign_ros.planning.candidates import Candidates
from codesign_ros.planning.grid import grid
from codesign_ros.planning.problem import Candidate, Problem, Row

# Temperatures at the first and the last step.
_HOT, _COLD = 1.0, 0.05
# Lambda's step in relation to the logits'.
_DEPTH_RATE = 0.3
_LEAST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class GradientResult:
    """What the gradient search found, and what the grid finds.

    Attributes:
        best: the best candidate of all runs.
        optimum: the exhaustive optimum.
        endings: the real candidate to which the end of each run was rounded.
    """

    best: Row
    optimum: Row
    endings: tuple[Row, ...]

    @property
    def gap_s(self) -> float:
        """By how much the objective is above the optimum's [s]."""
        return self.best.prediction.objective - self.optimum.prediction.objective

    @property
    def is_stuck(self) -> bool:
        """Whether the optimum is truly better."""
        return self.gap_s > 1e-9 * abs(self.optimum.prediction.objective)

    @property
    def report(self) -> str:
        """What was found, in a sentence."""
        missed = sum(
            row.prediction.objective > self.best.prediction.objective for row in self.endings
        )
        runs = f"{len(self.endings) - missed} of {len(self.endings)} starts ended there"
        if not self.is_stuck:
            return f"gradient search agrees with the grid ({runs})"
        found, best = self.best.candidate, self.optimum.candidate
        return (
            f"gradient search stuck at cut {found.cut}, {1e3 * self.gap_s:.3g} ms above the grid's "
            f"optimum at cut {best.cut} ({runs}); it has {_differences(found, best)}"
        )


class Relaxation:
    """The expected objective as a function of lambda and the choices' probabilities.

    At a cut it is the expectation given that the candidate is one that exists and keeps the limits:
    where a codec does not fit a cut, the others' probabilities decide. Between cuts it is
    interpolated.

    Args:
        evaluation: all candidates; at least one keeps the limits.

    Attributes:
        depth: (n,) lambda of the cuts at which there is a candidate.
        sizes: how many entries each choice has: head, tail, merge, precision, codec, server.
    """

    def __init__(self, evaluation: Candidates) -> None:
        objective = evaluation.objective.copy()
        # An empty half has the other's structure, whatever is chosen for it, and what stays on the
        # robot is not encoded or served, whatever is chosen for that.
        objective[0] = np.diagonal(objective[0], axis1=0, axis2=1).transpose(4, 0, 1, 2, 3)[None]
        alone = np.diagonal(objective[-1], axis1=0, axis2=1).min(axis=(2, 3)).transpose(2, 0, 1)
        objective[-1] = alone[:, None, :, :, None, None]
        self._evaluation = evaluation
        self._cuts = np.flatnonzero(np.isfinite(objective).any(axis=(1, 2, 3, 4, 5, 6)))
        self.depth = self._cuts / (len(objective) - 1)
        if len(self._cuts) == 1:
            # The one cut there is stands at both ends, so that lambda changes nothing.
            self._cuts, self.depth = self._cuts.repeat(2), np.array([0.0, 1.0])
        exists = np.isfinite(objective[self._cuts])
        # What is summed with the probabilities: the objective where there is one, and 1.
        self._summed = np.stack((np.where(exists, objective[self._cuts], 0.0), exists), axis=1)
        self.sizes = exists.shape[1:]

    def expected(
        self, depth: float, probabilities: Sequence[np.ndarray]
    ) -> tuple[float, float, list[np.ndarray]]:
        """Work out the expected objective and its derivatives.

        With N the sum of the objective over what exists and D the probability of that, a cut's
        expectation is E = N / D, and its derivative by the probability of entry i
        (N_i - E D_i) / D, where N_i and D_i are the sums given i.

        Args:
            depth: lambda.
            probabilities: of each choice's entries.

        Returns:
            The expectation, its derivative by lambda, and for each choice its derivatives by the
            entries' probabilities [s].
        """
        piece, share = self._piece(depth)
        # Both cuts around lambda and both sums: (2, 2, choices...).
        around = self._summed[piece : piece + 2]
        given: list[np.ndarray] = []
        for axis in reversed(range(len(self.sizes))):
            # All choices after this one are summed over already; now those before it.
            left = around
            for before in probabilities[:axis]:
                left = np.tensordot(left, before, axes=(2, 0))
            given.insert(0, left)
            around = around @ probabilities[axis]
        sums, exist = around[:, 0], around[:, 1]
        expected = sums / exist
        parts = np.array([1.0 - share, share])
        slope = (expected[1] - expected[0]) / (self.depth[piece + 1] - self.depth[piece])
        derivatives = [
            (parts / exist) @ (each[:, 0] - expected[:, None] * each[:, 1]) for each in given
        ]
        return float(parts @ expected), float(slope), derivatives

    def rounded(self, depth: float, probabilities: Sequence[np.ndarray]) -> Row:
        """The most probable real candidate at the two cuts around lambda."""
        weight = np.ones(())
        for each in probabilities:
            weight = np.multiply.outer(weight, each)
        piece, share = self._piece(depth)
        around = ((self._cuts[piece], 1.0 - share), (self._cuts[piece + 1], share))
        last = len(self._evaluation.objective) - 1
        best, best_weight = None, -1.0
        for cut, part in around:
            real = np.isfinite(self._evaluation.objective[cut])
            likely = weight
            if cut == 0:
                # The head's structure is void, so the tail's alone counts.
                likely = np.broadcast_to(weight.sum(axis=0), weight.shape)
            elif cut == last:
                sums = weight.sum(axis=(1, 4, 5))[:, None, :, :, None, None]
                likely = np.broadcast_to(sums, weight.shape)
            likely = np.where(real, part * likely, -1.0)
            if likely.max() > best_weight:
                best_weight = float(likely.max())
                best = (cut, *np.unravel_index(int(likely.argmax()), likely.shape))
        assert best is not None  # both cuts have a real candidate
        return self._evaluation.row([int(i) for i in best])

    def _piece(self, depth: float) -> tuple[int, float]:
        """Which two cuts lambda is between, and how far it is from the first to the second."""
        last = len(self.depth) - 2
        piece = min(last, max(0, int(np.searchsorted(self.depth, depth, side="right")) - 1))
        lower, upper = float(self.depth[piece]), float(self.depth[piece + 1])
        return piece, (depth - lower) / (upper - lower)


def softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities of a choice's entries; none is quite 0, so that what exists never is."""
    powers = np.exp((logits - logits.max()) / temperature) + _LEAST_PROBABILITY
    return powers / powers.sum()


def gradient_step(
    relaxation: Relaxation,
    depth: float,
    logits: Sequence[np.ndarray],
    temperature: float,
    rate: float,
) -> tuple[float, list[np.ndarray]]:
    """Take one step of projected, normalised gradient descent.

    With p = softmax(z / temperature) and g the derivatives by p, those by z are
    p_i (g_i - sum p g) / temperature. Of every choice the logit with the steepest derivative moves
    by ``rate``, the others in proportion; lambda moves downhill by 0.3 times rate times
    temperature, since at a cut its slope jumps and steps of one length would never settle.

    Args:
        relaxation: what to descend.
        depth: lambda.
        logits: z of each choice.
        temperature: of the softmax.
        rate: step size.

    Returns:
        The next lambda and logits.
    """
    probabilities = [softmax(each, temperature) for each in logits]
    _, slope, derivatives = relaxation.expected(depth, probabilities)
    moved = []
    for z, p, g in zip(logits, probabilities, derivatives, strict=True):
        gradient = p * (g - p @ g) / temperature
        steepest = float(np.abs(gradient).max())
        moved.append(z - rate * gradient / steepest if steepest > 0 else z)
    next_depth = depth - _DEPTH_RATE * rate * temperature * float(np.sign(slope))
    return min(1.0, max(0.0, next_depth)), moved


def gradient_search(
    problem: Problem,
    starts: Sequence[float] = (0.5, 0.0, 0.25, 0.75, 1.0),
    steps: int = 150,
    rate: float = 0.1,
    seed: int = 0,
) -> GradientResult:
    """Search the joint problem by gradient descent from several starts, and compare with the grid.

    The first start has even probabilities, the others random ones.

    Args:
        problem: what to solve.
        starts: lambda of each start.
        steps: gradient steps of each run.
        rate: step size, see :func:`gradient_step`.
        seed: of the random probabilities.

    Raises:
        CodesignError: no candidate has a known cost or keeps the limits.
    """
    solution = grid(problem)
    relaxation = Relaxation(solution.evaluation)
    rng = np.random.default_rng(seed)
    endings = []
    for number, start in enumerate(starts):
        logits = [0.5 * (number > 0) * rng.standard_normal(size) for size in relaxation.sizes]
        endings.append(_descend(relaxation, start, logits, steps, rate))
    best = min(endings, key=lambda row: row.prediction.objective)
    return GradientResult(best, solution.best, tuple(endings))


def _descend(
    relaxation: Relaxation, start: float, logits: list[np.ndarray], steps: int, rate: float
) -> Row:
    depth = start
    for temperature in np.geomspace(_HOT, _COLD, steps):
        depth, logits = gradient_step(relaxation, depth, logits, float(temperature), rate)
    return relaxation.rounded(depth, [softmax(each, _COLD) for each in logits])


def _differences(found: Candidate, best: Candidate) -> str:
    """Name the choices in which two candidates differ."""
    names = ("head_structure", "tail_structure", "merge", "precision", "codec", "server")
    pairs = [
        f"{name.replace('_', ' ')} {_text(getattr(found, name))} instead of "
        f"{_text(getattr(best, name))}"
        for name in names
        if getattr(found, name) != getattr(best, name)
    ]
    return ", ".join(pairs) or "all else in common"


def _text(value: object) -> str:
    return str(getattr(value, "value", value)) or "none"
