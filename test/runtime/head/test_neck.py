"""A head under a plan with a neck: levels by the rate of the link, and frames that it finishes."""

import numpy as np
import pytest

from codesign_ros.runtime.head import own_tail
from codesign_ros.runtime.head.uplink import Uplink
from codesign_ros.runtime.messages import Status
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.runtime.stages.head import HeadStage
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.plan import RateLevel
from support.runtime import (
    PATIENCE_S,
    Head,
    Tail,
    WatchedFactory,
    no_thread_left,
    plan_for,
    wait_until,
)
from support.tiny import tiny_frames

FRAMES = tiny_frames(4, seed=21)
LEVELS = tuple(RateLevel(level, 1000.0 / 4**level, 0.02 * level) for level in range(3))
FAST_BPS, THIN_BPS = 1e9, 1e4


@pytest.fixture(autouse=True)
def _no_thread_left():
    with no_thread_left():
        yield


@pytest.fixture
def factory(neck_bundle, engine_cache):
    return WatchedFactory(neck_bundle, engine_cache)


@pytest.fixture
def rate_bps(monkeypatch):
    """What the head believes of its link [bit/s]."""
    rate = [0.0]
    monkeypatch.setattr(Uplink, "bandwidth_bps", property(lambda uplink: rate[0]))
    return rate


@pytest.fixture
def plan(neck_bundle):
    more = {"levels": LEVELS, "lambda_1": 1.0, "link_bps": FAST_BPS}
    return plan_for(neck_bundle, 1, 3, codec="neck.0", placed_on="/robot/tail", **more)


@pytest.fixture
def expected(neck_bundle, factory, plan):
    """Scores of each frame at each level."""
    head = HeadStage(neck_bundle, plan, factory.build(head_key(plan)))
    tail = TailStage(neck_bundle, plan, factory.build(tail_key(plan)))
    scores = {}
    for level in range(3):
        for number, frame in enumerate(FRAMES):
            latent = head._engine.run({"image": frame})["neck"]
            encoded = head._neck.encode(latent, level)
            scores[number, level] = tail.run(tail.decode([encoded])).class_scores
    return scores


def test_levels_follow_the_link_and_every_frame_is_answered(
    neck_bundle, factory, plan, expected, rate_bps
):
    sent = []

    def send(embedding):
        sent.append(embedding)
        tail.runtime.on_embedding(embedding)

    head = Head(neck_bundle, factory, send_embedding=send, deadline_s=PATIENCE_S)
    tail = Tail(neck_bundle, factory, send_answer=lambda answer: head.runtime.on_answer(answer))
    try:
        for runtime in (tail, head):
            runtime.use(plan)
        for count, rate in enumerate((0.0, FAST_BPS, THIN_BPS, FAST_BPS), start=1):
            rate_bps[0] = rate
            for number, frame in enumerate(FRAMES):
                head.put(frame, number)
            head.wait_for(count * len(FRAMES))
    finally:
        head.runtime.close()
        tail.runtime.close()
    frames = [each for each in sent if each.tensors[0].name == "neck"]
    codecs = [each.tensors[0].codec for each in frames]
    levels = [int(codec.removeprefix("neck.")) for codec in codecs]
    n = len(FRAMES)
    assert levels == [0] * n + [0] * n + [2] * n + [0] * n
    assert {each.epoch for each in frames} == {1}
    assert len(head.results) == 4 * n
    for at, (result, level) in enumerate(zip(head.results, levels, strict=True)):
        assert (result.status, result.finished_by) == (Status.OK, "server")
        np.testing.assert_allclose(result.class_scores, expected[at % n, level], atol=1e-6)
        assert result.payload_bytes == frames[at].payload_bytes
    assert not tail.runtime.refusals


def test_what_crossed_is_finished_on_the_robot(
    neck_bundle, factory, plan, expected, rate_bps, monkeypatch
):
    """The server goes with the latents; the robot has its own decoder and tail."""
    monkeypatch.setattr(own_tail, "SETTLED_S", 0.0)
    monkeypatch.setattr(own_tail, "quickest_s", lambda works: [1.0, 2.0])
    rate_bps[0] = THIN_BPS
    sent = []
    head = Head(neck_bundle, factory, send_embedding=sent.append, deadline_s=PATIENCE_S)
    try:
        head.use(plan)
        wait_until(lambda: head.runtime._plans.stages.own_tail is not None)
        for number, frame in enumerate(FRAMES):
            head.put(frame, number)
            wait_until(lambda number=number: sum(e.epoch == 1 for e in sent) > number)
        gone = plan_for(neck_bundle, 2, neck_bundle.last_cut, server_available=False)
        head.use(gone)
        head.wait_for(len(FRAMES))
    finally:
        head.runtime.close()
    assert all(each.tensors[0].codec == "neck.2" for each in sent)
    for number, result in enumerate(head.results):
        assert (result.status, result.finished_by) == (Status.OK, "fallback")
        np.testing.assert_allclose(result.class_scores, expected[number, 2], atol=1e-6)
