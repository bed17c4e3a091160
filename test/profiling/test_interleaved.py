"""Interleaved timing: what counts, in which order, and what a slow moment does."""

import pytest

from codesign_ros.hardware.sustained import Run, sustained_s
from codesign_ros.profiling.interleaved import InterleavedTimer


class Machine:
    """A clock that is moved by the work done; ``slowness`` stretches them."""

    def __init__(self):
        self.now_s, self.slowness, self.log = 0.0, 1.0, []

    def clock(self):
        return self.now_s

    def work(self, name, *times_s):
        def run(number):
            self.log.append((name, number))
            self.now_s += self.slowness * times_s[number % len(times_s)]

        return run


def test_the_median_counts_and_the_first_run_does_not():
    machine = Machine()
    timer = InterleavedTimer(machine.work("reference", 1.0), 3, clock=machine.clock)
    timer.time({"a": machine.work("a", 100.0, 4.0, 50.0, 6.0)})
    assert timer.typical_s() == {"a": 6.0}


def test_candidates_take_turns():
    machine = Machine()
    timer = InterleavedTimer(machine.work("r", 1.0), 2, clock=machine.clock)
    timer.time({"a": machine.work("a", 1.0), "b": machine.work("b", 2.0)})
    assert machine.log == [(name, number) for number in range(3) for name in "rab"]


def test_a_group_in_a_slow_moment_is_set_right_by_the_reference():
    machine = Machine()
    timer = InterleavedTimer(machine.work("r", 1.0), 3, clock=machine.clock)
    for slowness, name in ((1.0, "a"), (1.0, "b"), (3.0, "c")):
        machine.slowness = slowness
        timer.time({name: machine.work(name, 2.0)})
    assert timer.typical_s() == pytest.approx({"a": 2.0, "b": 2.0, "c": 2.0})


def test_what_is_timed_again_counts_as_timed_last():
    machine = Machine()
    timer = InterleavedTimer(machine.work("r", 1.0), 3, clock=machine.clock)
    timer.time({"a": machine.work("a", 2.0)})
    timer.time({"a": machine.work("a", 5.0)})
    assert timer.typical_s() == {"a": 5.0}


def test_without_a_quota_the_middle_time_counts():
    assert sustained_s([Run(1.0, 0.9), Run(3.0, 0.9), Run(2.0, 0.9)], None) == 2.0


def test_under_a_quota_runs_in_a_row_take_their_processor_time_over_it():
    # Half a core: 4 ms of work fit into a period of 10 ms, or stand still in it for 5.
    runs = [Run(0.004, 0.004), Run(0.004, 0.004), Run(0.009, 0.004)]
    assert sustained_s(runs, 0.5) == pytest.approx(0.008)


def test_a_quota_that_does_not_bind_changes_nothing():
    # One thread and one core; and a GPU that works while the processor waits.
    assert sustained_s([Run(0.011, 0.010), Run(0.012, 0.010)], 2.0) == pytest.approx(0.0115)
    assert sustained_s([Run(0.011, 0.002), Run(0.012, 0.002)], 0.5) == pytest.approx(0.0115)
