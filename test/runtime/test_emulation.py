"""Emulation of a slower device and a thinner link, by a clock that the test moves."""

import threading
import time
from types import SimpleNamespace

import pytest

from codesign_ros.runtime import emulation


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    clock.perf_counter = lambda: clock.now

    def wait(seconds):
        clock.now += seconds

    clock.wait = wait
    monkeypatch.setattr(emulation, "time", clock)
    return clock


@pytest.mark.parametrize(("slowdown", "total_s"), [(0, 2), (0.5, 2), (1, 2), (1.5, 3), (8, 16)])
def test_work_takes_slowdown_times_its_own_time(clock, slowdown, total_s):
    def work():
        clock.now += 2.0
        return "done"

    assert emulation.stretched(work, slowdown, clock) == "done"
    assert clock.now - 100.0 == pytest.approx(total_s)


def test_work_that_fails_is_not_stretched(clock):
    with pytest.raises(ZeroDivisionError):
        emulation.stretched(lambda: 1 / 0, 8, clock)
    assert clock.now == 100.0


def test_who_is_closing_does_not_idle():
    closing = threading.Event()
    closing.set()
    assert emulation.stretched(lambda: time.sleep(0.01) or "done", 1e6, closing) == "done"


def test_a_payload_takes_its_bits_by_the_rate():
    assert emulation.transmission_s(125_000, 1e6) == pytest.approx(1.0)
    assert emulation.transmission_s(125_000, 0) == 0.0
