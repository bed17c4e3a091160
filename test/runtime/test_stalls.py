"""Whether the own process stood still."""

from codesign_ros.runtime.stalls import Stalls


def test_what_is_missed_is_the_time_between_two_rounds():
    stalls = Stalls(1.0)
    assert stalls.missed_s(100.0) == 0.0
    stalls.done(100.0)
    assert stalls.missed_s(100.9) == 0.0
    stalls.done(105.0)  # it took long itself
    assert stalls.missed_s(105.9) == 0.0
    assert stalls.missed_s(107.0) == 2.0
    stalls.done(107.0)
    assert stalls.missed_s(107.1) == 0.0
