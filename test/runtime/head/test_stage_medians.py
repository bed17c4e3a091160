"""What the stages of the plan in force really take."""

import math

import pytest

from codesign_ros.runtime.device import StageMedians
from codesign_ros.runtime.head.stage_medians import RunningTimes
from codesign_ros.runtime.messages import Result, Stamp


def frame(epoch, head_s=0.0, link_s=0.0, tail_s=0.0, **others):
    return Result(Stamp(0), 0, epoch, head_s=head_s, link_s=link_s, tail_s=tail_s, **others)


def test_nothing_is_known_at_first():
    assert RunningTimes().running == StageMedians()


def test_each_stage_with_its_codec_and_without_the_queue():
    times = RunningTimes()
    times.add(frame(3, 0.1, 0.2, 0.3, encode_s=0.01, decode_s=0.02, queue_s=9.0))
    running = times.running
    assert (running.epoch, running.frames) == (3, 1)
    assert (running.head_s, running.link_s, running.tail_s) == pytest.approx((0.11, 0.2, 0.32))
    assert running.latency_s == pytest.approx(0.63)


def test_medians_of_the_last_nine_frames():
    times = RunningTimes()
    for head_s in (9.0, 9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0):
        times.add(frame(1, head_s))
    assert times.running.head_s == 5.0  # of 9, 1 to 8
    assert times.running.frames == 11


def test_a_new_epoch_begins_anew_and_an_old_one_counts_nothing():
    times = RunningTimes()
    times.add(frame(1, 1.0))
    times.add(frame(2, 5.0))
    times.add(frame(1, 1.0))
    assert times.running == StageMedians(2, 1, 5.0)


@pytest.mark.parametrize("lie", [math.nan, math.inf, -math.inf, -1.0])
def test_what_is_no_time_counts_nothing(lie):
    times = RunningTimes()
    times.add(frame(1, 1.0, 2.0, 3.0))
    times.add(frame(1, 1.0, 2.0, lie))
    times.add(frame(7, 1.0, 2.0, lie))
    assert times.running == StageMedians(1, 1, 1.0, 2.0, 3.0)
