"""Turns on a shared device: by time, whoever floods, and never idle while somebody waits."""

import itertools
import threading
from collections import Counter

import pytest

from codesign_ros.runtime.engines.turns import FairTurns
from support.runtime import PATIENCE_S, no_thread_left, wait_until


@pytest.fixture(autouse=True)
def _no_thread_left():
    with no_thread_left():
        yield


class Device:
    """A device on which time passes only as users' turns take it."""

    def __init__(self, at_once=1):
        self.now_s = 0.0
        self.turns = FairTurns(at_once, lambda: self.now_s)
        self.history = []
        self._threads = []
        self._stopping = False

    def flood(self, user, turn_s):
        """Have a turn after the other, each of so long."""

        def work():
            while not self._stopping:
                with self.turns.turn(user, lambda: not self._stopping):
                    self._take(user, turn_s)
            # What was asked for ahead of the end is had as well.
            with self.turns.turn(user):
                pass

        self._threads.append(threading.Thread(target=work, daemon=True))

    def _take(self, user, turn_s):
        self.now_s += turn_s
        self.history.append((user, turn_s))

    def run(self, turns):
        """Start all at once, wait for so many turns, and end."""
        with self.turns.turn("the test"):
            for thread in self._threads:
                thread.start()
            wait_until(lambda: self.turns.waiting == len(self._threads))
        wait_until(lambda: len(self.history) >= turns)
        self._stopping = True
        for thread in self._threads:
            thread.join(PATIENCE_S)
        return self.history[:turns]


def had_s(history):
    found = Counter()
    for user, turn_s in history:
        found[user] += turn_s
    return found


@pytest.mark.parametrize("turns_s", [(1, 1), (1, 10), (1, 2, 8), (10, 1, 1, 1)])
def test_who_asks_all_the_time_gets_an_equal_part_of_the_time(turns_s):
    device = Device()
    for number, turn_s in enumerate(turns_s):
        device.flood(f"robot {number}", turn_s)
    history = device.run(turns=200)
    # At any time, as good as a turn that is not interrupted allows.
    for end in range(len(turns_s) * 2, len(history)):
        times = had_s(history[:end])
        assert len(times) == len(turns_s)
        assert max(times.values()) - min(times.values()) <= 2 * max(turns_s)


def test_a_robot_that_floods_keeps_nobody_waiting_for_more_than_its_turn():
    turns = FairTurns(1, clock := itertools.count().__next__)
    # It has had a lot while nobody else was there: that is no debt to anybody who comes.
    for _ in range(1000):
        with turns.turn("flood"):
            clock()
    order = []

    def one(user):
        with turns.turn(user):
            order.append(user)

    with turns.turn("flood", wants_more=lambda: True):
        others = [threading.Thread(target=one, args=(f"robot {n}",)) for n in range(3)]
        for number, other in enumerate(others):
            other.start()
            wait_until(lambda number=number: turns.waiting == number + 1)
    one("flood")
    for other in others:
        other.join(PATIENCE_S)
    assert order == ["robot 0", "robot 1", "robot 2", "flood"]


def test_nothing_is_saved_up_by_being_idle():
    device = Device()
    with device.turns.turn("late"):
        device.now_s += 1
    device.flood("early", 1)
    for _ in range(100):
        with device.turns.turn("early"):
            device.now_s += 1
    device.flood("late", 1)
    times = had_s(device.run(turns=20))
    assert abs(times["early"] - times["late"]) <= 2


def test_as_many_at_once_as_the_device_has_room_for():
    turns = FairTurns(at_once=2)
    inside, leave = [], threading.Event()

    def work(user):
        with turns.turn(user):
            inside.append(user)
            assert leave.wait(PATIENCE_S)

    threads = [threading.Thread(target=work, args=(f"robot {n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(inside) == 2 and turns.waiting == 1)
    leave.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(inside) == ["robot 0", "robot 1", "robot 2"]


def test_a_turn_that_fails_is_over():
    turns = FairTurns(at_once=1)
    with pytest.raises(ValueError, match="out of memory"), turns.turn("robot"):
        raise ValueError("out of memory")
    with turns.turn("robot"):
        assert turns.waiting == 0
