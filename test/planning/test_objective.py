"""Eq. 11 with numbers worked out by hand."""

import pytest

from codesign_ros.planning.objective import (
    Objective,
    joint_objective,
    pace_s,
    parse_objective,
    time_s,
)
from codesign_ros.types.errors import CodesignError


def test_latency_adds_and_throughput_takes_the_slowest():
    assert time_s(Objective.LATENCY, 0.6, 0.3) == 0.6
    assert time_s(Objective.THROUGHPUT, 0.6, 0.3) == 0.3


def test_the_pace_is_the_slowest_stage_or_the_round_trip_over_the_window():
    stages = 0.01, 0.03, 0.02
    # 40 ms of delay beside the stages: 100 ms there and back.
    assert pace_s(*stages, 0.1, None) == pytest.approx(0.03)
    assert pace_s(*stages, 0.1, 1) == pytest.approx(0.1)
    assert pace_s(*stages, 0.1, 2) == pytest.approx(0.05)
    assert pace_s(*stages, 0.1, 4) == pytest.approx(0.03)
    # Beside its own stage a device has other things to do between two frames.
    assert pace_s(*stages, 0.1, None, head_gap_s=0.5) == pytest.approx(stages[0] + 0.5)
    assert pace_s(*stages, 0.1, None, tail_gap_s=0.5) == pytest.approx(stages[2] + 0.5)
    assert pace_s(0.02, 0.0, 0.0, 0.02, None, tail_gap_s=0.5) == pytest.approx(0.02)


def test_joint_objective():
    assert joint_objective(0.6, 0.02, 5.0) == pytest.approx(0.7)


def test_names():
    assert parse_objective("throughput") is Objective.THROUGHPUT
    with pytest.raises(CodesignError, match="unknown objective 'energy'; known are latency, thr"):
        parse_objective("energy")
