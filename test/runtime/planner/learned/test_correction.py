"""What running frames teach about a device: its load, a cut's own error, noise, fading."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.planning.problem import Candidate
from codesign_ros.runtime.planner.learned.correction import (
    GREATEST_FACTOR,
    HALF_LIFE_S,
    LEAST_FACTOR,
    LOAD_SPREAD,
    OWN_SPREAD,
    Correction,
    corrected,
)
from codesign_ros.types.forms import Merge, Structure
from support.planning import price
from support.tiny_plan import solve, tables

CUTS = 4
PREDICTED_S = 0.1


def report(correction, ratios, epoch=1, cut=1, predicted_s=PREDICTED_S, now_s=0.0):
    """Report times of so many times the predicted; the numbers of those that were alarms."""
    return [
        number
        for number, ratio in enumerate(ratios)
        if correction.report(epoch, cut, ratio * predicted_s, predicted_s, now_s)
    ]


def test_nothing_is_known_at_first():
    correction = Correction(CUTS)
    assert list(correction.factors()) == [1.0] * CUTS
    one = np.eye(CUTS)[1]
    assert correction.spread(one) == pytest.approx(math.hypot(LOAD_SPREAD, OWN_SPREAD))
    # Whatever the load is, it is the same at both cuts.
    assert correction.spread(one - np.eye(CUTS)[2]) == pytest.approx(math.sqrt(2) * OWN_SPREAD)


def test_two_reports_say_nothing_and_the_middle_of_three_counts_for_every_cut():
    correction = Correction(CUTS)
    report(correction, [2.0, 9.0])
    assert list(correction.factors()) == [1.0] * CUTS
    report(correction, [2.1])
    assert list(correction.factors()) == pytest.approx([2.1] * CUTS)


def test_a_level_is_the_mean_of_its_reports():
    rng = random.Random(1)
    correction = Correction(CUTS)
    ratios = [math.exp(rng.gauss(0.3, 0.02)) for _ in range(40)]
    report(correction, ratios)
    by_hand = np.exp(np.mean([sorted(np.log(ratios[:3]))[1], *np.log(ratios[3:])]))
    assert correction.factors()[1] == pytest.approx(by_hand)
    # Their mean is off by the noise over the root of their number; another cut by its profile too.
    noise = np.std(np.diff(np.log(ratios))) / math.sqrt(2)
    ran, other = np.eye(CUTS)[1], np.eye(CUTS)[2]
    assert correction.spread(ran) == pytest.approx(noise / math.sqrt(38), rel=0.5)
    both = math.hypot(correction.spread(ran), math.sqrt(2) * OWN_SPREAD)
    assert correction.spread(ran - other) == pytest.approx(both)


def test_what_a_cut_showed_stays_known_while_another_runs():
    correction = Correction(CUTS)
    report(correction, [1.0] * 30, epoch=1, cut=1)
    assert report(correction, [1.5] * 30, epoch=2, cut=2) == [2]
    factors = correction.factors()
    assert factors[1] == pytest.approx(1.0, abs=0.03)
    assert factors[2] == pytest.approx(1.5, rel=0.03)
    # Which of the two is the odd one shows with a third.
    assert 1.0 < factors[3] < 1.5
    report(correction, [1.0] * 30, epoch=3, cut=3)
    assert correction.factors()[2] == pytest.approx(1.5, rel=0.03)
    assert correction.factors()[0] == pytest.approx(1.0, rel=0.03)


def test_a_load_that_comes_is_the_load_of_every_cut_and_is_told_once():
    correction = Correction(CUTS)
    report(correction, [1.0] * 30, epoch=1, cut=1)
    report(correction, [1.0] * 30, epoch=2, cut=2)
    alarms = report(correction, [2.0] * 30, epoch=2, cut=2)
    assert len(alarms) == 1
    assert alarms[0] <= 3
    np.testing.assert_allclose(correction.factors(), 2.0, rtol=0.05)


@given(seed=st.integers(0, 200), noise=st.floats(0.0, 0.15))
def test_noise_is_no_news(seed, noise):
    rng = random.Random(seed)
    correction = Correction(CUTS)
    ratios = [1.3 * math.exp(rng.gauss(0, noise)) for _ in range(400)]
    alarms = [number for number in report(correction, ratios) if number > 2]
    assert len(alarms) <= 1  # at first, while the noise is not known yet
    assert correction.factors()[1] == pytest.approx(1.3, rel=0.02 + noise / 2)


def test_odd_reports_now_and_then_are_no_news():
    correction = Correction(CUTS)
    report(correction, [1.0] * 10)
    assert report(correction, [5.0, 1.0, 1.0, 1.0, 1.0, 1.0] * 20) == []


@given(st.floats(1e-9, 1e6), st.floats(1e-3, 1e3))
def test_factors_are_bounded(measured_s, predicted_s):
    correction = Correction(CUTS)
    for _ in range(9):
        correction.report(1, 1, measured_s, predicted_s, 0.0)
    factors = correction.factors()
    assert factors.min() >= LEAST_FACTOR * (1 - 1e-9)
    assert factors.max() <= GREATEST_FACTOR * (1 + 1e-9)


def test_stages_that_take_no_time_teach_nothing():
    correction = Correction(CUTS)
    report(correction, [9.0] * 9, predicted_s=1e-4)
    report(correction, [9.0] * 9, predicted_s=0.0)
    assert list(correction.factors()) == [1.0] * CUTS


def test_what_nobody_measures_goes_back_to_what_was_believed_at_first():
    correction = Correction(CUTS)
    report(correction, [3.0] * 50, now_s=100.0)
    correction.fade(100.0)
    before = correction.factors().copy()
    certain = correction.spread(np.eye(CUTS)[1])
    correction.fade(100.0 + HALF_LIFE_S)
    assert correction.factors()[3] == pytest.approx(math.sqrt(before[3]), rel=0.02)
    assert correction.spread(np.eye(CUTS)[1]) > 2 * certain
    correction.fade(100.0 + 40 * HALF_LIFE_S)
    np.testing.assert_allclose(correction.factors(), 1.0, atol=0.01)
    assert correction.spread(np.eye(CUTS)[1]) == pytest.approx(LOAD_SPREAD, rel=0.01)


def test_what_is_measured_does_not_fade():
    correction = Correction(CUTS)
    for second in range(2000):
        report(correction, [3.0], now_s=float(second))
        correction.fade(float(second))
    assert correction.factors()[1] == pytest.approx(3.0, rel=0.01)


def test_a_cut_that_is_timed_anew_forgets_its_own_error_alone():
    correction = Correction(CUTS)
    report(correction, [1.2] * 30, epoch=1, cut=1)
    report(correction, [3.0] * 30, epoch=2, cut=2)
    correction.retimed({2})
    np.testing.assert_allclose(correction.factors(), 1.2, rtol=0.05)
    report(correction, [1.2] * 9, epoch=2, cut=2)
    np.testing.assert_allclose(correction.factors(), 1.2, rtol=0.05)


def test_a_copy_is_its_own():
    correction = Correction(CUTS)
    report(correction, [2.0] * 9)
    again = correction.since(5.0)
    report(again, [8.0] * 9, epoch=2)
    assert correction.factors()[1] == pytest.approx(2.0, rel=0.02)
    assert again.factors()[1] > 4


@given(own=st.floats(0.6, 1.8), load=st.floats(0.5, 4.0))
def test_two_cuts_that_are_wrong_in_different_ways_are_both_known_in_the_end(own, load):
    correction, epoch = Correction(CUTS), 0
    for _ in range(2):
        for cut, ratio in ((1, load), (2, load * own)):
            epoch += 1
            report(correction, [ratio] * 20, epoch=epoch, cut=cut)
            assert correction.factors()[cut] == pytest.approx(ratio, rel=0.05)
    assert correction.factors()[1] == pytest.approx(load, rel=0.05)


def test_corrected_tables_by_hand():
    plain = tables(encode_s=np.full((4, 2), 0.002), decode_s=np.full((1, 4, 2), 0.001))
    made = corrected(plain, np.array([1.0, 3.0, 1.0, 1.0]), np.array([1.0, 2.0, 1.0, 1.0]))
    s3 = Structure.S3
    for cut, head_s, tail_s in ((1, 3 * 0.012, 2 * 0.017), (2, 0.032, 0.011)):
        row = price(
            solve(made).problem, Candidate(cut, s3, s3, Merge.FOLD, "fp32", "raw", "box")
        ).prediction
        assert (row.head_s, row.tail_s) == pytest.approx((head_s, tail_s))
    assert made.payload_bytes is plain.payload_bytes


@pytest.mark.parametrize("ran_before", [False, True])
def test_a_load_that_ends_with_a_change_of_plans_leaves_no_cut_looking_bad(ran_before):
    """Else the cut that was left for a passing load would stay left."""
    correction = Correction(CUTS)
    if ran_before:
        report(correction, [1.0] * 20, epoch=1, cut=2, now_s=0.0)
    report(correction, [1.0] * 20, epoch=2, cut=1, now_s=20.0)
    assert report(correction, [1.8] * 5, epoch=2, cut=1, now_s=25.0)
    assert correction.factors()[1] == pytest.approx(1.8, rel=0.05)
    report(correction, [1.0] * 5, epoch=3, cut=2, now_s=30.0)
    assert correction.factors()[1] == pytest.approx(1.0, rel=0.1)
    assert correction.factors()[2] == pytest.approx(1.0, rel=0.1)


def test_a_load_that_changed_lately_makes_a_change_of_plans_less_sure():
    correction = Correction(CUTS)
    report(correction, [1.0] * 20, now_s=0.0)
    one = np.eye(CUTS)[1]
    quiet = correction.spread(one)
    report(correction, [2.0] * 20, now_s=10.0)
    assert correction.spread(one) > max(0.3, 3 * quiet)
    # Of two cuts both have the load, whatever it is.
    assert correction.spread(one - np.eye(CUTS)[2]) < 0.25
    for second in range(11, 311):
        report(correction, [2.0], now_s=float(second))
    assert correction.spread(one) < 0.15


@pytest.mark.parametrize("load", [1.5, 2.0, 3.0])
def test_a_load_that_came_just_before_a_cut_first_ran_leaves_no_other_cut_looking_quick(load):
    correction = Correction(CUTS)
    report(correction, [1.0] * 40, epoch=1, cut=1)
    report(correction, [load] * 10, epoch=2, cut=2, now_s=4.0)
    assert report(correction, [1.0] * 10, epoch=2, cut=2, now_s=8.0)
    assert list(correction.factors()) == pytest.approx([1.0] * CUTS, rel=0.15)


def test_a_load_that_goes_for_good_is_still_seen_at_every_cut():
    correction = Correction(CUTS)
    report(correction, [2.0] * 40, epoch=1, cut=1)
    report(correction, [2.0] * 10, epoch=2, cut=2, now_s=4.0)
    assert report(correction, [1.0] * 10, epoch=2, cut=2, now_s=8.0)
    assert list(correction.factors()) == pytest.approx([1.0] * CUTS, rel=0.15)


class FlappingLoad:
    """A load that comes in some seconds, goes at once, and does so again and again.

    ``is_steady``: it has been what it is for long enough to be known [log].
    """

    def __init__(self, seed, loads):
        self.rng = random.Random(seed)
        self.loads = loads
        self.load = self.wanted = 0.0
        self.beats = 0

    def beat(self):
        if self.rng.random() < 0.08:
            self.wanted = self.rng.choice(self.loads)
        before = self.load
        self.load += (self.wanted - self.load) * (0.5 if self.wanted > self.load else 1.0)
        self.beats = self.beats + 1 if abs(self.load - before) < 0.02 else 0
        return math.exp(self.load + self.rng.gauss(0, 0.06))

    @property
    def is_steady(self):
        return self.beats >= 6


@pytest.mark.parametrize("seed", range(10))
def test_loads_that_come_and_go_again_and_again_leave_a_cut_that_waits_as_it_was(seed):
    correction, load = Correction(CUTS), FlappingLoad(seed, [0.0, 0.35, 0.7])
    report(correction, [1.0] * 30, epoch=1, cut=1)
    off = []
    for beat in range(600):
        report(correction, [load.beat()], epoch=2, cut=2, now_s=beat / 2)
        if load.is_steady:
            off.append(math.log(correction.factors()[1]) - load.load)
    assert np.abs(off).max() < 0.5
    assert np.abs(np.quantile(off, [0.05, 0.95])).max() < 0.25


@pytest.mark.parametrize("seed", range(10))
def test_what_two_cuts_differ_by_outlasts_loads_and_changes_of_plans(seed):
    own = {1: 0.0, 2: 0.15}
    correction, load = Correction(CUTS), FlappingLoad(seed, [0.0, 0.35])
    off = []
    for beat in range(1200):
        epoch = 1 + beat // 80
        cut, other = (1, 2) if epoch % 2 else (2, 1)
        ratio = load.beat() * math.exp(own[cut])
        report(correction, [ratio], epoch=epoch, cut=cut, now_s=beat / 2)
        if load.is_steady and epoch > 2:
            off.append(math.log(correction.factors()[other]) - load.load - own[other])
    assert np.abs(off).max() < 0.5
    assert np.abs(np.quantile(off, [0.05, 0.95])).max() < 0.25


@pytest.mark.parametrize(
    ("predicted_s", "least", "most"), [(0.005, 0.0, 0.25), (0.03, 0.8, 0.95), (0.1, 0.98, 1.0)]
)
def test_a_short_stage_says_little_of_the_long_ones(predicted_s, least, most):
    correction = Correction(CUTS)
    report(correction, [1.0] * 20, epoch=1, cut=2)
    report(correction, [1.0] * 20, epoch=2, cut=0, predicted_s=predicted_s)
    assert report(correction, [1.5] * 20, epoch=2, cut=0, predicted_s=predicted_s)
    factors = correction.factors()
    assert factors[0] == pytest.approx(1.5, rel=0.05)
    followed = math.log(factors[2]) / math.log(factors[0])
    assert least <= followed <= most
