"""How long a training goes on, with a clock that the test turns."""

import pytest

from codesign_ros.training import pace as module
from codesign_ros.training.pace import MOST_MEASUREMENTS, Pace, steps_that_fit


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def run(clock, pace, step_s, measure_s):
    """Run to the end; returns when measurements were made, and the time that all took [s]."""
    begun, done, last, measured = clock.now, 0, 0, []

    def measure():
        clock.now += measure_s
        pace.measured(measure_s)
        measured.append(done)

    while done < pace.steps:
        taken = step_s(clock.now - begun)
        clock.now += taken
        done += 1
        pace.stepped(done, taken)
        if pace.measure_now(done, last):
            measure()
            last = done
    measure()
    clock.now += measure_s  # the judgement
    return measured, clock.now - begun


@pytest.mark.parametrize("measure_s", [0.1, 5.0, 25.0])
@pytest.mark.parametrize("slower", [0.4, 1.0, 2.5])
def test_minutes_hold_also_when_the_machine_becomes_slower_or_faster(clock, slower, measure_s):
    budget_s = 600.0
    steps = steps_that_fit(budget_s, [1.0] * 6, measure_s, 1.0)
    pace = Pace(steps, budget_s=budget_s, measure_s=measure_s)
    measured, taken = run(clock, pace, lambda t: slower if t > 120 else 1.0, measure_s)
    assert 540 <= taken <= 660
    # Where steps turn out to be faster, the first measurements were nearer to each other.
    assert 2 <= len(measured) <= MOST_MEASUREMENTS + 3
    assert (len(measured) - 1) * measure_s <= 0.2 * budget_s + measure_s


@pytest.mark.parametrize("step_s", [0.5, 3.0])
def test_a_long_pause_ends_no_training_that_has_time_left(clock, step_s):
    begun, budget_s, paused = clock.now, 3600.0, []

    def taken(t):
        if t < 1000 or paused:
            return step_s
        paused.append(t)
        return 1800.0

    pace = Pace(round(budget_s / step_s), budget_s=budget_s, measure_s=1.0)
    _, all_s = run(clock, pace, taken, 1.0)
    assert paused
    assert clock.now - begun == all_s
    assert 0.95 * budget_s <= all_s <= 1.02 * budget_s


def test_what_an_interruption_had_taken_counts(clock):
    pace = Pace(1000, budget_s=600.0, spent_s=400.0, measure_s=1.0)
    _, taken = run(clock, pace, lambda _: 1.0, 1.0)
    assert 140 <= taken <= 220


def test_a_number_of_steps_holds_whatever_they_take(clock):
    pace = Pace(40)
    measured, _ = run(clock, pace, lambda t: 1.0 + t, 3.0)
    assert pace.steps == 40
    assert measured == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
