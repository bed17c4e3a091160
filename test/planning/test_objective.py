"""Eq. 11 with numbers worked out by hand."""

import pytest

from codesign_ros.planning.objective import (
    Objective,
    joint_objective,
    parse_objective,
    time_s,
)
from codesign_ros.types import CodesignError


def test_latency_adds_and_throughput_takes_the_slowest():
    assert time_s(Objective.LATENCY, 0.1, 0.3, 0.2) == pytest.approx(0.6)
    assert time_s(Objective.THROUGHPUT, 0.1, 0.3, 0.2) == pytest.approx(0.3)


def test_joint_objective():
    assert joint_objective(0.6, 0.02, 5.0) == pytest.approx(0.7)


def test_names():
    assert parse_objective("throughput") is Objective.THROUGHPUT
    with pytest.raises(CodesignError, match="unknown objective 'energy'; known are latency, thr"):
        parse_objective("energy")
