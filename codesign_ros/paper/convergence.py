"""The convergence analysis of section V (Eq. 16-27), checked on a problem where all is known.

What the paper says, and what holds, for a loss L that is mu-strongly convex (Eq. 16) and whose
gradient is L-Lipschitz (Eq. 25; ``smoothness`` here), with steps w+ = w - eta g (Eq. 15):

- Eq. 16-18 are right, but are *lower* bounds on L(w+): ``L(w+) >= L(w) - (eta - mu eta^2 / 2)
  |g|^2``. The paper reads them as the decrease of the loss. That the right-hand side is below L(w)
  (Eq. 19-24) does not put L(w+) there. They show the opposite: with ``eta >= 2 / mu`` the loss
  cannot decrease. So Eq. 24, ``eta < 2 / mu``, is necessary and not sufficient, and it is an upper
  limit, not "the lower bound on the learning rate". With L = (x^2 + 10 y^2) / 2, eta = 1 and
  2 / mu = 2, one step from (0, 1) takes the loss from 5 to 405.
- What bounds the loss from above is smoothness: ``L(w+) <= L(w) - eta (1 - eta L / 2) |g|^2``, the
  same form with mu changed for L. It decreases for ``0 < eta < 2 / L``: Eq. 26 without its right
  end. At ``eta = 2 / L`` the steepest direction of a quadratic changes its sign for ever.
- Eq. 27, ``gap_k <= (1 - eta mu / 2)^k gap_0``, does not follow from what stands before it.
  Smoothness and ``|g|^2 >= 2 mu gap`` (Eq. 16, minimised over w') give ``gap+ <= (1 - 2 eta mu
  (1 - eta L / 2)) gap``, which implies Eq. 27 for ``eta <= 3 / (2 L)``. On a quadratic the exact
  factor is ``max((1 - eta mu)^2, (1 - eta L)^2)``, so Eq. 27 holds for all starts if and only if
  ``eta <= (2 - mu / (2 L)) / L``, a little short of the 2 / L of Eq. 26.
- Strong convexity is needed in (w_1, w_2) together. In each of them alone it is not enough:
  x^2 / 2 + y^2 / 2 + 2 x y has no minimum. A neural network has not even that:
  (w_1 w_2 - 1)^2 / 2, a linear head and a linear tail, is not convex. Eq. 12-15, that the halves do
  what the whole does, need none of this; see ``split_training``.
- The analysis has exact gradients. With those of mini-batches, of variance sigma^2, the gap does
  not go to zero: for ``eta <= 1 / L`` its mean is at most ``(1 - eta mu)^k gap_0 + eta L sigma^2 /
  (2 mu)``.

Numpy only: what is here is simulated, in double precision, in one process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codesign_ros.types.errors import CodesignError


@dataclass(frozen=True)
class SplitRidge:
    """Ridge regression whose features are divided between head and tail.

    ``L(w_1, w_2) = |A_1 w_1 + A_2 w_2 - b|^2 / (2 m) + r / 2 (|w_1|^2 + |w_2|^2)``

    The head sends ``A_1 w_1`` (m numbers), the tail answers with the loss's gradient by it. The
    loss is quadratic in (w_1, w_2) with Hessian ``A^T A / m + r I``, A = [A_1, A_2], so it is
    strongly convex in both together; the smallest and largest eigenvalue are mu and L.

    Attributes:
        head_features: A_1, (m, p_1).
        tail_features: A_2, (m, p_2).
        targets: b, (m,).
        ridge: r > 0.
    """

    head_features: np.ndarray
    tail_features: np.ndarray
    targets: np.ndarray
    ridge: float

    @property
    def hessian(self) -> np.ndarray:
        """Second derivative of the loss, (p, p) with p = p_1 + p_2."""
        features = np.hstack([self.head_features, self.tail_features])
        return features.T @ features / len(features) + self.ridge * np.eye(features.shape[1])

    @property
    def curvature(self) -> tuple[float, float]:
        """Constants mu and L of Eq. 16 and 25."""
        values = np.linalg.eigvalsh(self.hessian)
        return float(values[0]), float(values[-1])

    @property
    def optimum(self) -> np.ndarray:
        """w*, (p,)."""
        features = np.hstack([self.head_features, self.tail_features])
        return np.linalg.solve(self.hessian, features.T @ self.targets / len(features))

    @property
    def start(self) -> np.ndarray:
        """w^(0), (p,): as far from the optimum along each axis of the Hessian; none is spared."""
        return self.optimum + np.linalg.eigh(self.hessian)[1].sum(1)

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """[g_1, g_2] (Eq. 13) at w = [w_1, w_2], each from what crosses to its side; (p,)."""
        head, tail = np.split(weights, [self.head_features.shape[1]])
        activation = self.head_features @ head
        # At the tail: the gradient by the activation, which goes back, and its own.
        back = (activation + self.tail_features @ tail - self.targets) / len(self.targets)
        tail_gradient = self.tail_features.T @ back + self.ridge * tail
        # At the head: the chain rule's last link.
        head_gradient = self.head_features.T @ back + self.ridge * head
        return np.concatenate([head_gradient, tail_gradient])


def make_ridge(
    mu: float,
    smoothness: float,
    *,
    head_weights: int = 6,
    tail_weights: int = 6,
    samples: int = 60,
    seed: int = 1,
) -> SplitRidge:
    """Make a problem with given constants; half of mu comes from the ridge.

    Raises:
        CodesignError: not ``0 < mu < smoothness``, or fewer samples than weights.
    """
    weights = head_weights + tail_weights
    if not 0 < mu < smoothness or samples < weights or min(head_weights, tail_weights) < 1:
        raise CodesignError(
            "a ridge problem needs 0 < mu < L, a weight on each side and a sample for each "
            f"weight; not mu {mu:g}, L {smoothness:g}, {head_weights} + {tail_weights} weights, "
            f"{samples} samples"
        )
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.standard_normal((samples, weights)))
    right, _ = np.linalg.qr(rng.standard_normal((weights, weights)))
    ridge = mu / 2
    eigenvalues = np.geomspace(mu, smoothness, weights)
    features = left * np.sqrt(samples * (eigenvalues - ridge)) @ right.T
    targets = features @ rng.standard_normal(weights) + rng.standard_normal(samples)
    return SplitRidge(features[:, :head_weights], features[:, head_weights:], targets, ridge)


def step_limits(mu: float, smoothness: float) -> dict[str, float]:
    """Largest step sizes: what the paper names and what is true.

    Returns:
        ``eq24`` 2 / mu; ``eq26`` 2 / L; ``eq27`` the largest step for which Eq. 27 holds on every
        quadratic, (2 - mu / (2 L)) / L; ``eq27_proven`` that for every such loss, by the proof
        above, 3 / (2 L).
    """
    return {
        "eq24": 2 / mu,
        "eq26": 2 / smoothness,
        "eq27": (2 - mu / (2 * smoothness)) / smoothness,
        "eq27_proven": 1.5 / smoothness,
    }


def paper_factor(step: float, mu: float) -> float:
    """Factor of Eq. 27 for one iteration, 1 - eta mu / 2."""
    return 1 - step * mu / 2


def exact_factor(step: float, mu: float, smoothness: float) -> float:
    """Largest factor of the gap in one iteration on a quadratic."""
    return max((1 - step * mu) ** 2, (1 - step * smoothness) ** 2)


def lower_bound_eq18(loss: float, gradient: np.ndarray, step: float, mu: float) -> float:
    """Right-hand side of Eq. 18, below which the next loss cannot be."""
    return loss - (step - mu * step**2 / 2) * float(gradient @ gradient)


def upper_bound(loss: float, gradient: np.ndarray, step: float, smoothness: float) -> float:
    """What the next loss cannot exceed (the descent lemma): Eq. 18 with L for mu."""
    return loss - (step - smoothness * step**2 / 2) * float(gradient @ gradient)


def noise_bound(
    step: float, mu: float, smoothness: float, variance: float, iterations: int
) -> tuple[np.ndarray, float]:
    """Bound of the mean gap with noisy gradients, for step <= 1 / L.

    Args:
        step: eta.
        mu: strong convexity.
        smoothness: L.
        variance: sigma^2, mean squared length of the noise.
        iterations: K.

    Returns:
        Factors (1 - eta mu)^k of the first gap for k = 0..K, and the floor eta L sigma^2 / (2 mu).
    """
    factors = (1 - step * mu) ** np.arange(iterations + 1)
    return factors, step * smoothness * variance / (2 * mu)


def descend(
    problem: SplitRidge,
    step: float,
    iterations: int,
    *,
    variance: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """Iterate Eq. 15 from ``problem.start``.

    Args:
        problem: whose loss goes down, or not.
        step: eta > 0.
        iterations: K.
        variance: mean squared length of Gaussian noise on the gradient.
        seed: of the noise.

    Returns:
        Gaps L(w^(k)) - L(w*) for k = 0..K; infinite where they are too large for a number.
    """
    rng = np.random.default_rng(seed)
    optimum, hessian = problem.optimum, problem.hessian
    weights = problem.start
    scale = np.sqrt(variance / len(weights))
    gaps = []
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(iterations + 1):
            # Not as a difference of two losses, which would drown in rounding.
            away = weights - optimum
            gap = float(away @ hessian @ away) / 2
            gaps.append(gap if np.isfinite(gap) else np.inf)
            noise = scale * rng.standard_normal(len(weights))
            weights = weights - step * (problem.gradient(weights) + noise)
    return np.array(gaps)
