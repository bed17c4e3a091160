"""Frames as H.264 between head and tail: every answer is the one that one process gives, and a lost
frame costs those behind it until the head hears of it, never a wrong answer."""

from dataclasses import replace

import numpy as np
import pytest

from codesign_ros.runtime.messages import Status, TailAnswer, TailStatus
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.runtime.stages.head import HeadStage
from codesign_ros.runtime.stages.plan_check import check_plan
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.errors import CodesignError
from codesign_ros.wire.decode import WireError
from codesign_ros.wire.video.payload import KEY
from support.runtime import PATIENCE_S, Head, Tail, WatchedFactory, no_thread_left, plan_for
from support.tiny import TINY_INPUT, tiny_film

pytest.importorskip("av")

CODEC, RATE = "h264.23", 23


FILM = tiny_film(30, 0.02)


@pytest.fixture(autouse=True)
def _no_thread_left():
    with no_thread_left():
        yield


@pytest.fixture
def factory(tiny_bundle, engine_cache):
    return WatchedFactory(tiny_bundle, engine_cache)


def plan(bundle, epoch=1):
    return plan_for(bundle, epoch, 0, codec=CODEC, placed_on="/robot/tail")


def stages(bundle, factory):
    mine = plan(bundle)
    return HeadStage(bundle, mine, None), TailStage(bundle, mine, factory.build(tail_key(mine)))


def is_key(encoded):
    return bool(bytes(encoded[0].data)[0] & KEY)


@pytest.fixture
def expected(tiny_bundle, factory):
    """Scores of each frame as one process finds them: FFmpeg on the film, then the network."""
    from codesign_ros.evaluation.rate.video import FORMATS, VideoCoder

    coder = VideoCoder(FORMATS[0], RATE, 30.0)
    whole = HeadStage(
        tiny_bundle,
        plan_for(tiny_bundle, 9, tiny_bundle.last_cut),
        factory.build(head_key(plan_for(tiny_bundle, 9, tiny_bundle.last_cut))),
    )
    pictures = [coder.code(frame).image for frame in FILM]
    return [whole.run(picture).answer.class_scores for picture in pictures]


def test_head_and_tail_answer_as_one_process_does(tiny_bundle, factory, expected):
    head, tail = stages(tiny_bundle, factory)
    for number, frame in enumerate(FILM):
        sent = head.run(frame, sequence=number)
        assert is_key(sent.encoded) == (number == 0)
        assert (sent.kept, sent.codec) == ((), CODEC)  # the robot has the frame
        answer = tail.run(tail.decode(sent.encoded, (77, number)))
        np.testing.assert_allclose(answer.class_scores, expected[number], atol=1e-6)


def test_a_frame_without_a_number_needs_no_other(tiny_bundle, factory):
    head, tail = stages(tiny_bundle, factory)
    for frame in FILM[:3]:
        sent = head.run(frame)
        assert is_key(sent.encoded)
        assert tail.run(tail.decode(sent.encoded)).class_scores


def test_two_heads_are_two_films_and_a_third_takes_the_place_of_one(tiny_bundle, factory):
    _, tail = stages(tiny_bundle, factory)
    heads = {session: stages(tiny_bundle, factory)[0] for session in (1, 2, 3)}
    for number in (0, 1):
        for session in (1, 2):
            sent = heads[session].run(FILM[number], sequence=number).encoded
            tail.decode(sent, (session, number))
    tail.decode(heads[3].run(FILM[0], sequence=0).encoded, (3, 0))
    with pytest.raises(WireError, match="written after frame 1 of a stream, which is not here"):
        tail.decode(heads[1].run(FILM[2], sequence=2).encoded, (1, 2))


def test_what_is_no_frame_of_the_plan_is_refused(tiny_bundle, factory):
    head, tail = stages(tiny_bundle, factory)
    (sent,) = head.run(FILM[0], sequence=0).encoded
    for changes, reason in (
        ({"codec": "h264.28"}, "codec"),
        ({"codec": "jpeg"}, "codec"),
        ({"shape": (64, 98, 3)}, "shape"),
        ({"dtype": "float32"}, "dtype"),
        ({"name": "neck"}, "name"),
        ({"scale": np.ones(1, np.float32)}, "params"),
        ({"data": b""}, "length"),
        ({"data": bytes(1 << 20)}, "length"),
    ):
        with pytest.raises(WireError) as caught:
            tail.decode((replace(sent, **changes),), (77, 0))
        assert caught.value.reason == reason


def test_a_plan_may_have_it_for_the_frame_alone(tiny_bundle):
    check_plan(plan(tiny_bundle), tiny_bundle)
    with pytest.raises(CodesignError, match=r"codec 'h264\.23' cannot carry tensor"):
        check_plan(replace(plan(tiny_bundle), cut=3), tiny_bundle)


def run(bundle, factory, events, count):
    """Frames one by one through both runtimes; ``events`` by number: what happens before a frame.

    ``busy``: the tail says that it does not take it; ``start``: the tail is started anew.
    """
    sent, tails = [], []
    number = -1

    def send(embedding):
        sent.append(embedding)
        if events.get(number) == "busy":
            about = embedding.stamp, embedding.sequence, embedding.epoch
            refused = {"status": TailStatus.REFUSED, "session": embedding.session}
            head.runtime.on_answer(TailAnswer(*about, served_by="/robot/tail", **refused))
            return
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
        for number, frame in enumerate(FILM[:count]):
            if events.get(number) == "start":
                tails[-1].runtime.close()
                start()
            head.put(frame, number)
            head.wait_for(number + 1)
    finally:
        head.runtime.close()
        tails[-1].runtime.close()
    frames = [each for each in sent if each.tensors and each.tensors[0].codec == CODEC]
    return head.results, frames, tails[-1].runtime.refusals


def test_over_nodes_runtime(tiny_bundle, factory, expected):
    results, frames, refusals = run(tiny_bundle, factory, {}, len(FILM))
    assert not refusals
    assert [is_key(each.tensors) for each in frames] == [True] + [False] * (len(FILM) - 1)
    for result, frame, scores in zip(results, frames, expected, strict=True):
        assert (result.status, result.finished_by) == (Status.OK, "server")
        assert result.payload_bytes == frame.payload_bytes
        np.testing.assert_allclose(result.class_scores, scores, atol=1e-6)


@pytest.mark.parametrize(("event", "refused"), [("start", {"reference": 1}), ("busy", {})])
def test_after_a_hole_the_robot_finishes_the_frame_itself_and_begins_anew(
    tiny_bundle, factory, expected, event, refused
):
    results, frames, refusals = run(tiny_bundle, factory, {6: event}, 14)
    assert [result.status for result in results] == [Status.OK] * 14
    ways = [result.finished_by for result in results]
    assert ways == 6 * ["server"] + ["fallback"] + 7 * ["server"]
    assert refusals == refused
    assert [number for number, each in enumerate(frames) if is_key(each.tensors)] == [0, 7]
    for result, scores in zip(results[:6], expected, strict=False):
        np.testing.assert_allclose(result.class_scores, scores, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_a_link_does_what_is_read_is_what_was_written(tiny_bundle, factory, seed):
    """It loses, doubles and reorders frames and answers."""
    rng = np.random.default_rng(seed)
    head, tail = stages(tiny_bundle, factory)
    away, told, right, refused = [], [], 0, []
    for number in range(200):
        image = FILM[number % len(FILM)]
        sent = head.run(image, sequence=number)
        away += [(number, sent)] * int(rng.choice((0, 1, 2), p=(0.03, 0.94, 0.03)))
        if rng.random() < 0.05 and len(away) > 1:
            away[-1], away[-2] = away[-2], away[-1]
        while len(away) > 2:
            which, sent = away.pop(0)
            try:
                found = tail.decode(sent.encoded, (77, which))["image"]
            except WireError as error:
                refused.append(error.reason)
                told.append(which)
                continue
            assert np.abs(found.astype(int) - FILM[which % len(FILM)]).mean() < 8
            right += 1
        while len(told) > 2:
            head.forget(told.pop(0))
    assert right > 60
    assert {*refused} == {"reference"}
    assert FILM[0].shape == (TINY_INPUT.height, TINY_INPUT.width, 3)
