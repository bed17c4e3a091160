"""The multiple-choice knapsack against trying every combination."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.planning.knapsack import choose
from codesign_ros.types.errors import CodesignError


def tried(time_s, loss, lambda_1, limit):
    """Least cost over every combination; inf where none is within the limit."""
    best = math.inf
    for picks in itertools.product(range(time_s.shape[1]), repeat=len(time_s)):
        rows = np.arange(len(picks)), list(picks)
        if loss[rows].sum() <= limit + 1e-12:
            best = min(best, time_s[rows].sum() + lambda_1 * loss[rows].sum())
    return best


@given(
    seed=st.integers(0, 2**32 - 1),
    blocks=st.integers(1, 5),
    choices=st.integers(1, 4),
    lambda_1=st.sampled_from([0.0, 0.3, 2.0]),
    share=st.floats(-0.2, 1.2),
    coarse=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_nothing_that_can_be_chosen_is_better(seed, blocks, choices, lambda_1, share, coarse):
    rng = np.random.default_rng(seed)
    time_s, loss = rng.normal(size=(2, blocks, choices))
    if coarse:  # many equal sums
        time_s, loss = time_s.round(), loss.round()
    least, most = loss.min(1).sum(), loss.max(1).sum()
    limit = least + share * (most - least)
    expected = tried(time_s, loss, lambda_1, limit)
    if math.isinf(expected):
        with pytest.raises(CodesignError, match="together"):
            choose(time_s, loss, lambda_1, limit)
        return
    chosen = np.arange(blocks), choose(time_s, loss, lambda_1, limit)
    assert loss[chosen].sum() <= limit + 1e-9
    assert time_s[chosen].sum() + lambda_1 * loss[chosen].sum() == pytest.approx(expected)


def test_without_a_limit_each_block_decides_for_itself_and_ties_go_to_the_first():
    time_s = np.array([[0.0, -1.0, 3.0], [0.0, 0.0, 0.0], [0.0, -2.0, 1.0]])
    loss = np.array([[0.0, 0.5, -9.0], [0.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    # Costs with lambda_1 = 1: (0, -0.5, -6), (0, 0, 0), (0, 1, 1).
    assert choose(time_s, loss, 1.0).tolist() == [2, 0, 0]


def test_a_limit_spends_the_loss_where_it_buys_most():
    # Each of three blocks may lose 0.1 for 1, 5 or 3 ms; two of them are allowed.
    time_s = np.array([[0.0, -1e-3], [0.0, -5e-3], [0.0, -3e-3]])
    loss = np.array([[0.0, 0.1]] * 3)
    assert choose(time_s, loss, 0.0, 0.2).tolist() == [0, 1, 1]
    assert choose(time_s, loss, 0.0, 0.0).tolist() == [0, 0, 0]
    assert choose(time_s, loss, 0.0).tolist() == [1, 1, 1]


def test_two_dozen_blocks_are_no_matter():
    rng = np.random.default_rng(0)
    time_s, loss = rng.integers(-20, 20, (2, 24, 4)) / 1000
    chosen = np.arange(24), choose(time_s, loss, 0.1, -0.1)
    assert loss[chosen].sum() <= -0.1 + 1e-9


def test_a_limit_that_nothing_meets_says_what_could_be():
    with pytest.raises(CodesignError, match=r"at most 0\.0100.* is 0\.0300") as error:
        choose(np.zeros((2, 2)), np.array([[0.01, 0.5], [0.7, 0.02]]), 1.0, 0.01)
    assert "\n" not in str(error.value)
