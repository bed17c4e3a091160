"""The states of a radio in turn."""

import threading

import pytest

from codesign_ros.testbed.radio import Radio, whole_periods_s
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import RadioState

STATES = (RadioState(30e6, 0.02), RadioState(2e6, 0.01))


def test_states_come_in_turn_until_it_is_closed():
    set_bps, enough = [], threading.Event()

    def take(rate_bps):
        set_bps.append(rate_bps)
        if len(set_bps) == 5:
            enough.set()

    with Radio(STATES, take) as radio:
        assert enough.wait(30)
    assert set_bps[:5] == [30e6, 2e6, 30e6, 2e6, 30e6]
    assert radio.turns == len(set_bps)
    assert radio.period_s == pytest.approx(0.03)


def test_what_the_link_refuses_is_told():
    asked = threading.Event()

    def refuse(rate_bps):
        asked.set()
        raise CodesignError("no such link")

    with pytest.raises(CodesignError, match="no such link"), Radio(STATES, refuse):
        assert asked.wait(30)


def test_a_radio_needs_states():
    with pytest.raises(CodesignError, match="no states"):
        Radio((), print)


@pytest.mark.parametrize(("least_s", "whole_s"), [(0.0, 11.0), (11.0, 11.0), (11.1, 22.0)])
def test_policies_are_watched_for_whole_periods(least_s, whole_s):
    states = (RadioState(30e6, 10.0), RadioState(2e6, 1.0))
    assert whole_periods_s(states, least_s) == pytest.approx(whole_s)
