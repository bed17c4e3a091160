"""Loads that come and go every few seconds, and those that come and stay."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.runtime.planner.learned.correction import Correction
from codesign_ros.runtime.planner.learned.passing import PassingLoad

BEAT_S = 0.5


def follow(load, path):
    """Let a load go along a path, a beat for each; what was passing at each."""
    passing, before = [], 0.0
    for now in path:
        load.move(now - before)
        load.fade(BEAT_S)
        passing.append(load.passing)
        before = now
    return passing


@given(st.lists(st.floats(0.0, 0.3), max_size=50))
def test_what_only_rises_does_not_pass(steps):
    assert follow(PassingLoad(), list(np.cumsum(steps))) == [0.0] * len(steps)


def test_of_what_goes_up_and_down_the_mean_is_what_lasts():
    load, path = PassingLoad(), [0.5 if beat // 12 % 2 else 0.0 for beat in range(600)]
    passing = follow(load, path)
    lasting = np.array(path[240:]) - passing[240:]
    assert lasting == pytest.approx(np.full(360, 0.25), abs=0.06)


def test_what_goes_beyond_all_that_went_back_lasts():
    load = PassingLoad()
    follow(load, [0.2, 0.0] * 120)
    before = load.passing
    load.move(1.0)
    assert before == pytest.approx(-0.1, abs=0.03)
    assert load.passing == pytest.approx(0.2, abs=0.02)  # the 0.2 that went back each time


def test_a_load_that_stays_is_the_mean_in_the_end_and_one_that_went_back_is_forgotten():
    load = PassingLoad()
    follow(load, [0.4, 0.0] * 20)
    load.move(0.4)
    assert load.passing > 0.2
    load.fade(240.0)
    assert load.passing < 0.01
    load.fade(3000.0)
    load.move(0.4)
    assert load.passing < 0.01


@given(st.lists(st.floats(-1.0, 1.0), max_size=60))
def test_nothing_passes_that_did_not_go_back(steps):
    load = PassingLoad()
    for by in steps:
        load.move(by)
        load.fade(BEAT_S)
        falls = [by for by in steps if by < 0]
        rises = [by for by in steps if by > 0]
        assert abs(load.passing) <= min(-sum(falls), sum(rises))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_planned_with_moves_less_than_a_device_that_is_now_fast_and_now_slow(seed):
    rng = random.Random(seed)
    correction, logs, slow = Correction(4), [], 0.0
    for beat in range(480):
        if rng.random() < 0.08:
            slow = rng.choice([0.0, 0.6])
        ratio = math.exp(slow + rng.gauss(0, 0.06))
        correction.report(1, 1, 0.1 * ratio, 0.1, BEAT_S * beat)
        logs.append((math.log(correction.factors()[1]), math.log(correction.lasting_factors()[2])))
    now, lasting = np.array(logs[120:]).T
    assert now.std() > 0.2
    assert lasting.std() < 0.5 * now.std()


def test_a_load_that_comes_once_counts_at_once():
    correction = Correction(4)
    for beat in range(60):
        correction.report(1, 1, 0.1, 0.1, BEAT_S * beat)
    for beat in range(60, 66):
        correction.report(1, 1, 0.2, 0.1, BEAT_S * beat)
    assert correction.lasting_factors() == pytest.approx(np.full(4, 2.0), rel=0.05)
