"""From when on an answer is overdue, against RFC 6298 by hand."""

import pytest

from codesign_ros.runtime.head.answer_times import AnswerTimes


def test_nothing_is_known_at_first():
    assert AnswerTimes().limit_s is None


def test_mean_and_deviation_by_hand():
    times = AnswerTimes()
    times.add(0.1)
    assert times.limit_s == pytest.approx(0.1 + 4 * 0.05 + 0.2)
    times.add(0.18)
    deviation_s = 0.75 * 0.05 + 0.25 * 0.08
    assert times.limit_s == pytest.approx(0.875 * 0.1 + 0.125 * 0.18 + 4 * deviation_s + 0.2)


def test_steady_answers_make_it_short():
    times = AnswerTimes()
    for _ in range(100):
        times.add(0.06)
    assert times.limit_s == pytest.approx(0.26, rel=0.01)


def test_what_was_given_up_too_early_makes_it_longer_for_a_while():
    times = AnswerTimes()
    for _ in range(100):
        times.add(0.06)
    for _ in range(10):
        times.late()
    assert times.limit_s == pytest.approx(2.06, rel=0.01)
    for _ in range(300):
        times.add(0.06)
    assert times.limit_s == pytest.approx(0.26, rel=0.01)
