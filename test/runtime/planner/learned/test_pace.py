"""How many frames a second a robot has, by what its head reports."""

import pytest

from codesign_ros.runtime.device import StageMedians
from codesign_ros.runtime.planner.learned.pace import Pace

BEAT_S = 0.5


def reports(rate_hz, seconds, epoch=1, start=0, **stages):
    """A head's reports, twice a second."""
    for beat in range(int(seconds / BEAT_S) + 1):
        yield StageMedians(epoch, start + int(rate_hz * beat * BEAT_S), **stages)


def follow(pace, *streams, now_s=0.0):
    for stream in streams:
        for report in stream:
            pace.take(report, now_s)
            now_s += BEAT_S
    return pace.frames_hz


def test_a_camera_s_rate():
    assert follow(Pace(), reports(10, 2)) is None
    assert follow(Pace(), reports(10, 30, start=700)) == pytest.approx(10, rel=0.01)
    # Each plan counts from 0.
    streams = [reports(10, 10, epoch) for epoch in range(1, 4)]
    assert follow(Pace(), *streams) == pytest.approx(10, rel=0.1)
    # What was long ago is forgotten.
    changed = follow(Pace(), reports(30, 60), reports(3, 60, start=1800))
    assert changed == pytest.approx(3, rel=0.5)


def test_nobody_knows_what_a_robot_could_do_that_never_rests():
    assert follow(Pace(), reports(10, 30, head_s=0.05, link_s=0.02, tail_s=0.06)) is not None
    assert follow(Pace(), reports(10, 30, head_s=0.09)) is None
    assert follow(Pace(), reports(10, 30, head_s=0.06, head_gap_s=0.03)) is None
    assert follow(Pace(), reports(10, 30, link_s=0.1)) is None
    assert follow(Pace(), reports(10, 30, tail_s=0.06, tail_gap_s=0.03)) is None


def test_who_has_no_frames_is_in_nobody_s_way():
    assert 0 < follow(Pace(), reports(0, 30)) < 0.1
