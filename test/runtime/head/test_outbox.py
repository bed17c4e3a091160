"""Answered frames leave one by one and in order, whoever hands them on."""

import threading

import numpy as np

from codesign_ros.runtime.head.ledger import Frame, Outbox
from codesign_ros.runtime.messages import Stamp
from support.runtime import PATIENCE_S, wait_until


def frames(count):
    return [Frame(i, Stamp(i), lambda: np.zeros((1, 1, 3), np.uint8)) for i in range(count)]


class Leaving:
    """The lock of a book of frames, and those that left while it was held."""

    def __init__(self, hand_on):
        self.lock = threading.RLock()
        self.counted = []
        self.outbox = Outbox(self.lock, self._leaves, hand_on)

    def _leaves(self, frame):
        assert self.lock._is_owned()
        self.counted.append(frame)


def test_nothing_leaves_before_it_is_flushed():
    left = []
    leaving = Leaving(left.append)
    outbox = leaving.outbox
    waiting = frames(3)
    outbox.put(waiting[:2])
    outbox.put(waiting[2:])
    assert left == leaving.counted == []
    assert len(outbox) == 3
    outbox.flush()
    assert left == leaving.counted == waiting
    assert len(outbox) == 0
    outbox.flush()
    assert left == leaving.counted == waiting


def test_a_receiver_may_answer_the_next():
    waiting = frames(5)
    left = []

    def hand_on(frame):
        left.append(frame)
        if len(left) < len(waiting):
            outbox.put([waiting[len(left)]])
            outbox.flush()

    leaving = Leaving(hand_on)
    outbox = leaving.outbox
    outbox.put(waiting[:1])
    outbox.flush()
    assert left == leaving.counted == waiting


def test_a_slow_receiver_holds_up_nobody_who_answers():
    """While a frame is handed on, others enter; they leave after it, in order."""
    started, go_on = threading.Event(), threading.Event()
    left = []

    def hand_on(frame):
        started.set()
        assert go_on.wait(PATIENCE_S)
        left.append(frame.sequence)

    leaving = Leaving(hand_on)
    outbox = leaving.outbox
    waiting = frames(3)
    outbox.put(waiting[:1])
    thread = threading.Thread(target=outbox.flush)
    thread.start()
    assert started.wait(PATIENCE_S)
    with leaving.lock:  # it is free meanwhile
        outbox.put(waiting[1:])
    assert (left, len(outbox)) == ([], 2)
    go_on.set()
    wait_until(lambda: len(left) == 3)
    thread.join()
    assert left == [0, 1, 2]
