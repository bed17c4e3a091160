"""When a recording's next frame goes out."""

import threading
from types import SimpleNamespace

import pytest

from codesign_ros.data import pacing
from codesign_ros.data.pacing import ClockPacer, WindowPacer, make_pacer
from support.runtime import PATIENCE_S, no_thread_left


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves when somebody waits for ``stopping``."""
    clock = SimpleNamespace(now=10.0, waits=[], monotonic=lambda: clock.now)

    def wait(seconds):
        clock.waits.append(seconds)
        clock.now += seconds

    clock.stopping = SimpleNamespace(wait=wait)
    monkeypatch.setattr(pacing, "time", clock)
    return clock


def test_frames_go_out_as_far_apart_as_recorded(clock):
    pacer = ClockPacer(None, clock.stopping)
    for recorded_ns in (5_000_000_000, 5_100_000_000, 5_400_000_000):
        pacer.wait(recorded_ns)
    assert clock.waits == pytest.approx([0.0, 0.1, 0.3])
    clock.now += 1.0  # late frames go out at once, and no delay adds up
    pacer.wait(5_500_000_000)
    pacer.wait(6_600_000_000)
    assert clock.waits[3:] == pytest.approx([0.0, 0.2])


def test_a_recording_that_starts_again_keeps_its_pace(clock):
    pacer = ClockPacer(None, clock.stopping)
    for recorded_ns in (5_000_000_000, 5_200_000_000) * 2:
        pacer.wait(recorded_ns)
    assert clock.waits == pytest.approx([0.0, 0.2, 0.0, 0.2])


def test_a_clock_that_was_set_while_recording_is_no_pause_of_years(clock):
    pacer = ClockPacer(None, clock.stopping)
    for recorded_ns in (1_000_000_000, 1_700_000_000_000_000_000, 1_700_000_000_250_000_000):
        pacer.wait(recorded_ns)
    assert clock.waits == pytest.approx([0.0, 60.0, 0.25])


def test_frames_go_out_at_a_rate(clock):
    pacer = ClockPacer(20.0, clock.stopping)
    for recorded_ns in (0, 1, 0, 1):  # also when the recording starts again
        pacer.wait(recorded_ns)
    assert clock.waits == pytest.approx([0.0, 0.05, 0.05, 0.05])


def in_thread(work):
    done = threading.Event()
    thread = threading.Thread(target=lambda: (work(), done.set()))
    thread.start()
    return thread, done


def test_a_window_lets_a_frame_go_for_each_result():
    with no_thread_left():
        pacer = WindowPacer(2, PATIENCE_S, threading.Event())
        for stamp_ns in (1, 2):
            pacer.wait(0)  # there is room
            pacer.sent(stamp_ns)
        thread, done = in_thread(lambda: pacer.wait(0))
        pacer.answered(77)  # not one of ours
        assert not done.is_set()
        pacer.answered(2)
        assert done.wait(PATIENCE_S)
        thread.join()
    pacer.answered(2)  # a second answer makes no second place
    pacer.sent(3)
    assert pacer.unanswered == 0
    assert pacer._in_flight.keys() == {1, 3}


def test_a_window_goes_on_without_a_result_that_does_not_come(clock):
    pacer = WindowPacer(2, 5.0, threading.Event())
    pacer.sent(1)
    clock.now += 1.0
    pacer.sent(2)
    clock.now += 4.0
    pacer.wait(0)
    assert pacer.unanswered == 1
    assert pacer._in_flight.keys() == {2}


def test_a_full_window_does_not_hold_up_the_end():
    stopping = threading.Event()
    pacer = WindowPacer(1, PATIENCE_S, stopping)
    pacer.sent(1)
    with no_thread_left():
        thread, done = in_thread(lambda: pacer.wait(0))
        stopping.set()
        assert done.wait(PATIENCE_S)
        thread.join()


@pytest.mark.parametrize(
    ("name", "made", "rate_hz"),
    [
        ("window", "WindowPacer", None),
        ("live", "Pacer", None),
        ("rate", "ClockPacer", 7.0),
        ("stamps", "ClockPacer", None),
    ],
)
def test_pacers_by_name(name, made, rate_hz):
    pacer = make_pacer(name, rate_hz=7.0, window=2, timeout_s=1.0, stopping=threading.Event())
    assert type(pacer).__name__ == made
    assert getattr(pacer, "_rate_hz", None) == rate_hz
