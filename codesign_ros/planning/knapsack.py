"""One of several choices for each of many blocks: the multiple-choice knapsack, solved exactly.

Times and losses of the blocks are taken to add up. Without a limit on the loss each block then
decides for itself; with one, the blocks are put together one by one and of the sums so far only
those are kept that no other one beats in both cost and loss (Nemhauser and Ullmann, "Discrete
Dynamic Programming and Capital Allocation", Management Science 1969).
"""

from __future__ import annotations

import math

import numpy as np

from codesign_ros.types.errors import CodesignError

# A limit met by the least losses alone must not fail in the last digit of the sums.
_ROUNDING = 1e-12


def choose(
    time_s: np.ndarray, loss: np.ndarray, lambda_1: float, loss_limit: float = math.inf
) -> np.ndarray:
    """Minimise the sum of ``time + lambda_1 * loss`` over one choice for each block.

    Takes time in proportion to the number of sums that are kept, which is small for a few dozen
    blocks whose measured numbers repeat, and could be all combinations in the worst case.

    Args:
        time_s: (blocks, choices) what a choice takes; may be negative (against some base) [s].
        loss: (blocks, choices) accuracy that it loses; may be negative.
        lambda_1: weight of the loss [s per unit].
        loss_limit: the losses of what is chosen add up to no more than this.

    Returns:
        (blocks,) index of each block's choice; of equal ones the first.

    Raises:
        CodesignError: nothing loses so little.
    """
    cost = time_s + lambda_1 * loss
    free = cost.argmin(1)
    blocks = np.arange(len(cost))
    if loss[blocks, free].sum() <= loss_limit + _ROUNDING:
        return free
    # Least loss that the blocks from each one on still bring.
    ahead = np.append(loss.min(1)[::-1].cumsum()[::-1], 0.0)
    if ahead[0] > loss_limit + _ROUNDING:
        raise CodesignError(
            f"no choice for the blocks loses at most {loss_limit:.4f}: the least that they lose "
            f"together is {ahead[0]:.4f}"
        )
    costs, losses = np.zeros(1), np.zeros(1)
    steps: list[tuple[np.ndarray, np.ndarray]] = []  # of each sum kept: the one before, the choice
    for block in blocks:
        all_costs = (costs[:, None] + cost[block]).ravel()
        all_losses = (losses[:, None] + loss[block]).ravel()
        order = np.lexsort((all_losses, all_costs))
        best_before = np.minimum.accumulate(all_losses[order])
        is_better = np.append(True, best_before[1:] < best_before[:-1])
        fits = all_losses[order] + ahead[block + 1] <= loss_limit + _ROUNDING
        kept = order[is_better & fits]
        costs, losses = all_costs[kept], all_losses[kept]
        before, choice = np.divmod(kept, cost.shape[1])
        steps.append((before, choice))
    at = 0  # the sums are sorted by their cost
    chosen = np.empty(len(cost), int)
    for block, (before, choice) in zip(blocks[::-1], reversed(steps), strict=True):
        chosen[block] = choice[at]
        at = int(before[at])
    return chosen
