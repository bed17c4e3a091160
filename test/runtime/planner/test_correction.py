"""What running frames teach about a device: its load, a cut's own error, fading, no flapping."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.planning.problem import Candidate
from codesign_ros.runtime.planner.correction import (
    GREATEST_FACTOR,
    LEAST_FACTOR,
    LOAD_HALF_LIFE_S,
    OWN_HALF_LIFE_S,
    Correction,
    corrected,
    differ,
)
from codesign_ros.types import Merge, Structure
from support.planning import price
from support.tiny_plan import solve, tables

CUTS = 4
PREDICTED_S = 0.1


def report(correction, ratios, epoch=1, cut=1, predicted_s=PREDICTED_S):
    for ratio in ratios:
        correction.report(epoch, cut, ratio * predicted_s, predicted_s)


def factors(correction):
    return list(correction.factors(CUTS))


def test_nothing_is_known_at_first():
    assert factors(Correction()) == [1.0] * CUTS


def test_two_reports_say_nothing_and_three_hold_for_every_cut():
    correction = Correction()
    report(correction, [2.0, 2.0])
    assert factors(correction) == [1.0] * CUTS
    report(correction, [2.0])
    assert factors(correction) == pytest.approx([2.0] * CUTS)


def test_the_middle_of_the_last_five_counts():
    correction = Correction()
    report(correction, [2.0, 9.0, 2.2, 2.1, 0.3])
    assert factors(correction) == pytest.approx([2.1] * CUTS)
    report(correction, [5.0, 5.0])  # 2.2, 2.1, 0.3, 5, 5
    assert factors(correction) == pytest.approx([2.2] * CUTS)
    report(correction, [5.0])
    assert factors(correction) == pytest.approx([5.0] * CUTS)


def test_what_is_off_from_another_cut_s_first_frames_on_is_that_cut_s_own():
    correction = Correction()
    report(correction, [2.0] * 3, epoch=1, cut=1)
    report(correction, [8.0] * 3, epoch=2, cut=2)
    # Two cuts say different things: for the others the truth lies between.
    assert factors(correction) == pytest.approx([4.0, 2.0, 8.0, 4.0])
    report(correction, [2.0] * 3, epoch=3, cut=3)
    assert factors(correction) == pytest.approx([2.0, 2.0, 8.0, 2.0])
    # Under a standing plan it is the load that changes, for all.
    report(correction, [6.0] * 3, epoch=3, cut=3)
    assert factors(correction) == pytest.approx([6.0, 6.0, GREATEST_FACTOR, 6.0])
    # A new plan with the same cut is no news of the cut.
    report(correction, [1.0] * 3, epoch=4, cut=3)
    assert factors(correction) == pytest.approx([1.0, 1.0, 4.0, 1.0])


def test_a_new_plan_s_reports_are_not_mixed_with_the_old_one_s():
    correction = Correction()
    report(correction, [1.0] * 5, epoch=1)
    report(correction, [4.0] * 2, epoch=2)
    assert factors(correction) == pytest.approx([1.0] * CUTS)


@pytest.mark.parametrize(
    ("ratio", "factor"), [(1e6, GREATEST_FACTOR), (0.0, LEAST_FACTOR), (1e-9, LEAST_FACTOR)]
)
def test_factors_have_bounds(ratio, factor):
    correction = Correction()
    report(correction, [ratio] * 3)
    assert factors(correction) == pytest.approx([factor] * CUTS)


@pytest.mark.parametrize(("predicted_s", "ratio"), [(0.0, 1.0), (1e-4, 10.0), (1.9e-3, 1.0)])
def test_a_stage_too_short_to_measure_teaches_nothing(predicted_s, ratio):
    correction = Correction()
    report(correction, [ratio] * 5, predicted_s=predicted_s)
    assert factors(correction) == [1.0] * CUTS


def test_a_short_stage_that_takes_long_is_heard():
    correction = Correction()
    report(correction, [8.0] * 3, predicted_s=0.5e-3)
    assert factors(correction) == pytest.approx([8.0] * CUTS)


def test_what_nobody_measures_any_more_fades():
    correction = Correction()
    correction.fade(100.0)
    report(correction, [4.0] * 3)
    correction.fade(100.0)
    assert factors(correction) == pytest.approx([4.0] * CUTS)
    correction.fade(100.0 + LOAD_HALF_LIFE_S)  # the square root
    assert factors(correction) == pytest.approx([2.0] * CUTS)
    correction.fade(50.0)  # a clock that goes back changes nothing
    assert factors(correction) == pytest.approx([2.0] * CUTS)
    correction.fade(100.0 + 40 * LOAD_HALF_LIFE_S)
    assert factors(correction) == pytest.approx([1.0] * CUTS)


def test_a_cut_s_own_fades_more_slowly():
    correction = Correction()
    correction.fade(0.0)
    for epoch, (cut, ratio) in enumerate([(1, 1.0), (2, 9.0), (3, 1.0)]):
        report(correction, [ratio] * 3, epoch, cut)
    assert factors(correction) == pytest.approx([1.0, 1.0, 9.0, 1.0])
    correction.fade(OWN_HALF_LIFE_S)
    assert factors(correction) == pytest.approx([1.0, 1.0, 3.0, 1.0])


def test_what_is_measured_does_not_fade():
    correction = Correction()
    for second in range(600):
        correction.fade(float(second))
        report(correction, [3.0])
    assert factors(correction)[1] == pytest.approx(3.0)


def test_factors_differ_beyond_a_band():
    ones = np.ones(3)
    assert not differ(np.array([1.0, 1.39, 0.72]), ones, 1.4)
    assert differ(np.array([1.0, 1.41, 1.0]), ones, 1.4)
    assert differ(np.array([1.0, 0.71, 1.0]), ones, 1.4)


@given(
    levels=st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=1, max_size=6),
    data=st.data(),
)
def test_a_level_makes_one_piece_of_news_however_noisy(levels, data):
    """Levels are a factor of 2 apart, the noise is 10 %, the band 1.4."""
    noise = st.lists(st.floats(0.9, 1.1), min_size=8, max_size=12)
    correction, planned_with, news = Correction(), np.ones(1), 0
    for level in levels:
        for deviation in data.draw(noise):
            report(correction, [level * deviation], cut=0)
            now = correction.factors(1)
            if differ(now, planned_with, 1.4):
                planned_with, news = now, news + 1
    changes = sum(a != b for a, b in zip([1.0, *levels], levels, strict=False))
    assert news == changes


@given(own=st.floats(0.5, 2.0), load=st.floats(0.5, 4.0), rounds=st.integers(1, 4))
def test_two_cuts_that_are_wrong_in_different_ways_are_both_known_in_the_end(own, load, rounds):
    correction, epoch = Correction(), 0
    for _ in range(rounds):
        for cut, ratio in ((1, load), (2, load * own)):
            epoch += 1
            report(correction, [ratio] * 3, epoch=epoch, cut=cut)
            assert factors(correction)[cut] == pytest.approx(ratio)
    assert factors(correction)[1:3] == pytest.approx([load, load * own])


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
