"""The rate level that a head chooses, against the objective worked out here."""

import math

import numpy as np
import pytest

from codesign_ros.runtime.rate_level import RateLevelChoice
from codesign_ros.types.plan import Plan, RateLevel

BYTES = (8000.0, 4000.0, 2000.0, 1000.0)
LOSSES = (0.001, 0.004, 0.010, 0.030)
LEVELS = tuple(map(RateLevel, range(4), BYTES, LOSSES))


def plan(**fields):
    return Plan(
        **{
            "cut": 3, "codec": "neck.0", "levels": LEVELS, "lambda_1": 2.0, "head_s": 0.02,
            "link_s": 0.020, "tail_s": 0.01, "payload_bytes": BYTES[0], "link_bps": 6.4e6,
            **fields,
        }
    )  # fmt: skip


def test_without_a_rate_it_is_the_plan_s():
    for own in range(4):
        choice = RateLevelChoice(plan(codec=f"neck.{own}"), lambda: 0.0)
        assert [choice.choose() for _ in range(3)] == [own] * 3


def test_without_a_choice_it_is_the_plan_s():
    for levels in ((), LEVELS[2:3], LEVELS[:2]):
        choice = RateLevelChoice(plan(codec="neck.2", levels=levels), lambda: 1e3)
        assert choice.choose() == 2


@pytest.mark.parametrize("objective", ["latency", "throughput"])
def test_it_is_the_best_of_eq_11_at_every_rate(objective):
    """From afar, that is with less than the step that noise must not make."""
    chosen = set()
    for rate_bps in np.geomspace(1e4, 1e8, 60):
        times_s = [8 * size / rate_bps for size in BYTES]
        if objective == "latency":
            # 10 ms of the plan's 20 are the payload's; the rest is the way and the answer.
            costs = [
                0.02 + t + 0.010 + 0.01 + 2 * loss for t, loss in zip(times_s, LOSSES, strict=True)
            ]
        else:
            costs = [max(0.02, t, 0.01) + 2 * loss for t, loss in zip(times_s, LOSSES, strict=True)]
        for own in range(4):
            choice = RateLevelChoice(
                plan(objective=objective, codec=f"neck.{own}"),
                lambda: rate_bps,  # noqa: B023
            )
            level = choice.choose()
            assert costs[level] <= min(costs) / 0.95 + 1e-12
            if level != own:
                assert level == int(np.argmin(costs))
                assert costs[level] < 0.95 * costs[own]
            chosen.add(level)
    assert chosen == {0, 1, 2, 3}


def test_noise_of_the_rate_changes_nothing():
    """Where two levels are as good, none follows the other from frame to frame."""
    rng = np.random.default_rng(3)
    rate_bps = 8 * (BYTES[1] - BYTES[2]) / (2.0 * (LOSSES[2] - LOSSES[1]))
    now = [rate_bps]
    choice = RateLevelChoice(plan(codec="neck.1"), lambda: now[0])
    levels = []
    for _ in range(500):
        now[0] = rate_bps * math.exp(rng.normal(0, 0.05))
        levels.append(choice.choose())
    assert np.count_nonzero(np.diff(levels)) <= 1


def test_a_scene_of_larger_payloads_needs_coarser_levels():
    rate_bps = 1.2 * 8 * (BYTES[0] - BYTES[1]) / (2.0 * (LOSSES[1] - LOSSES[0]))
    choice = RateLevelChoice(plan(), lambda: rate_bps)
    assert choice.choose() == 0
    for _ in range(100):
        level = choice.choose()
        choice.sent(level, int(3 * BYTES[level]))
    assert choice.choose() > 0
    for _ in range(200):
        level = choice.choose()
        choice.sent(level, int(BYTES[level] / 3))
    assert choice.choose() == 0


def test_one_odd_frame_is_none():
    choice = RateLevelChoice(plan(), lambda: 1e8)
    choice.sent(0, 10**9)
    choice.sent(0, 0)
    choice.sent(7, 1000)
    assert choice.choose() == 0
