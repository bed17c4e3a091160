"""The book of frames: one answer each, in frame order, whatever happens in between."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.runtime.head.ledger import FrameLedger, Phase
from codesign_ros.runtime.messages import Result, Stamp


def load():
    return np.zeros((2, 2, 3), np.uint8)


def admit(ledger, count):
    return [ledger.admit(Stamp(number), load) for number in range(count)]


def result(frame):
    return Result(frame.stamp, frame.sequence, frame.epoch)


def test_frames_are_numbered_in_order_of_arrival():
    ledger = FrameLedger()
    assert [frame.sequence for frame in admit(ledger, 3)] == [0, 1, 2]
    assert len(ledger) == 3
    assert ledger.find(1).stamp == Stamp(1)
    assert ledger.find(3) is None


def test_an_answer_waits_for_those_before_it():
    ledger = FrameLedger()
    first, second, third = admit(ledger, 3)
    assert ledger.finish(third, result(third)) == []
    assert ledger.finish(first, result(first)) == [first]
    assert first.result == result(first)
    assert len(ledger) == 2
    assert ledger.finish(second, result(second)) == [second, third]
    assert len(ledger) == 0


def test_a_second_answer_is_an_error():
    ledger = FrameLedger()
    held, answered = admit(ledger, 2)
    ledger.finish(answered, result(answered))
    assert ledger.find(answered.sequence) is None
    with pytest.raises(ValueError, match="frame 1 has its answer"):
        ledger.finish(answered, result(answered))
    ledger.finish(held, result(held))
    with pytest.raises(ValueError, match="frame 0 has its answer"):
        ledger.finish(held, result(held))


def test_an_answered_frame_lets_go_of_its_image():
    ledger = FrameLedger()
    _, held_back = admit(ledger, 2)
    held_back.image = load()
    ledger.finish(held_back, result(held_back))
    assert held_back.image is None


def test_deadlines_run_on_the_link_and_at_the_tail_only():
    ledger = FrameLedger()
    frames = admit(ledger, 5)
    phases = (Phase.WAITING, Phase.COMPUTING, Phase.SENDING, Phase.REMOTE, Phase.REMOTE)
    for number, (frame, phase) in enumerate(zip(frames, phases, strict=True)):
        frame.phase, frame.deadline_s = phase, 10.0 + number
    assert ledger.next_deadline_s() == 12.0
    assert ledger.strand_overdue(11.9) == []
    assert ledger.strand_overdue(13.0) == frames[2:4]
    assert ledger.in_phase(Phase.STRANDED) == frames[2:4]
    assert ledger.next_deadline_s() == 14.0
    assert ledger.strand_all() == [frames[4]]
    assert ledger.next_deadline_s() == float("inf")
    assert [frame.phase for frame in frames[:2]] == [Phase.WAITING, Phase.COMPUTING]


def test_the_oldest_epoch_is_that_of_a_frame_that_has_started():
    ledger = FrameLedger()
    assert ledger.oldest_epoch(7) == 7
    started, waiting = admit(ledger, 2)
    assert ledger.oldest_epoch(7) == 7
    waiting.epoch = 1
    started.phase, started.epoch = Phase.REMOTE, 5
    assert ledger.oldest_epoch(7) == 5
    # Numbers may begin anew: the oldest is that of the oldest frame.
    waiting.phase, waiting.epoch = Phase.COMPUTING, 1
    assert ledger.oldest_epoch(1) == 5


@given(order=st.permutations(range(8)), strand_after=st.integers(0, 8))
def test_every_frame_is_released_once_and_in_order(order, strand_after):
    ledger = FrameLedger()
    frames = admit(ledger, len(order))
    for frame in frames:
        frame.phase = Phase.REMOTE
    released = []
    for step, number in enumerate(order):
        if step == strand_after:
            stranded = {frame.sequence for frame in ledger.strand_all()}
            assert stranded == set(order[step:])
        assert [f.sequence for f in ledger.unanswered()] == sorted(order[step:])
        released += ledger.finish(frames[number], result(frames[number]))
        # Released is exactly what nothing unanswered precedes.
        unanswered = set(order[step + 1 :])
        assert len(released) == min(unanswered, default=len(order))
    assert [answer.sequence for answer in released] == list(range(len(order)))
