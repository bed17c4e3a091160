"""Answered frames leave one by one and in order, whoever hands them on."""

import threading

import numpy as np

from codesign_ros.runtime.head.ledger import Frame, Outbox
from codesign_ros.runtime.messages import Stamp
from support.runtime import PATIENCE_S, wait_until


def frames(count):
    return [Frame(i, Stamp(i), lambda: np.zeros((1, 1, 3), np.uint8)) for i in range(count)]


def test_nothing_leaves_before_it_is_flushed():
    left = []
    outbox = Outbox(left.append)
    waiting = frames(3)
    outbox.put(waiting[:2])
    outbox.put(waiting[2:])
    assert left == []
    outbox.flush()
    assert left == waiting
    assert outbox.handed_on == 3
    outbox.flush()
    assert outbox.handed_on == 3


def test_a_receiver_may_answer_the_next():
    waiting = frames(5)
    left = []

    def hand_on(frame):
        left.append(frame)
        if len(left) < len(waiting):
            outbox.put([waiting[len(left)]])
            outbox.flush()

    outbox = Outbox(hand_on)
    outbox.put(waiting[:1])
    outbox.flush()
    assert left == waiting
    assert outbox.handed_on == 5


def test_a_slow_receiver_holds_up_nobody_who_answers():
    """While a frame is handed on, others enter; they leave after it, in order."""
    started, go_on = threading.Event(), threading.Event()
    left = []

    def hand_on(frame):
        started.set()
        assert go_on.wait(PATIENCE_S)
        left.append(frame.sequence)

    outbox = Outbox(hand_on)
    waiting = frames(3)
    outbox.put(waiting[:1])
    thread = threading.Thread(target=outbox.flush)
    thread.start()
    assert started.wait(PATIENCE_S)
    outbox.put(waiting[1:])
    assert outbox.handed_on == 0
    go_on.set()
    wait_until(lambda: outbox.handed_on == 3)
    thread.join()
    assert left == [0, 1, 2]
