"""The way up: order, what may be sent, what the link is measured to be, and hostile answers."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from codesign_ros.runtime.head import uplink as module
from codesign_ros.runtime.head.uplink import LinkTime, Uplink
from codesign_ros.runtime.messages import Embedding, EmbeddingKind, Stamp
from codesign_ros.wire.codecs import encode
from support.runtime import no_thread_left, wait_until

FRAME, PROBE = EmbeddingKind.FRAME, EmbeddingKind.PROBE


@pytest.fixture(autouse=True)
def _no_thread_left():
    with no_thread_left():
        yield


@pytest.fixture
def clock(monkeypatch):
    """The uplink's clock; stands still until the test moves it."""
    clock = SimpleNamespace(now=50.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def make(monkeypatch):
    """Make uplinks whose embeddings go to ``.sent``; failed ones to ``.failed``.

    None waits for room before the rate is known.
    """
    made = []
    monkeypatch.setattr(module, "_UNKNOWN_CROSSING_S", 0.0)

    def make_one(send=None, emulated_bps=0.0):
        sent, failed = [], []
        uplink = Uplink(send or sent.append, failed.append, emulated_bps)
        uplink.sent, uplink.failed = sent, failed
        made.append(uplink)
        return uplink

    yield make_one
    for uplink in made:
        uplink.close()


def embedding(sequence, size=8, kind=FRAME):
    tensors = (encode("x", np.zeros(size, np.uint8), "raw"),)
    return Embedding(Stamp(0), sequence, 1, 1, "model", 3, tensors, kind)


def put(uplink, *embeddings):
    """Send embeddings and wait until they are out."""
    before = len(uplink.sent)
    for each in embeddings:
        uplink.submit(each, lambda: True)
    wait_until(lambda: len(uplink.sent) == before + len(embeddings))


def test_embeddings_leave_in_order_if_they_may(make):
    uplink = make()
    for number in range(20):
        uplink.submit(embedding(number), lambda number=number: number % 3 > 0)
    uplink.submit(embedding(99), lambda: True)
    wait_until(lambda: uplink.sent and uplink.sent[-1].sequence == 99)
    numbers = [each.sequence for each in uplink.sent]
    assert numbers == [n for n in range(20) if n % 3] + [99]


def test_what_send_raises_costs_one_embedding(make, caplog):
    def send(each):
        if each.sequence == 1:
            raise OSError("no route")
        uplink.sent.append(each)

    uplink = make(send)
    for number in range(3):
        uplink.submit(embedding(number), lambda: True)
    wait_until(lambda: len(uplink.sent) == 2)
    assert [each.sequence for each in uplink.sent] == [0, 2]
    assert [each.sequence for each in uplink.failed] == [1]
    assert "embedding 1 could not be sent" in caplog.text
    assert "no route" in caplog.text


def test_the_link_time_is_what_the_tail_did_not_spend(make, clock):
    uplink = make()
    put(uplink, embedding(0))
    clock.now += 0.75
    assert uplink.answered(FRAME, 0, remote_s=0.25).total_s == pytest.approx(0.5)
    assert uplink.answered(FRAME, 0, remote_s=0.25) == LinkTime()  # a second answer
    assert uplink.answered(FRAME, 7, remote_s=0.25) == LinkTime()  # never sent


def test_frames_and_probes_count_apart(make, clock):
    uplink = make()
    put(uplink, embedding(4), embedding(4, kind=PROBE))
    clock.now += 1.0
    assert uplink.answered(PROBE, 4, 0.0).total_s == pytest.approx(1.0)
    assert uplink.answered(FRAME, 4, 0.0).total_s == pytest.approx(1.0)


def test_rate_delay_and_error_are_measured(make, clock):
    uplink = make()
    assert (uplink.bandwidth_bps, uplink.bandwidth_error_bps, uplink.delay_s) == (0.0, 0.0, 0.0)
    rate_bps, delay_s, tail_s = 8e6, 0.02, 0.3
    for number in range(24):
        size = 64 if number % 2 else 50_000 + 10_000 * (number % 3)
        put(uplink, embedding(number, size))
        on_link_s = 8 * size / rate_bps if size > 64 else 0.0
        clock.now += on_link_s + delay_s + tail_s
        uplink.answered(FRAME, number, tail_s)
    assert uplink.delay_s == pytest.approx(delay_s)
    assert uplink.bandwidth_bps == pytest.approx(rate_bps, rel=0.1)
    assert 0 < uplink.bandwidth_error_bps < 0.2 * rate_bps
    assert [each.payload_bytes for each in uplink.samples][-2:] == [60_000, 64]


@pytest.mark.parametrize("in_flight", [1, 2, 3, 6])
def test_the_rate_is_the_link_s_however_many_embeddings_are_in_flight(
    make, clock, in_flight, monkeypatch
):
    """A link that is the bottleneck: each answer lets the next embedding go, room or not."""
    uplink = make()
    monkeypatch.setattr(uplink, "_note_crossing", lambda sequence, crossing_s: None)
    rate_bps, delay_s, size, tail_s = 8e6, 0.02, 50_000, 0.001
    for number in range(100, 103):
        put(uplink, embedding(number, 64, PROBE))
        clock.now += delay_s
        uplink.answered(PROBE, number, 0.0)
    arrivals, free_s = [], clock.now
    own_s = []
    for number in range(60):
        if len(arrivals) == in_flight:
            sequence, arrival_s = arrivals.pop(0)
            clock.now = arrival_s
            link = uplink.answered(FRAME, sequence, tail_s)
            own_s.append(link.total_s - link.waited_s)
        put(uplink, embedding(number, size))
        free_s = max(free_s, clock.now) + 8 * size / rate_bps
        arrivals.append((number, free_s + delay_s + tail_s))
    assert uplink.bandwidth_bps == pytest.approx(rate_bps, rel=0.1)
    assert own_s == pytest.approx([8 * size / rate_bps + delay_s] * len(own_s))


@pytest.mark.parametrize("remote_s", [float("nan"), float("inf"), float("-inf"), -1e9, 1e9])
def test_a_tail_that_lies_about_its_time_breaks_nothing(make, clock, remote_s):
    uplink = make()
    for number, size in enumerate((64, 50_000, 64, 50_000)):
        put(uplink, embedding(number, size))
        clock.now += 0.1
        assert 0.0 <= uplink.answered(FRAME, number, remote_s).total_s <= 0.1 + 1e-9
    assert np.isfinite(uplink.bandwidth_bps)
    assert 0.0 <= uplink.delay_s <= 0.1 + 1e-9


def test_what_is_never_answered_is_forgotten(make):
    uplink = make()
    put(uplink, *(embedding(number) for number in range(300)))
    assert sum(uplink.answered(FRAME, number, 0.0).total_s > 0 for number in range(300)) <= 64


def test_probes_are_numbered_and_of_the_template_s_plan(make, clock):
    uplink = make()
    for _ in range(4):
        before = len(uplink.sent)
        uplink.probe(embedding(0))
        wait_until(lambda before=before: len(uplink.sent) > before)
        clock.now += 0.01
        for probe in uplink.sent[before:]:
            uplink.answered(PROBE, probe.sequence, 0.0)
    probes = uplink.sent
    assert [each.payload_bytes for each in probes][:3] == [64, 64, 2048]
    assert len({each.sequence for each in probes}) == len(probes)
    assert {(each.kind, each.epoch, each.model_id, each.cut) for each in probes} == {
        (PROBE, 1, "model", 3)
    }


def test_while_the_rate_is_not_known_the_next_probe_should_not_wait(make, clock):
    uplink = make()
    assert uplink.learning
    uplink.probe(embedding(0))
    wait_until(lambda: uplink.sent)
    clock.now += 0.01
    uplink.answered(PROBE, uplink.sent[0].sequence, 0.0)
    uplink.probe(embedding(0))
    assert not uplink.learning  # a large one is out
    wait_until(lambda: len(uplink.sent) == 3)
    uplink.answered(PROBE, uplink.sent[2].sequence, 0.0)
    assert uplink.learning


def test_it_leaves_at_the_emulated_rate(make, monkeypatch):
    asked = []
    uplink = make(emulated_bps=1e6)
    monkeypatch.setattr(uplink._stopping, "wait", lambda s: asked.append(s))
    put(uplink, embedding(0, 1000), embedding(1, 250))
    assert asked == pytest.approx([8e-3, 2e-3])


def test_closing_does_not_wait_for_the_link(make):
    uplink = make(emulated_bps=1.0)  # each of these would take hours
    asked = threading.Event()
    uplink.submit(embedding(0, 10_000), lambda: not asked.set())
    uplink.submit(embedding(1, 10_000), lambda: True)
    assert asked.wait(10)
    uplink.close()
    assert uplink.sent == []


def test_a_frame_follows_when_the_one_before_is_nearly_across(make, clock):
    uplink = make()
    uplink._meter.bandwidth_bps = 8000.0  # 1 kB/s by the meter, which has its own tests
    put(uplink, embedding(1, 1000))
    asked = []
    uplink.submit(embedding(2, 1000), lambda: asked.append(clock.now) or True)
    clock.now += 0.7
    clock.now += 0.1
    wait_until(lambda: len(uplink.sent) == 2)
    assert asked == [pytest.approx(50.8)]  # not before it may go: until then it can be taken back
    # The third has both before it to wait for: 2 s in all, but for a quarter of the last.
    uplink.submit(embedding(3, 1000), lambda: asked.append(clock.now) or True)
    clock.now = 51.8
    wait_until(lambda: len(uplink.sent) == 3)
    assert asked[-1] == pytest.approx(51.8)


def test_an_answer_that_comes_early_makes_room(make, clock):
    uplink = make()
    uplink._meter.bandwidth_bps = 8.0
    put(uplink, embedding(1, 1000))
    uplink.submit(embedding(2, 1000), lambda: True)
    uplink.answered(FRAME, 1, 0.0)
    wait_until(lambda: len(uplink.sent) == 2)


def test_an_answer_says_how_much_is_still_on_the_link_whatever_the_rate(make, clock):
    uplink = make()
    uplink._meter.bandwidth_bps = 8000.0
    put(uplink, embedding(1, 1000))
    clock.now += 0.75
    put(uplink, embedding(2, 100))  # by the rate 1.1 s until both are across
    clock.now += 0.05
    uplink.answered(FRAME, 1, 0.0)  # 0.1 s for the second
    uplink.submit(embedding(3, 1000), lambda: True)
    clock.now += 0.08
    wait_until(lambda: len(uplink.sent) == 3)


def test_before_the_rate_is_known_a_frame_follows_the_answer_to_the_one_before(
    make, clock, monkeypatch
):
    uplink = make()
    monkeypatch.setattr(module, "_UNKNOWN_CROSSING_S", 1.0)
    put(uplink, embedding(1, 1000))
    asked = []
    uplink.submit(embedding(2, 1000), lambda: asked.append(clock.now) or True)
    clock.now += 0.5
    uplink.answered(FRAME, 1, 0.0)
    wait_until(lambda: len(uplink.sent) == 2)
    uplink.submit(embedding(3, 1000), lambda: asked.append(clock.now) or True)
    clock.now += 0.8  # there may be no answer
    wait_until(lambda: len(uplink.sent) == 3)
    assert asked == pytest.approx([50.5, 51.3])


def test_behind_a_frame_that_was_much_slower_than_the_rate_the_next_ones_keep_its_distance(
    make, clock
):
    """Sent as fast as the old rate says, they would be replaced in the middleware's queue."""
    uplink = make()
    uplink._meter.bandwidth_bps = 8e6
    put(uplink, embedding(1, 1000))  # 1 ms by the rate
    clock.now += 0.4
    uplink.answered(FRAME, 1, 0.1)
    put(uplink, embedding(2, 1000))
    asked = []
    uplink.submit(embedding(3, 1000), lambda: asked.append(clock.now) or True)
    clock.now += 0.22
    clock.now += 0.01
    wait_until(lambda: len(uplink.sent) == 3)
    assert asked == [pytest.approx(50.63)]  # three quarters of 0.3 s later
    # Another that is as slow does not make it usual.
    clock.now += 0.2
    uplink.answered(FRAME, 2, 0.0)
    uplink.answered(FRAME, 3, 0.0)
    asked.clear()
    put(uplink, embedding(4, 1000))
    uplink.submit(embedding(5, 1000), lambda: asked.append(clock.now) or True)
    clock.now += 0.1
    assert not asked
    uplink.answered(FRAME, 4, 0.0995)  # on time
    wait_until(lambda: len(uplink.sent) == 5)
    clock.now += 0.001
    put(uplink, embedding(6, 1000))  # the old distance is right again
