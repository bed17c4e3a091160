"""What the stages of the plan in force really take."""

import math

import pytest

from codesign_ros.hardware.sustained import Run
from codesign_ros.runtime.device import Payload, StageMedians
from codesign_ros.runtime.head.stage_medians import ProcessorUse, RunningTimes
from codesign_ros.runtime.messages import Result, Stamp


def frame(epoch, head_s=0.0, link_s=0.0, tail_s=0.0, **others):
    return Result(Stamp(0), 0, epoch, head_s=head_s, link_s=link_s, tail_s=tail_s, **others)


def test_nothing_is_known_at_first():
    assert RunningTimes().running == StageMedians()


def test_each_stage_with_its_codec_and_without_the_queue():
    times = RunningTimes()
    times.add(frame(3, 0.1, 0.2, 0.3, encode_s=0.01, decode_s=0.02, queue_s=9.0), None, 0.0)
    running = times.running
    assert (running.epoch, running.frames) == (3, 1)
    assert (running.head_s, running.link_s, running.tail_s) == pytest.approx((0.11, 0.2, 0.32))
    assert running.latency_s == pytest.approx(0.63)


def test_medians_of_the_last_nine_frames():
    times = RunningTimes()
    for head_s in (9.0, 9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0):
        times.add(frame(1, head_s), None, 0.0)
    assert times.running.head_s == 5.0  # of 9, 1 to 8
    assert times.running.frames == 11


def test_a_new_epoch_begins_anew_and_an_old_one_counts_nothing():
    times = RunningTimes()
    times.add(frame(1, 1.0), None, 0.0)
    times.add(frame(2, 5.0), None, 0.0)
    times.add(frame(1, 1.0), None, 0.0)
    assert times.running == StageMedians(2, 1, 5.0)


@pytest.mark.parametrize("lie", [math.nan, math.inf, -math.inf, -1.0])
def test_what_is_no_time_counts_nothing(lie):
    times = RunningTimes()
    times.add(frame(1, 1.0, 2.0, 3.0), None, 0.0)
    times.add(frame(1, 1.0, 2.0, lie), None, 0.0)
    times.add(frame(7, 1.0, 2.0, lie), None, 0.0)
    assert times.running == StageMedians(1, 1, 1.0, 2.0, 3.0)


def test_gaps_between_frames_in_a_row():
    times = RunningTimes()
    now_s = 100.0
    # The tail finishes one each 50 ms, of which 30 are the stage: all but the first waited for it.
    for number in range(9):
        queue_s = 0.04 if number else 0.0
        head_gap_s = 0.01 if number % 2 else None
        times.add(frame(1, 0.1, 0.1, 0.03, queue_s=queue_s), head_gap_s, now_s)
        now_s += 0.05
    assert times.running.head_gap_s == pytest.approx(0.01)
    assert times.running.tail_gap_s == pytest.approx(0.02)


def test_frames_that_come_one_by_one_show_no_gap():
    times = RunningTimes()
    for number in range(9):
        times.add(frame(1, 0.1, 0.1, 0.03, queue_s=0.001), None, 0.5 * number)
    assert (times.running.head_gap_s, times.running.tail_gap_s) == (0.0, 0.0)


def test_gaps_of_another_epoch_are_forgotten():
    times = RunningTimes()
    for number in range(9):
        times.add(frame(1, queue_s=0.04), 0.01, 0.5 * number)
    times.add(frame(2, queue_s=0.04), 0.01, 5.0)
    assert (times.running.head_gap_s, times.running.tail_gap_s) == (0.0, 0.0)


def test_sizes_of_the_last_frames_by_codec():
    times = RunningTimes()
    for codec, size in (
        *[("neck.0", 9999)] * 3,  # nine others came since
        *[("neck.1", size) for size in (200, 400, 600, 400)],
        ("", 0),  # finished by the robot
        *[("neck.0", size) for size in (1000, 1300, 700)],
        *[("neck.2", 50)] * 2,  # too few to tell a mean
    ):
        times.add(frame(1, payload_bytes=size), None, 0.0, codec=codec)
    several, few = times.running.payloads
    assert several == Payload("neck.1", 4, 400.0, pytest.approx((2 * 200**2 / 4) ** 0.5))
    assert few == Payload("neck.0", 3, 1000.0, pytest.approx((2 * 300**2 / 3) ** 0.5))
    times.add(frame(2), None, 0.0)
    assert times.running.payloads == ()


def test_what_a_stage_takes_in_a_row_on_half_a_core():
    """Of 4 ms of processor time each; a quick one had the quota to itself, others waited for it."""
    runs = [Run(wall_s, 0.004) for wall_s in (0.004, 0.005, 0.010, 0.004, 0.005)]
    scarce, free = RunningTimes(0.5), RunningTimes()
    for times in (scarce, free):
        assert times.running.head_busy_s == 0.0
        for run in runs:
            times.add(frame(1, run.wall_s), None, 0.0, head_run=run)
    assert scarce.running.head_s == free.running.head_s == 0.005
    assert scarce.running.head_busy_s == pytest.approx(0.008)
    assert free.running.head_busy_s == 0.0
    scarce.add(frame(2, 0.1), None, 0.0)
    assert scarce.running.head_busy_s == 0.0


def processor_use(cores):
    cpu_s = iter((1.000, 1.004, 1.010, 1.500, 1.503))
    return ProcessorUse(cores, lambda: next(cpu_s))


def test_what_is_done_for_a_frame_takes_longer_on_half_a_core():
    use = processor_use(0.5)
    assert use.frame(is_next=True) is None  # the first: nothing to count from
    assert use.frame(is_next=True) == pytest.approx(0.008)
    assert use.frame(is_next=True) == pytest.approx(0.012)


def test_what_an_idle_robot_does_is_not_for_a_frame():
    use = processor_use(0.5)
    assert [use.frame(is_next=False) for _ in range(3)] == [None] * 3


def test_where_other_cores_have_time_for_it_nothing_is_known():
    use = processor_use(None)
    assert [use.frame(is_next=True) for _ in range(3)] == [None] * 3
