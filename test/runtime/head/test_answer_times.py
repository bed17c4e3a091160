"""From when on an answer is overdue, against RFC 6298 by hand."""

import pytest

from codesign_ros.runtime.head.answer_times import AnswerTimes


def test_nothing_is_known_at_first():
    assert AnswerTimes().limit_s is None


def test_at_first_a_plan_s_prediction_counts_and_four_times_of_it():
    times = AnswerTimes()
    times.begin(0.1)
    assert times.usual_s == 0.1
    assert times.limit_s == pytest.approx(0.4 + 0.2)


def test_mean_and_deviation_by_hand():
    times = AnswerTimes()
    times.add(0.1)
    assert times.limit_s == pytest.approx(0.1 + 4 * 0.05 + 0.2)
    times.add(0.18)
    deviation_s = 0.75 * 0.05 + 0.25 * 0.08
    assert times.usual_s == pytest.approx(0.875 * 0.1 + 0.125 * 0.18)
    assert times.limit_s == pytest.approx(times.usual_s + 4 * deviation_s + 0.2)


@pytest.mark.parametrize(("own_s", "slack_s"), [(0.0, 0.2), (0.06, 0.05), (0.3, 0.15), (2.0, 0.5)])
def test_the_quicker_the_robot_is_itself_the_less_it_waits(own_s, slack_s):
    times = steady(own_s)
    assert times.limit_s == pytest.approx(0.06 + slack_s, rel=0.01)


def test_a_new_plan_begins_anew():
    times = steady(0.3)
    times.begin(0.0)
    assert times.limit_s is None
    times.begin(0.2)
    assert times.limit_s == pytest.approx(1.0)


def test_what_was_given_up_too_early_makes_it_longer_for_a_while():
    times = steady(0.3)
    before_s = times.limit_s
    times.late()
    # As one that just was not too late, and twice the slack.
    mean_s = 0.06 + (before_s - 0.06) / 8
    deviation_s = (before_s - 0.06) / 4
    assert times.limit_s == pytest.approx(mean_s + 4 * deviation_s + 0.3, rel=0.02)
    for _ in range(300):
        times.add(0.06)
    assert times.limit_s == pytest.approx(before_s, rel=0.01)


def steady(own_s):
    times = AnswerTimes()
    times.own_s = own_s
    for _ in range(100):
        times.add(0.06)
    return times
