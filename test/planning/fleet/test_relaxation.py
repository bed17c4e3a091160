"""The fleet's relaxation on problems that can be solved by hand."""

import numpy as np
import pytest

from codesign_ros.planning.fleet.relaxation import Sums, relax


def sums_of(*choices):
    """Choices (own, work on link and server, uses of both) as what they add to the sums."""
    rows = np.array(choices, float)
    works, uses = rows[:, 1:3], rows[:, 3:]
    return np.hstack((rows[:, :1], np.sqrt(works), uses, works, uses * np.sqrt(works), uses))


def oracle_of(*robots):
    """Robots given as arrays (K, 11) of what each choice adds to the sums."""

    def oracle(prices):
        choices = np.array([int((robot @ prices).argmin()) for robot in robots])
        return choices, sum(robot[i] for robot, i in zip(robots, choices, strict=True))

    return oracle


def mixed_sums(mix, robots):
    picked = [
        sum(robot[i] for robot, i in zip(robots, choices, strict=True)) for choices in mix.choices
    ]
    return mix.weights @ np.array(picked)


# 1 s on the robot, or nothing there and 1 s on the link.
EITHER = sums_of((1, 0, 0, 0, 0), (0, 1, 0, 2, 0))
ALWAYS, NEVER = np.ones(2), np.zeros(2)


def test_one_robot_that_mixes():
    # With part w over the link: (1 - w) + w^2, least at w = 1/2, where it is 3/4.
    mix = relax(oracle_of(EITHER), Sums(2), ALWAYS, limited=False)
    assert mix.lower_bound == pytest.approx(0.75, rel=1e-4)
    assert mixed_sums(mix, [EITHER])[:2] == pytest.approx([0.5, 0.5], rel=1e-2)
    assert mix.weights.sum() == pytest.approx(1.0)


def test_ten_equal_robots():
    # n robots on the link: (10 - n) + n^2 / 1, least at n = 1/2 in all.
    mix = relax(oracle_of(*[EITHER] * 10), Sums(2), ALWAYS, limited=False)
    assert mix.lower_bound == pytest.approx(9.75, rel=1e-4)
    # Where they never meet, n on the link at 0.9 s each save 0.1 s each.
    quick = sums_of((1, 0, 0, 0, 0), (0, 0.9, 0, 2, 0))
    mix = relax(oracle_of(*[quick] * 10), Sums(2), NEVER, limited=False)
    assert mix.lower_bound == pytest.approx(9.0, rel=1e-4)
    # Half of them do: (10 - n) + 0.5 * 0.9 n^2 + 0.5 * 0.9 n, least at n = 0.55 / 0.9.
    mix = relax(oracle_of(*[quick] * 10), Sums(2), ALWAYS / 2, limited=False)
    assert mix.lower_bound == pytest.approx(10 - 0.55**2 / (4 * 0.45), rel=1e-4)


def test_a_use_that_is_full():
    # The link takes half a robot at 2 uses each: of two robots w = 1/2 in all, as above, so the
    # limit costs nothing. At 4 uses only a quarter: (2 - 1/4) + 1/16.
    mix = relax(oracle_of(EITHER, EITHER), Sums(2), ALWAYS, limited=True)
    assert mix.lower_bound == pytest.approx(1.75, rel=1e-4)
    dear = sums_of((1, 0, 0, 0, 0), (0, 1, 0, 4, 0))
    mix = relax(oracle_of(dear, dear), Sums(2), ALWAYS, limited=True)
    assert mix.lower_bound == pytest.approx(1.8125, rel=1e-3)
    assert mixed_sums(mix, [dear, dear])[3] == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("often", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_bound_is_below_every_plan(seed, limited, often):
    rng = np.random.default_rng(seed)
    robots = [sums_of(*rng.uniform(0.0, 1.0, (6, 5)) * [1, 0.3, 0.3, 0.4, 0.4]) for _ in range(4)]

    def value(sums):
        return sums[0] + often * (sums[1:3] ** 2).sum() + (1 - often) * sums[5:7].sum()

    mix = relax(oracle_of(*robots), Sums(2), np.full(2, often), limited=limited)
    for _ in range(500):
        sums = sum(robot[rng.integers(6)] for robot in robots)
        if not limited or sums[3:5].max() <= 1.0:
            assert mix.lower_bound <= value(sums) + 1e-9
    # It is the value of a mix, hence the best bound there is.
    assert value(mixed_sums(mix, robots)) == pytest.approx(mix.lower_bound, rel=1e-3)


def test_how_often_robots_meet():
    # Two of 1 s that are sent every 4 s: each finds the other at work for m = 0.25 (1 + m) of the
    # time, which is 1/3. On the server nobody is.
    both = 2 * sums_of((0, 1, 0, 0.25, 0))[0]
    assert Sums(2, paced=True).met(both) == pytest.approx([1 / 3, 0])
    assert Sums(2).met(both) == pytest.approx([1, 1])
    # Full is full.
    assert Sums(2, paced=True).met(4 * sums_of((0, 1, 0, 0.25, 0))[0])[0] == pytest.approx(1)
