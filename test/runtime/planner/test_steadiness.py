"""A change of plans against noise, against its cost, and against the next change."""

import pytest

from codesign_ros.runtime.planner.steadiness import HOLD_GAIN, HOLD_S, SAMPLE_S, Steadiness

LEAST = 0.05


def worth(steadiness, gain, spread=0.0, now_s=10.0):
    return steadiness.is_worth_it(gain, LEAST, spread, now_s)


def test_a_gain_is_more_than_the_least_and_more_than_it_may_be_off_by():
    steadiness = Steadiness()
    assert worth(steadiness, 0.06)
    assert not worth(steadiness, 0.04)
    assert not worth(steadiness, 0.06, spread=0.1)
    assert worth(steadiness, 0.12, spread=0.1)


def test_a_change_that_takes_longer_than_its_gain_lasts_is_not_worth_it():
    steadiness = Steadiness()
    for _ in range(20):
        steadiness.switched(1.0, 30.0, chosen=False)  # slow devices
    assert steadiness.cost_s == pytest.approx(30.0, rel=0.01)
    assert not worth(steadiness, 0.2, now_s=2.0)
    # Nothing has happened for an hour: nothing will for as long.
    assert worth(steadiness, 0.2, now_s=3600.0)
    # Where something happens every few seconds, it is not worth it again.
    for second in range(3600, 4600, 5):
        steadiness.event(float(second))
    assert not worth(steadiness, 0.2, now_s=4600.0)


def test_soon_after_a_change_the_next_must_be_much_better():
    steadiness = Steadiness()
    assert worth(steadiness, 0.2, now_s=10.0)
    steadiness.switched(10.0, 0.3, chosen=True)
    assert steadiness.is_held(11.0)
    assert not worth(steadiness, 0.2, now_s=11.0)
    assert worth(steadiness, HOLD_GAIN + 0.05, now_s=11.0)
    assert not worth(steadiness, HOLD_GAIN + 0.05, spread=0.1, now_s=11.0)
    # The longer ago, the less: halfway to the end, half as much.
    halfway_s = 10.0 + HOLD_S / 2
    assert not worth(steadiness, 0.9 * HOLD_GAIN / 2, now_s=halfway_s)
    assert worth(steadiness, 1.1 * HOLD_GAIN / 2, now_s=halfway_s)
    assert not steadiness.is_held(10.0 + HOLD_S + 1)
    assert worth(steadiness, 0.06, now_s=10.0 + HOLD_S + 1)


def test_what_happens_may_always_change_it_and_a_load_may_not():
    steadiness = Steadiness()
    steadiness.switched(10.0, 0.3, chosen=True)
    steadiness.load()
    assert not worth(steadiness, 0.2, now_s=21.0)
    steadiness.event(20.0)
    assert worth(steadiness, 0.2, now_s=21.0)
    steadiness.switched(21.0, 0.3, chosen=True)
    # Not held by the change that the event brought: its times may still show another.
    assert worth(steadiness, 0.2, now_s=25.0)
    assert not worth(steadiness, 0.2, now_s=60.0)


def test_a_plan_that_was_not_a_choice_holds_nothing():
    steadiness = Steadiness()
    steadiness.switched(10.0, 0.3, chosen=False)
    assert worth(steadiness, 0.5, now_s=11.0)


def test_after_long_a_plan_is_tried_that_may_be_better():
    steadiness = Steadiness()
    steadiness.switched(10.0, 0.3, chosen=False)
    assert not worth(steadiness, 0.1, spread=0.5, now_s=10.0 + SAMPLE_S - 1)
    assert worth(steadiness, 0.1, spread=0.5, now_s=10.0 + SAMPLE_S + 1)
