"""Frames of a film through a neck, each written after one that the tail has, over good and bad
links: every answer is the one that one process gives."""

import numpy as np
import pytest

from codesign_ros.runtime.messages import Status
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.runtime.stages.head import HeadStage
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.wire.decode import WireError
from codesign_ros.wire.neck.payload import AFTER
from support.runtime import (
    PATIENCE_S,
    Head,
    Tail,
    WatchedFactory,
    no_thread_left,
    plan_for,
)
from support.tiny import tiny_film
from support.tiny_neck import write_tiny_neck

CUT, LEVEL = 3, 1


FILM = tiny_film(30, 0.002)


@pytest.fixture(autouse=True)
def _no_thread_left():
    with no_thread_left():
        yield


@pytest.fixture(scope="module")
def bundle(tiny_bundle, tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "film.bundle"
    return write_tiny_neck(path, tiny_bundle, CUT, CUT, film=True)


@pytest.fixture
def factory(bundle, engine_cache):
    return WatchedFactory(bundle, engine_cache)


def plan(bundle, epoch=1):
    return plan_for(bundle, epoch, CUT, codec=f"neck.{LEVEL}", placed_on="/robot/tail")


def stages(bundle, factory):
    mine = plan(bundle)
    return (
        HeadStage(bundle, mine, factory.build(head_key(mine))),
        TailStage(bundle, mine, factory.build(tail_key(mine))),
    )


def is_after(encoded):
    return bool(bytes(encoded[0].data)[0] & AFTER)


@pytest.fixture
def expected(bundle, factory):
    """Scores and bytes of each frame that stands alone."""
    head, tail = stages(bundle, factory)
    encoded = [head.run(frame).encoded for frame in FILM]
    assert not any(map(is_after, encoded))
    scores = [tail.run(tail.decode(each)).class_scores for each in encoded]
    return scores, [each[0].payload_bytes for each in encoded]


def test_fewer_bytes_and_the_same_answers(bundle, factory, expected):
    head, tail = stages(bundle, factory)
    scores, alone_bytes = expected
    sizes = []
    for number, frame in enumerate(FILM):
        sent = head.run(frame, sequence=number)
        assert is_after(sent.encoded) == (number > 0)
        answer = tail.run(tail.decode(sent.encoded, (77, number)))
        assert answer.class_scores == scores[number]
        # The robot can finish it without knowing any other.
        assert tail.run(tail.decode(sent.kept)).class_scores == scores[number]
        head.heard(number)
        sizes.append(sent.encoded[0].payload_bytes)
    assert sum(sizes[1:]) < 0.8 * sum(alone_bytes[1:])


def test_a_frame_after_one_that_is_not_here_is_refused(bundle, factory):
    """Of another start of the head, of another plan, or of a tail that was started anew."""
    head, tail = stages(bundle, factory)
    tail.decode(head.run(FILM[0], sequence=0).encoded, (77, 0))
    head.heard(0)
    sent = head.run(FILM[1], sequence=1).encoded
    assert is_after(sent)
    _, other = stages(bundle, factory)
    for receiver, sender in ((tail, (78, 1)), (tail, None), (other, (77, 1))):
        with pytest.raises(WireError) as caught:
            receiver.decode(sent, sender)
        assert caught.value.reason in ("reference", "codec")
    head.forget(1)
    assert not is_after(head.run(FILM[2], sequence=2).encoded)


def test_a_tail_remembers_two_heads(bundle, factory):
    """More would let whoever invents sessions fill its memory."""
    _, tail = stages(bundle, factory)
    heads = {session: stages(bundle, factory)[0] for session in (1, 2, 3)}
    for number in (0, 1):
        for session in (1, 2):
            sent = heads[session].run(FILM[number], sequence=number).encoded
            assert is_after(sent) == (number == 1)
            tail.decode(sent, (session, number))
            heads[session].heard(number)
    tail.decode(heads[3].run(FILM[0], sequence=0).encoded, (3, 0))
    with pytest.raises(WireError, match="written after frame 1, which is not here"):
        tail.decode(heads[1].run(FILM[2], sequence=2).encoded, (1, 2))


def test_over_nodes_runtime_each_frame_follows_one_that_was_answered(bundle, factory, expected):
    sent = []

    def send(embedding):
        sent.append(embedding)
        tail.runtime.on_embedding(embedding)

    head = Head(bundle, factory, send_embedding=send, deadline_s=PATIENCE_S)
    tail = Tail(bundle, factory, send_answer=lambda answer: head.runtime.on_answer(answer))
    try:
        for runtime in (tail, head):
            runtime.use(plan(bundle))
        for number, frame in enumerate(FILM):
            head.put(frame, number)
            head.wait_for(number + 1)
        # Another plan: its first frame stands alone.
        for runtime in (tail, head):
            runtime.use(plan(bundle, 2))
        for number in range(3):
            head.put(FILM[number], len(FILM) + number)
            head.wait_for(len(FILM) + number + 1)
    finally:
        head.runtime.close()
        tail.runtime.close()
    scores, _ = expected
    frames = [each for each in sent if each.tensors[0].name == "neck"]
    n = len(FILM)
    assert [is_after(each.tensors) for each in frames] == [False] + (n - 1) * [True] + [
        False, True, True
    ]  # fmt: skip
    for at, result in enumerate(head.results):
        assert (result.status, result.finished_by) == (Status.OK, "server")
        np.testing.assert_allclose(result.class_scores, scores[at % n], atol=1e-6)
        assert result.payload_bytes == frames[at].payload_bytes
    assert not tail.runtime.refusals


def test_a_tail_started_anew_costs_a_frame_and_no_more(bundle, factory, expected):
    """It refuses what it has no frame for; the robot finishes that one, and begins anew."""
    sent = []
    tails = []

    def send(embedding):
        sent.append(embedding)
        tails[-1].runtime.on_embedding(embedding)

    def start():
        tails.append(
            Tail(bundle, factory, send_answer=lambda answer: head.runtime.on_answer(answer))
        )
        tails[-1].use(plan(bundle))

    head = Head(bundle, factory, send_embedding=send, deadline_s=PATIENCE_S)
    try:
        start()
        head.use(plan(bundle))
        for number, frame in enumerate(FILM[:12]):
            if number == 6:
                tails[-1].runtime.close()
                start()
            head.put(frame, number)
            head.wait_for(number + 1)
    finally:
        head.runtime.close()
        tails[-1].runtime.close()
    assert tails[-1].runtime.refusals == {"reference": 1}
    frames = [each for each in sent if each.tensors[0].name == "neck"]
    alone = [number for number, each in enumerate(frames) if not is_after(each.tensors)]
    assert alone == [0, 7]
    ways = [result.finished_by for result in head.results]
    assert ways == 6 * ["server"] + ["fallback"] + 5 * ["server"]
    scores, _ = expected
    for number, result in enumerate(head.results):
        assert result.status is Status.OK
        if result.finished_by == "server":
            np.testing.assert_allclose(result.class_scores, scores[number], atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_a_link_does_what_is_read_is_what_was_written(bundle, factory, seed):
    """It loses, doubles and reorders frames and answers; a tail may be started anew."""
    rng = np.random.default_rng(seed)
    head, tail = stages(bundle, factory)
    away, told, after = [], [], 0
    right, refused = 0, []
    for number in range(200):
        sent = head.run(FILM[number % len(FILM)], sequence=number)
        after += is_after(sent.encoded)
        away += [(number, sent)] * int(rng.choice((0, 1, 2), p=(0.2, 0.6, 0.2)))
        if number == 100:
            _, tail = stages(bundle, factory)
        while len(away) > 3:
            which, sent = away.pop(int(rng.integers(len(away))))
            try:
                found = tail.decode(sent.encoded, (77, which))
            except WireError as error:
                refused.append(error.reason)
                told.append((which, False))
                continue
            np.testing.assert_array_equal(found["neck"], tail.decode(sent.kept)["neck"])
            right += 1
            told.append((which, True))
        while len(told) > 2:
            which, is_ok = told.pop(int(rng.integers(len(told))))
            if rng.random() < 0.8:
                head.heard(which) if is_ok else head.forget(which)
    assert after > 50
    assert right > 100
    assert {*refused} == {"reference"}
    assert len(refused) < 60
