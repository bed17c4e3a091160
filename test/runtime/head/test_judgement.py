"""When the robot leaves the server and when it returns, over outages of all lengths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.runtime.head.judgement import Judgement

PROBE_S, ROUND_TRIP_S, LIMIT_S = 0.5, 0.01, 1.0


def answer(judgement, now_s):
    """An answer after which the robot returns as soon as it may."""
    judgement.answered(now_s)
    if judgement.is_back(now_s):
        judgement.return_(now_s)


def follow(is_up, duration_s, judgement=None):
    """Probe a server twice a second; the times at which the robot left and returned."""
    judgement = judgement or Judgement()
    left_s, back_s, now_s = [], [], 0.0
    while now_s < duration_s:
        relied = judgement.relies
        judgement.check(now_s, LIMIT_S)
        judgement.asked(now_s)
        if is_up(now_s):
            answer(judgement, now_s + ROUND_TRIP_S)
        if relied and not judgement.relies:
            left_s.append(now_s)
        elif judgement.relies and not relied:
            back_s.append(now_s)
        now_s += PROBE_S
    return left_s, back_s


def test_a_server_that_answers_is_relied_on():
    assert follow(lambda now_s: True, 100.0) == ([], [])


@pytest.mark.parametrize("outage_s", [5.0, 60.0])
def test_an_outage_is_left_within_two_seconds_and_returned_from_within_two(outage_s):
    left_s, back_s = follow(lambda now_s: not 100.0 <= now_s < 100.0 + outage_s, 300.0)
    assert len(left_s) == len(back_s) == 1
    assert 100.0 < left_s[0] <= 102.0
    assert 100.0 + outage_s < back_s[0] <= 100.0 + outage_s + 2.0


def test_a_second_overdue_answer_without_one_in_time_is_enough():
    judgement = Judgement()
    judgement.overdue(1.0, sent_s=0.9)
    assert judgement.relies
    assert judgement.doubts
    judgement.answered(1.1)
    assert not judgement.doubts
    judgement.in_time()
    judgement.overdue(2.0, sent_s=1.9)
    judgement.answered(2.1)  # but late
    assert judgement.relies
    judgement.overdue(3.0, sent_s=2.9)
    assert judgement.reason == "2 answers in a row did not come in time"


def test_what_was_on_its_way_when_the_doubt_began_is_the_same_delay():
    judgement = Judgement()
    for number in range(4):
        judgement.overdue(1.0 + 0.01 * number, sent_s=0.9 + 0.01 * number)
    assert judgement.relies


def test_nobody_listens():
    judgement = Judgement()
    judgement.leave("nobody listens")
    assert judgement.reason == "nobody listens"


def test_one_answer_is_no_return():
    judgement = Judgement()
    judgement.leave("nobody listens")
    answer(judgement, 2.0)
    assert not judgement.relies
    answer(judgement, 2.6)
    assert judgement.relies


def test_one_answer_is_enough_where_the_server_started_anew():
    judgement = left_without_a_word()
    judgement.explain()
    answer(judgement, 14.0)
    assert judgement.relies
    # The next outage is explained by nothing.
    judgement.asked(30.0)
    judgement.check(33.0, LIMIT_S)
    answer(judgement, 34.0)
    assert not judgement.relies


def test_a_server_that_starts_anew_again_and_again_is_trusted_no_more_than_such_a_link():
    judgement = left_without_a_word()
    judgement.return_(14.0)
    judgement.asked(15.0)
    judgement.check(18.0, LIMIT_S)
    judgement.explain()
    answer(judgement, 19.0)
    assert not judgement.relies


def test_silence_between_answers_begins_anew():
    judgement = Judgement()
    judgement.leave("nobody listens")
    answer(judgement, 2.0)
    judgement.asked(2.1)
    judgement.check(3.5, LIMIT_S)
    answer(judgement, 3.6)
    assert not judgement.relies


def test_a_hole_in_the_answers_begins_them_anew():
    judgement = Judgement()
    judgement.leave("nobody listens")
    answer(judgement, 2.0)
    judgement.asked(2.1)
    judgement.check(3.0, LIMIT_S)  # not silent for long enough to be noticed otherwise
    answer(judgement, 3.0)
    assert not judgement.relies
    answer(judgement, 3.5)
    assert judgement.relies


def left_without_a_word():
    judgement = Judgement()
    judgement.asked(10.0)
    judgement.check(13.0, LIMIT_S)
    return judgement


def test_a_return_is_on_probation_until_it_has_lasted():
    judgement = left_without_a_word()
    assert not judgement.is_on_probation(13.0)
    judgement.return_(14.0)
    assert judgement.is_on_probation(19.0)
    assert not judgement.is_on_probation(21.0)


def test_a_doubt_on_probation_prolongs_it():
    judgement = left_without_a_word()
    judgement.return_(14.0)
    judgement.overdue(19.0, sent_s=18.9)
    judgement.answered(19.1)
    assert judgement.is_on_probation(24.0)
    assert not judgement.is_on_probation(26.0)


def test_a_return_from_a_stop_that_was_announced_is_on_no_probation():
    judgement = Judgement()
    judgement.leave("it is being stopped")
    judgement.return_(14.0)
    assert not judgement.is_on_probation(14.1)


@given(period_s=st.floats(1.6, 3.5), phase_s=st.floats(0.0, 5.0))
def test_a_link_that_comes_and_goes_is_not_returned_to_for_ever(period_s, phase_s):
    def is_up(now_s):
        return int((now_s + phase_s) / period_s) % 2 == 0

    left_s, _ = follow(is_up, 300.0)
    assert len(left_s) <= 6


def test_after_a_quiet_while_a_return_is_as_quick_as_at_first():
    def is_up(now_s):
        return not any(start <= now_s < start + 4.0 for start in (10.0, 17.0, 60.0))

    left_s, back_s = follow(is_up, 100.0)
    assert len(left_s) == len(back_s) == 3
    assert back_s[1] >= 23.0
    assert back_s[2] <= 66.0


def test_a_server_that_is_known_to_have_gone_is_returned_to_as_quickly_each_time():
    judgement = Judgement()
    for start_s in (1.0, 3.0, 5.0):
        judgement.leave("nobody listens")
        answer(judgement, start_s)
        answer(judgement, start_s + 0.5)
        assert judgement.relies
