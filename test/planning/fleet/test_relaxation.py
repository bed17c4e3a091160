"""The fleet's relaxation on problems that can be solved by hand."""

import numpy as np
import pytest

from codesign_ros.planning.fleet.relaxation import Sums, relax


def oracle_of(*robots):
    """Robots given as arrays (K, 5) of what each choice adds to the sums."""

    def oracle(prices):
        choices = np.array([int((robot @ prices).argmin()) for robot in robots])
        return choices, sum(robot[i] for robot, i in zip(robots, choices, strict=True))

    return oracle


def mixed_sums(mix, robots):
    picked = [
        sum(robot[i] for robot, i in zip(robots, choices, strict=True)) for choices in mix.choices
    ]
    return mix.weights @ np.array(picked)


# 1 s on the robot, or nothing there and 1 s on the link: own, roots, uses of link and server.
EITHER = np.array([[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 2.0, 0.0]])


def test_one_robot_that_mixes():
    # With part w over the link: (1 - w) + w^2, least at w = 1/2, where it is 3/4.
    mix = relax(oracle_of(EITHER), Sums(2), limited=False)
    assert mix.lower_bound == pytest.approx(0.75, rel=1e-4)
    assert mixed_sums(mix, [EITHER])[:2] == pytest.approx([0.5, 0.5], rel=1e-2)
    assert mix.weights.sum() == pytest.approx(1.0)


def test_ten_equal_robots():
    # n robots on the link: (10 - n) + n^2 / 1, least at n = 1/2 in all.
    mix = relax(oracle_of(*[EITHER] * 10), Sums(2), limited=False)
    assert mix.lower_bound == pytest.approx(9.75, rel=1e-4)


def test_a_use_that_is_full():
    # The link takes half a robot at 2 uses each: of two robots w = 1/2 in all, as above, so the
    # limit costs nothing. At 4 uses only a quarter: (2 - 1/4) + 1/16.
    mix = relax(oracle_of(EITHER, EITHER), Sums(2), limited=True)
    assert mix.lower_bound == pytest.approx(1.75, rel=1e-4)
    dear = EITHER * [1.0, 1.0, 1.0, 2.0, 1.0]
    mix = relax(oracle_of(dear, dear), Sums(2), limited=True)
    assert mix.lower_bound == pytest.approx(1.8125, rel=1e-3)
    assert mixed_sums(mix, [dear, dear])[3] == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_bound_is_below_every_plan(seed, limited):
    rng = np.random.default_rng(seed)
    robots = [rng.uniform(0.0, 1.0, (6, 5)) * [1.0, 0.5, 0.5, 0.4, 0.4] for _ in range(4)]
    mix = relax(oracle_of(*robots), Sums(2), limited=limited)
    for _ in range(500):
        sums = sum(robot[rng.integers(6)] for robot in robots)
        if not limited or sums[3:].max() <= 1.0:
            assert mix.lower_bound <= sums[0] + (sums[1:3] ** 2).sum() + 1e-9
    # It is the value of a mix, hence the best bound there is.
    sums = mixed_sums(mix, robots)
    value = sums[0] + (sums[1:3] ** 2).sum()
    assert value == pytest.approx(mix.lower_bound, rel=1e-3)
