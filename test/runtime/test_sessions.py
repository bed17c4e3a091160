"""Which start of a node says something, and which of several serves."""

import time

import pytest

from codesign_ros.runtime.sessions import Contest, Place, Presence, Roster, new_session


def test_sessions_differ_and_later_ones_are_higher(monkeypatch):
    numbers = {new_session() for _ in range(100)}
    assert len(numbers) == 100
    assert all(0 < number < 2**63 for number in numbers)
    later_ns = time.time_ns() + 10**7
    monkeypatch.setattr(time, "time_ns", lambda: later_ns)
    assert new_session() > max(numbers)


def head(session, node="/robot/head", process=""):
    return Presence(node, Place.HEAD, session, process)


OWN = head(5, process="here:1")


@pytest.fixture
def contest():
    return Contest(OWN, "/robot")


def test_alone_it_serves(contest):
    contest.hear(OWN, 0.0)
    contest.hear(Presence("/robot/tail", Place.TAIL, 9), 0.0)
    assert contest.serves(0.0)
    assert contest.text(0.0) == ""


def test_the_one_that_started_last_serves(contest):
    contest.hear(head(4, process="there:2"), 0.0)
    assert contest.serves(0.1)
    assert contest.text(0.1) == (
        "2 heads in /robot: this one (here:1) started last and serves, "
        "/robot/head (there:2) stands back; stop all but one"
    )
    contest.hear(head(6, "/robot/other"), 0.2)
    assert not contest.serves(0.3)
    assert contest.text(0.3) == (
        "3 heads in /robot: /robot/other started last and serves, this one (here:1), "
        "/robot/head (there:2) stand back; stop all but one"
    )


def test_the_next_takes_over_when_the_one_that_serves_falls_silent(contest):
    contest.hear(head(6), 0.0)
    assert not contest.serves(2.0)
    assert contest.serves(2.1)
    assert contest.text(2.1) == ""


def test_of_many_that_somebody_makes_up_few_are_kept():
    roster = Roster()
    for session in range(1000):
        roster.hear(head(session, f"/robot/head{session}"), 0.0)
    assert len(roster.present(0.0)) == 32
    assert [each.session for each in roster.present(0.0)] == list(range(999, 967, -1))
    assert roster.hear(head(5), 0.0)
    assert not roster.hear(head(5), 0.1)


def test_one_that_gives_itself_new_numbers_takes_nobody_elses_place():
    roster = Roster()
    roster.hear(head(1), 0.0)
    for number in range(100, 300):
        roster.hear(head(number, "/robot/other"), 0.1)
    assert [each.session for each in roster.present(0.2)] == [299, 298, 297, 296, 1]


def test_who_could_not_be_heard_is_still_present():
    roster = Roster()
    roster.hear(head(1), 0.0)
    roster.excuse(5.0, 5.5)
    assert roster.present(7.0) == [head(1)]
    assert roster.present(7.1) == []


def test_in_a_flood_those_are_present_who_are_there():
    roster = Roster()
    roster.hear(head(1, "/robot/head"), 0.0)
    roster.hear(head(2, "/robot/other"), 0.0)
    roster.spare(lambda node: node == "/robot/head", 1.5)
    assert roster.present(3.0) == [head(1)]
