"""The robot's side: every frame gets exactly one result, in frame order, whatever happens."""

import contextlib
import gc
import math
import random
import threading
import time
import weakref
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

from codesign_ros.runtime.answers import classified
from codesign_ros.runtime.head import own_tail
from codesign_ros.runtime.head.judgement import Judgement
from codesign_ros.runtime.head.ledger import Phase
from codesign_ros.runtime.messages import (
    DropReason,
    EmbeddingKind,
    Stamp,
    Status,
    TailAnswer,
    TailStatus,
)
from codesign_ros.runtime.stages.engine_keys import head_key
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure
from support.runtime import (
    PATIENCE_S,
    TAIL,
    BadLink,
    Head,
    Tail,
    WatchedFactory,
    no_thread_left,
    plan_for,
    wait_until,
    whole_scores,
)
from support.tiny import tiny_frames

FRAMES = tiny_frames(6, seed=21)
NEVER_S = PATIENCE_S


@pytest.fixture(autouse=True)
def _no_thread_left():
    with no_thread_left():
        yield


@pytest.fixture
def factory(tiny_bundle, engine_cache):
    return WatchedFactory(tiny_bundle, engine_cache)


@pytest.fixture
def expected(tiny_bundle, factory):
    """Scores and labels of FRAMES by the whole network."""
    return whole_scores(tiny_bundle, factory, FRAMES)


@pytest.fixture
def make(tiny_bundle, factory):
    made = []

    def make_one(**settings):
        made.append(Head(tiny_bundle, factory, **settings))
        return made[-1]

    yield make_one
    for head in made:
        head.runtime.close()


def answer_to(embedding, **fields):
    """What a tail could say."""
    about = embedding.stamp, embedding.sequence, embedding.epoch
    said = {"served_by": TAIL, "session": embedding.session, "label": "tail", **fields}
    return TailAnswer(*about, **said)


def check_promise(head, count):
    """Exactly one result for each frame, in order, and counts that add up."""
    assert [result.sequence for result in head.results] == list(range(count))
    counts = head.runtime.counts
    assert counts["frames"] == count
    assert sum(counts[way] for way in ("server", "robot", "fallback", "dropped")) == count
    for way in ("server", "robot", "fallback"):
        assert counts[way] == sum(result.finished_by == way for result in head.results)
    for result in head.results:
        assert result.status in (Status.OK, Status.DROPPED)
        assert bool(result.reason) == (result.status is Status.DROPPED)
        assert bool(result.drop_reason) == (result.status is Status.DROPPED)
        assert bool(result.finished_by) == (result.status is Status.OK)
        assert result.served_by == (TAIL if result.finished_by == "server" else "")
    account = head.runtime.account
    assert (account.in_flight, account.unaccounted) == (0, 0)
    assert account.answered == sum(r.status is Status.OK for r in head.results)
    assert account.drops == Counter(r.drop_reason for r in head.results if r.reason)


# The robot alone


def test_without_a_plan_the_robot_answers_alone(make, expected):
    scores, labels = expected
    head = make()
    for number, frame in enumerate(FRAMES):
        head.put(frame, number)
    head.wait_for(len(FRAMES))
    check_promise(head, len(FRAMES))
    assert [result.label for result in head.results] == labels
    np.testing.assert_allclose([r.class_scores for r in head.results], scores, atol=1e-6)
    for number, result in enumerate(head.results):
        assert (result.finished_by, result.epoch, result.payload_bytes) == ("robot", 0, 0)
        assert result.stamp == Stamp(number, "camera")
        # By the stamp it is 5 s old when it comes; the stamp of frame 0 cannot be right.
        assert result.age_s == pytest.approx(5.0 if number else math.nan, nan_ok=True)
        assert math.isnan(result.response_s) == math.isnan(result.age_s)
        assert not result.response_s < result.age_s
    assert head.embeddings == []


def test_what_the_whole_network_takes_is_measured(make):
    head = make()
    assert head.runtime.running.frames == 0
    for number, frame in enumerate(FRAMES):
        head.put(frame, number)
    head.wait_for(len(FRAMES))
    running = head.runtime.running
    assert (running.epoch, running.frames) == (0, len(FRAMES))
    assert (running.link_s, running.tail_s) == (0.0, 0.0)
    assert running.head_s == pytest.approx(np.median([r.head_s for r in head.results]))


def test_frames_of_any_size_are_letterboxed(make):
    head = make()
    head.put(np.full((31, 200, 3), 90, np.uint8))
    head.wait_for(1)
    assert head.results[0].status is Status.OK


@pytest.mark.parametrize(
    ("error", "why", "reason", "errors"),
    [
        (CodesignError("it is cut off"), DropReason.UNREADABLE, "it is cut off", 0),
        (ValueError("no\n way"), DropReason.DEFECT, "unexpected ValueError: no way", 1),
        (MemoryError(), DropReason.DEFECT, "unexpected MemoryError:", 1),
    ],
)
def test_a_frame_that_cannot_be_loaded_is_dropped_alone(make, caplog, error, why, reason, errors):
    def load():
        raise error

    head = make()
    head.put(FRAMES[0])
    head.runtime.on_frame(Stamp(1), load)
    head.put(FRAMES[1])
    head.wait_for(3)
    check_promise(head, 3)
    assert [result.status for result in head.results] == [Status.OK, Status.DROPPED, Status.OK]
    assert head.results[1].drop_reason is why
    assert head.results[1].reason == reason
    assert head.runtime.counts["errors"] == errors
    assert ("frame 1 could not be computed" in caplog.text) == bool(errors)


@pytest.mark.parametrize("image", [None, np.zeros((0, 5, 3), np.uint8), np.zeros((4, 4), np.uint8)])
def test_a_frame_that_is_no_image_is_dropped_alone(make, image):
    head = make()
    head.put(image)
    head.put(FRAMES[0])
    head.wait_for(2)
    check_promise(head, 2)
    assert [result.status for result in head.results] == [Status.DROPPED, Status.OK]


def test_an_engine_that_fails_costs_one_frame(make, factory):
    def spoil(key, engine):
        working, calls = engine.run, []

        def run(tensors):
            calls.append(None)
            if len(calls) == 3:  # one is for warming up
                raise RuntimeError("no memory")
            return working(tensors)

        engine.run = run

    factory.spoil = spoil
    head = make()
    for _ in range(3):
        head.put(FRAMES[0])
    head.wait_for(3)
    check_promise(head, 3)
    assert [r.reason for r in head.results] == ["", "unexpected RuntimeError: no memory", ""]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda outputs: {n: np.full_like(a, np.nan) for n, a in outputs.items()}, "NOT_FINITE"),
        (lambda outputs: no_room(), "ENGINE"),
    ],
)
def test_an_answer_that_the_engine_spoils_is_dropped_by_its_reason(make, factory, spoil, why):
    def spoiled(key, engine):
        working = engine.run
        engine.run = lambda tensors: (spoil if warm else dict)(working(tensors))

    factory.spoil, warm = spoiled, []
    head = make()
    warm.append(True)
    head.put(FRAMES[0])
    head.wait_for(1)
    check_promise(head, 1)
    assert head.runtime.account.drops == {DropReason[why]: 1}


def no_room():
    raise CodesignError("no room on the device")


class Gate:
    """Holds the head up in ``load`` of one frame."""

    def __init__(self, frame):
        self.entered, self.open = threading.Event(), threading.Event()
        self._frame = frame

    def __call__(self):
        self.entered.set()
        assert self.open.wait(PATIENCE_S)
        return self._frame


def test_a_full_queue_drops_the_oldest(make):
    head = make(queue_depth=2)
    gate = Gate(FRAMES[0])
    head.runtime.on_frame(Stamp(0), gate)
    assert gate.entered.wait(PATIENCE_S)
    for number in range(1, 6):
        head.put(FRAMES[1], number)
    assert head.results == []  # frame 0 holds all back
    assert head.runtime.account.in_flight == 6
    gate.open.set()
    head.wait_for(6)
    check_promise(head, 6)
    assert [result.status is Status.OK for result in head.results] == [
        True, False, False, False, True, True,
    ]  # fmt: skip
    assert head.runtime.counts["dropped"] == 3
    assert head.runtime.account.drops == {DropReason.BUSY: 3}
    assert "busy" in head.results[1].reason


def test_while_it_is_paused_frames_are_answered_and_not_even_read(make):
    head = make()
    gate = Gate(FRAMES[0])
    head.runtime.on_frame(Stamp(0), gate)
    assert gate.entered.wait(PATIENCE_S)
    head.runtime.settings.paused = True
    head.runtime.on_frame(Stamp(1), lambda: pytest.fail("it was read"))
    gate.open.set()
    head.wait_for(2)
    head.runtime.settings.paused = False
    head.put(FRAMES[1], 2)
    head.wait_for(3)
    check_promise(head, 3)
    # What was taken before is finished.
    assert [result.drop_reason for result in head.results] == [
        DropReason.NONE, DropReason.PAUSED, DropReason.NONE,
    ]  # fmt: skip
    assert "paused" in head.results[1].reason
    assert head.runtime.account.drops == {DropReason.PAUSED: 1}


def test_waiting_frames_keep_to_their_memory(make):
    """The oldest go, and the newest stays though it is too large by itself."""
    head = make(queue_bytes=100)
    gate = Gate(FRAMES[0])
    head.runtime.on_frame(Stamp(0), gate, held_bytes=10**9)  # it waits no longer
    assert gate.entered.wait(PATIENCE_S)
    for number, held_bytes in enumerate((40, 40, 20, 1, 200, 1), start=1):
        head.runtime.on_frame(Stamp(number), lambda: FRAMES[1], held_bytes=held_bytes)
    gate.open.set()
    head.wait_for(7)
    check_promise(head, 7)
    # 100 bytes may wait; 1 more drops the first, 200 all, and so does what comes after 200.
    assert [result.sequence for result in head.results if result.reason] == [1, 2, 3, 4, 5]


def test_a_frame_that_is_dropped_lets_go_of_its_picture(make):
    """Its result waits for an older one's, perhaps for a second in which hundreds come."""
    head = make(queue_depth=1)
    gate = Gate(FRAMES[0])
    head.runtime.on_frame(Stamp(0), gate)
    assert gate.entered.wait(PATIENCE_S)
    picture = FRAMES[1].copy()
    gone = weakref.ref(picture)
    head.put(picture, 1)
    del picture
    assert gone() is not None
    head.put(FRAMES[2], 2)
    assert gone() is None
    assert head.results == []
    gate.open.set()
    head.wait_for(3)
    check_promise(head, 3)


def test_results_that_cannot_be_handed_on_end_nothing(make, caplog):
    seen = []

    def send(result, load):
        seen.append(result.sequence)
        if result.sequence == 0:
            raise OSError("publisher is gone")

    head = make(send_result=send)
    head.put(FRAMES[0])
    head.put(FRAMES[0])
    wait_until(lambda: len(seen) == 2 and head.runtime.account.in_flight == 0)
    assert seen == [0, 1]
    assert head.runtime.counts["errors"] == 1
    assert "the result of frame 0 could not be handed on" in caplog.text
    account = head.runtime.account
    assert (account.drops, account.answered) == ({DropReason.UNPUBLISHED: 1}, 1)
    assert head.runtime.counts["dropped"] == 1
    assert account.unaccounted == 0


def test_whoever_takes_a_result_may_put_the_next_frame(make):
    """Order holds when results are handed on from inside the handing on."""
    results = []

    def send(result, load):
        results.append(result)
        while head.runtime.counts["frames"] < 40:
            head.put(FRAMES[0])

    head = make(send_result=send, queue_depth=1)
    head.put(FRAMES[0])
    wait_until(lambda: len(results) == 40)
    head.results = results
    wait_until(lambda: head.runtime.account.in_flight == 0)
    check_promise(head, 40)


# With a tail


def test_the_tail_s_answers_become_results_in_frame_order(make, tiny_bundle):
    head = make()
    head.use(plan_for(tiny_bundle, 3, 5))
    for number in range(4):
        head.put(FRAMES[number], number)
    wait_until(lambda: len(head.embeddings) == 4)
    assert [e.sequence for e in head.embeddings] == [0, 1, 2, 3]
    for embedding in head.embeddings:
        assert (embedding.epoch, embedding.cut, embedding.oldest_epoch) == (3, 5, 3)
        assert embedding.model_id == tiny_bundle.model_id
    for number in (2, 0, 3, 1):
        times = {"queue_s": 1.0, "decode_s": 2.0, "tail_s": 3.0}
        head.runtime.on_answer(answer_to(head.embeddings[number], **times))
    assert len(head.results) == 4
    check_promise(head, 4)
    for number, result in enumerate(head.results):
        assert result.stamp == Stamp(number, "camera")
        assert (result.finished_by, result.label, result.epoch) == ("server", "tail", 3)
        assert result.payload_bytes == head.embeddings[number].payload_bytes > 0
        assert (result.queue_s, result.decode_s, result.tail_s) == (1.0, 2.0, 3.0)
        assert result.head_s > 0
        assert result.link_s >= 0


def test_what_a_split_plan_takes_is_measured_from_the_answers_it_got(make, tiny_bundle):
    head = make()
    head.put(FRAMES[0])
    head.wait_for(1)
    head.use(plan_for(tiny_bundle, 3, 5))
    for number in range(4):
        head.put(FRAMES[number], number)
    wait_until(lambda: len(head.embeddings) == 4)
    for embedding in head.embeddings[:3]:
        head.runtime.on_answer(answer_to(embedding, queue_s=float("nan")))
    # The robot finishes this one: its times are not those of the plan.
    head.runtime.on_answer(answer_to(head.embeddings[3], status=TailStatus.REFUSED))
    head.wait_for(5)
    running, split = head.runtime.running, head.results[1:4]
    assert (running.epoch, running.frames, running.tail_s) == (3, 3, 0.0)
    assert running.head_s == pytest.approx(np.median([r.head_s + r.encode_s for r in split]))
    assert 0 <= running.link_s <= np.median([r.link_s for r in split])  # without waiting


def test_only_the_answer_to_the_question_counts(make, tiny_bundle):
    head = make()
    head.use(plan_for(tiny_bundle, 3, 5, served_by=TAIL))
    head.put(FRAMES[0])
    wait_until(lambda: len(head.embeddings) == 1)
    good = answer_to(head.embeddings[0])
    for field, wrong, counted in (
        ("sequence", 5, "late"),
        ("sequence", 2**63, "late"),
        ("epoch", 2, "mismatched"),
        ("stamp", Stamp(77, "camera"), "mismatched"),
        ("session", 0, "foreign"),
        ("session", good.session + 1, "foreign"),
        ("served_by", "/robot/other", "foreign"),
    ):
        before = head.runtime.counts[counted]
        # Neither an answer nor a refusal of another's is one.
        for status in (TailStatus.OK, TailStatus.REFUSED):
            head.runtime.on_answer(replace(good, status=status, **{field: wrong}))
        assert head.runtime.counts[counted] == before + 2
    assert head.results == []
    head.runtime.on_answer(good)
    head.runtime.on_answer(good)
    assert len(head.results) == 1
    assert head.runtime.counts["late"] == 5
    check_promise(head, 1)


def test_two_heads_that_hear_the_same_answers_keep_them_apart(make, tiny_bundle):
    heads = make(), make()
    for head in heads:
        head.use(plan_for(tiny_bundle, 3, 5))
        head.put(FRAMES[0])
    wait_until(lambda: all(len(head.embeddings) == 1 for head in heads))
    first, second = (head.embeddings[0] for head in heads)
    assert (first.sequence, first.epoch, first.stamp) == (
        second.sequence,
        second.epoch,
        second.stamp,
    )
    for embedding, label in ((second, "second"), (first, "first")):
        for head in heads:
            head.runtime.on_answer(answer_to(embedding, label=label))
    assert [[r.label for r in head.results] for head in heads] == [["first"], ["second"]]
    assert [head.runtime.counts["foreign"] for head in heads] == [1, 1]


@pytest.mark.parametrize("status", [TailStatus.REFUSED, 77])
def test_what_the_tail_refuses_the_robot_finishes(make, tiny_bundle, expected, status):
    scores, _ = expected
    head = make()
    head.use(plan_for(tiny_bundle, 3, 5))
    head.put(FRAMES[2])
    wait_until(lambda: len(head.embeddings) == 1)
    head.runtime.on_answer(replace(answer_to(head.embeddings[0]), status=status, reason="no"))
    head.wait_for(1)
    check_promise(head, 1)
    (result,) = head.results
    assert (result.finished_by, result.epoch, result.reason) == ("fallback", 3, "")
    assert result.payload_bytes == head.embeddings[0].payload_bytes  # it did cross
    np.testing.assert_allclose(result.class_scores, scores[2], atol=1e-6)
    assert head.runtime.counts["refused"] == 1


def test_a_tail_that_never_answers_costs_a_deadline(make, tiny_bundle, expected):
    scores, _ = expected
    head = make(deadline_s=0.01)
    head.use(plan_for(tiny_bundle, 3, 0, codec="jpeg"))
    for number, frame in enumerate(FRAMES):
        head.put(frame, number)
    head.wait_for(len(FRAMES))
    check_promise(head, len(FRAMES))
    # The first one waits for it; nothing more is sent while it is missing.
    assert head.runtime.counts["fallback"] == len(FRAMES)
    assert 1 <= head.runtime.counts["overdue"] < len(FRAMES)
    assert len(head.embeddings) < len(FRAMES)
    # From the frame, not from what the codec made of it.
    np.testing.assert_allclose([r.class_scores for r in head.results], scores, atol=1e-6)
    head.runtime.on_answer(answer_to(head.embeddings[0]))
    assert head.runtime.counts["late"] == 1


def test_a_link_that_is_stuck_costs_a_deadline(make, tiny_bundle):
    head = make(deadline_s=0.01, emulated_bps=1.0)  # hours for each frame
    head.use(plan_for(tiny_bundle, 3, 2))
    for frame in FRAMES:
        head.put(frame)
    head.wait_for(len(FRAMES))
    check_promise(head, len(FRAMES))
    assert head.runtime.counts["fallback"] == len(FRAMES)


def test_the_head_does_not_run_ahead_of_a_slow_link(make, tiny_bundle, factory):
    head = make(emulated_bps=1.0)
    loaded = []

    def load():
        loaded.append(None)
        return FRAMES[0]

    head.use(plan_for(tiny_bundle, 3, 2))
    for number in range(6):
        head.runtime.on_frame(Stamp(number), load)
    # One on the link and one behind it, no more; seen as nothing else can happen until then.
    wait_until(lambda: len(loaded) == 2)
    head.use(replace(head.runtime.plan, epoch=4))  # wakes the compute thread
    assert not head.runtime.uplink._queue.qsize() > 1
    head.use(plan_for(tiny_bundle, 5, len(tiny_bundle.segments), server_available=False))
    head.wait_for(6)
    check_promise(head, 6)
    assert head.runtime.counts["fallback"] == 2


def test_when_the_server_leaves_the_robot_finishes_at_once(make, tiny_bundle):
    head = make(deadline_s=NEVER_S)
    head.use(plan_for(tiny_bundle, 3, 5))
    frames = FRAMES[:4]  # as many as may be away at once
    for frame in frames:
        head.put(frame)
    wait_until(lambda: len(head.embeddings) == len(frames))
    head.use(plan_for(tiny_bundle, 4, len(tiny_bundle.segments), server_available=False))
    head.put(FRAMES[0])
    head.wait_for(len(frames) + 1)
    check_promise(head, len(frames) + 1)
    assert head.runtime.counts["stranded"] == len(frames)
    assert [r.epoch for r in head.results] == [3] * len(frames) + [4]
    assert [r.finished_by for r in head.results] == ["fallback"] * len(frames) + ["robot"]


def test_a_frame_in_the_head_when_the_server_leaves_is_finished(make, tiny_bundle):
    head = make(deadline_s=NEVER_S)
    head.use(plan_for(tiny_bundle, 3, 5))
    gate = Gate(FRAMES[0])
    head.runtime.on_frame(Stamp(0), gate)
    assert gate.entered.wait(PATIENCE_S)
    head.use(plan_for(tiny_bundle, 4, len(tiny_bundle.segments), server_available=False))
    gate.open.set()
    head.wait_for(1)
    check_promise(head, 1)
    assert head.results[0].finished_by == "fallback"
    assert head.embeddings == []


def test_an_embedding_that_cannot_be_sent_is_finished_on_the_robot(make, tiny_bundle):
    def send(embedding):
        raise OSError("no route")

    head = make(send_embedding=send, deadline_s=NEVER_S)
    head.use(plan_for(tiny_bundle, 3, 5))
    for frame in FRAMES:
        head.put(frame)
    head.wait_for(len(FRAMES))
    check_promise(head, len(FRAMES))
    assert head.runtime.counts["errors"] == head.runtime.counts["fallback"] == len(FRAMES)
    assert {result.payload_bytes for result in head.results} == {0}


def test_values_that_the_codec_cannot_carry_drop_the_frame(make, tiny_bundle, factory):
    def spoil(key, engine):
        if key.cut == 5:
            working = engine.run
            engine.run = lambda tensors: {n: a * 1e30 for n, a in working(tensors).items()}

    factory.spoil = spoil
    head = make()
    head.use(plan_for(tiny_bundle, 3, 5, codec="fp16"))
    head.put(FRAMES[0])
    head.wait_for(1)
    check_promise(head, 1)
    assert "beyond fp16" in head.results[0].reason


# Probes


def test_the_link_is_probed_while_there_is_a_server(make, tiny_bundle):
    head = make()
    head.runtime.probe()  # no server yet
    last = len(tiny_bundle.segments)
    head.use(plan_for(tiny_bundle, 2, last))
    head.runtime.probe()
    answered = 0

    def is_known():
        """Each answer brings the next probe until the rate is known."""
        nonlocal answered
        for embedding in head.embeddings[answered:]:
            answered += 1
            head.runtime.on_answer(answer_to(embedding, status=TailStatus.PROBE))
        return head.runtime.uplink.bandwidth_bps > 0

    wait_until(is_known)
    assert {(e.kind, e.epoch, e.oldest_epoch) for e in head.embeddings} == {
        (EmbeddingKind.PROBE, 2, 2)
    }
    assert head.runtime.counts == Counter()
    assert head.results == []


# Plans and memory


def test_a_plan_that_cannot_be_prepared_leaves_the_old_one(make, tiny_bundle):
    head = make()
    head.use(plan_for(tiny_bundle, 2, 3))
    for plan, says in (
        (replace(plan_for(tiny_bundle, 3, 3), model_id="other"), "the plan is for network 'other'"),
        (plan_for(tiny_bundle, 3, 99), "cut 99 does not exist"),
        (plan_for(tiny_bundle, 3, 3, codec="lz4"), "codec 'lz4' cannot carry"),
        (plan_for(tiny_bundle, 3, 3, precision="int1"), "precision 'int1'"),
        (plan_for(tiny_bundle, 2, 3), "is in force here"),
    ):
        with pytest.raises(CodesignError, match=says):
            head.runtime.prepare(plan)
    with pytest.raises(CodesignError, match="was not prepared"):
        head.runtime.commit(3)
    assert head.runtime.plan.epoch == 2
    head.put(FRAMES[0])
    wait_until(lambda: len(head.embeddings) == 1)


def test_frames_and_engines_are_let_go(make, tiny_bundle, factory):
    head = make()
    last = len(tiny_bundle.segments)
    images = []
    for epoch, cut in enumerate((2, 5, 8), start=1):
        head.use(plan_for(tiny_bundle, epoch, cut))
        image = FRAMES[0].copy()
        images.append(weakref.ref(image))
        head.put(image)
        del image
        wait_until(lambda epoch=epoch: len(head.embeddings) == epoch)
    # Frames of all three epochs are still at the tail; their heads could be needed no more, but
    # the epochs are not drained.
    assert [e.oldest_epoch for e in head.embeddings] == [1, 1, 1]
    for embedding in head.embeddings:
        head.runtime.on_answer(answer_to(embedding))
    check_promise(head, 3)
    head.embeddings.clear()
    wait_until(lambda: sorted(k.cut for k in factory.alive) == [8, last])
    assert [image() for image in images] == [None] * 3
    # With no frame in flight a switch lets go of the old engine at once.
    head.use(plan_for(tiny_bundle, 4, 3))
    wait_until(lambda: sorted(k.cut for k in factory.alive) == [3, last])


def test_an_engine_that_is_in_use_is_not_built_again(make, tiny_bundle, factory):
    head = make()
    last = len(tiny_bundle.segments)
    head.use(plan_for(tiny_bundle, 1, 4))
    head.use(plan_for(tiny_bundle, 2, 4, codec="uint8"))
    head.use(plan_for(tiny_bundle, 3, last))
    head.use(plan_for(tiny_bundle, 4, 0))
    assert [key.cut for key in factory.made] == [last, 4]


def test_a_plan_that_cannot_be_prepared_leaves_no_engine(make, tiny_bundle, factory):
    head = make()
    last = len(tiny_bundle.segments)
    head.use(plan_for(tiny_bundle, 2, 4))
    with pytest.raises(CodesignError, match="is in force here"):
        head.runtime.prepare(plan_for(tiny_bundle, 2, 5))
    assert sorted(key.cut for key in factory.alive) == [4, last]
    head.runtime.close()
    assert factory.alive == []
    with pytest.raises(CodesignError, match="not active any more"):
        head.runtime.prepare(plan_for(tiny_bundle, 3, 5))
    assert factory.alive == []


# Closing


def test_closing_answers_frames_in_flight_as_dropped(make, tiny_bundle, factory):
    head = make()
    head.use(plan_for(tiny_bundle, 1, 4))
    head.put(FRAMES[0])
    head.put(FRAMES[1])
    wait_until(lambda: len(head.embeddings) == 2)
    head.runtime.on_answer(answer_to(head.embeddings[1]))
    head.runtime.close()
    assert [r.status for r in head.results] == [Status.DROPPED, Status.OK]
    check_promise(head, 2)
    # News that comes too late finds nobody, and nothing is left without a result.
    head.put(FRAMES[0])
    head.runtime.on_answer(answer_to(head.embeddings[0]))
    head.runtime.probe()
    check_promise(head, 3)
    assert head.results[2].reason == "the head is not active any more"
    head.runtime.close()


@contextlib.contextmanager
def checked_all_the_time(head):
    """Look again and again whether each frame is accounted for, while others change that."""
    done = threading.Event()
    seen = []

    def look():
        while not done.is_set():
            seen.append(head.runtime.account.unaccounted)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert set(seen) == {0}


@pytest.mark.parametrize("seed", range(4))
def test_closing_in_mid_stream(tiny_bundle, factory, seed):
    rng = random.Random(seed)
    tail = Tail(tiny_bundle, factory, send_answer=lambda a: head.runtime.on_answer(a))
    head = Head(
        tiny_bundle,
        factory,
        send_embedding=tail.runtime.on_embedding,
        emulated_bps=rng.choice((0.0, 3e6)),
    )
    plan = plan_for(tiny_bundle, 1, rng.randrange(len(tiny_bundle.segments)))
    tail.use(plan)
    head.use(plan)
    count = 30

    def feed():
        for _ in range(count):
            head.put(FRAMES[0])

    feeder = threading.Thread(target=feed)
    with checked_all_the_time(head):
        feeder.start()
        head.wait_for(rng.randrange(1, 10))
        head.runtime.close()
        feeder.join()
    tail.runtime.close()
    check_promise(head, count)


def test_nothing_is_left_after_closing(tiny_bundle, factory):
    tail = Tail(tiny_bundle, factory, send_answer=lambda a: head.runtime.on_answer(a))
    head = Head(tiny_bundle, factory, send_embedding=tail.runtime.on_embedding)
    plan = plan_for(tiny_bundle, 1, 4)
    tail.use(plan)
    head.use(plan)
    for frame in FRAMES:
        head.put(frame)
    head.wait_for(len(FRAMES))
    head.runtime.close()
    tail.runtime.close()
    assert len(factory.made) == 3
    assert factory.alive == []
    gone = [weakref.ref(head), weakref.ref(tail)]
    head = tail = None
    gc.collect()
    assert [each() for each in gone] == [None, None]


# All of it


class Vanishing:
    """A tail that at times loses all it knows, as if its process had been killed and restarted."""

    def __init__(self, bundle, factory, send_answer):
        self._make = lambda: Tail(bundle, factory, send_answer=send_answer, queue_depth=4).runtime
        self.runtime = self._make()

    def vanish(self):
        old, self.runtime = self.runtime, self._make()
        old.close()

    def on_embedding(self, embedding):
        self.runtime.on_embedding(embedding)

    def close(self):
        self.runtime.close()


@pytest.mark.parametrize("seed", range(6))
def test_random_plans_over_a_bad_link(tiny_bundle, factory, expected, seed):
    rng = random.Random(seed)
    last = len(tiny_bundle.segments)
    up = BadLink(seed, lose=0.1, double=0.1, delay=0.3)
    down = BadLink(seed + 1, lose=0.1, double=0.2, delay=0.3)
    tail = Vanishing(
        tiny_bundle, factory, lambda answer: down.carry(head.runtime.on_answer, answer)
    )
    head = Head(
        tiny_bundle,
        factory,
        send_embedding=lambda embedding: up.carry(tail.on_embedding, embedding),
        deadline_s=0.05,
        queue_depth=rng.choice((2, 1000)),
        emulated_bps=rng.choice((0.0, 2e7)),
    )
    with contextlib.ExitStack() as closing:
        for each in (tail, up, down, head.runtime):
            closing.callback(each.close)
        cuts = [*range(last + 1)] * 2
        rng.shuffle(cuts)
        for epoch, cut in enumerate(cuts, start=1):
            plan = plan_for(
                tiny_bundle,
                epoch,
                cut,
                head_structure=rng.choice((Structure.S3, Structure.S3_SS_S1)),
                tail_structure=rng.choice((Structure.S3, Structure.S3_SS)),
                codec=rng.choice(("raw", "raw+zstd")),
            )
            chance = rng.random()
            if chance < 0.1:
                tail.vanish()
                plan = replace(plan, cut=last, server_available=False)
            elif chance < 0.2:
                tail.vanish()  # and nobody has noticed: it is told of no plan
            if chance > 0.15:
                tail.runtime.prepare(plan)
            head.use(plan)
            if chance > 0.15:
                tail.runtime.commit(epoch)
            head.runtime.probe()
            for _ in range(rng.randrange(5)):
                wait_until(lambda: head.runtime.account.in_flight < 8)
                number = head.runtime.counts["frames"]
                head.put(FRAMES[number % len(FRAMES)], number)
        wait_until(lambda: head.runtime.account.in_flight == 0)
        count = number + 1
        check_promise(head, count)
        assert head.runtime.counts["errors"] == 0
        scores, _ = expected
        for number, result in enumerate(head.results):
            assert result.stamp.stamp_ns == number
            if result.status is Status.OK:
                np.testing.assert_allclose(
                    result.class_scores, scores[number % len(FRAMES)], atol=1e-5
                )
        epochs = [result.epoch for result in head.results if result.status is Status.OK]
        assert epochs == sorted(epochs)
        # How much the server does depends on when the head leaves it for this link.
        assert {result.finished_by for result in head.results} >= {"robot", "fallback"}
    assert factory.alive == []


def test_a_robot_whose_server_is_silent_computes_alone_and_returns(make, tiny_bundle):
    """No deadline passes here: how long answers usually take is enough."""
    is_up, sent = threading.Event(), []

    def send(embedding):
        sent.append(embedding)
        if is_up.is_set():
            is_probe = embedding.kind is EmbeddingKind.PROBE
            status = TailStatus.PROBE if is_probe else TailStatus.OK
            head.runtime.on_answer(answer_to(embedding, status=status))

    head = make(send_embedding=send, deadline_s=NEVER_S)
    head.use(plan_for(tiny_bundle, 3, 0, codec="jpeg"))

    def put(count):
        first = len(head.results)
        for number in range(first, first + count):
            head.put(FRAMES[0], number)
        head.wait_for(first + count)
        return {result.finished_by for result in head.results[first:]}

    is_up.set()
    assert put(10) == {"server"}
    assert head.runtime.alone == ""
    is_up.clear()
    assert put(10) == {"fallback"}

    def leaves():
        head.runtime.probe()
        return head.runtime.alone.startswith("no answer of any kind for ")

    wait_until(leaves)
    frames = [embedding for embedding in sent if embedding.kind is EmbeddingKind.FRAME]
    assert put(10) == {"fallback"}
    # None of them was sent, and none waited for an answer.
    assert frames == [embedding for embedding in sent if embedding.kind is EmbeddingKind.FRAME]

    is_up.set()

    def returns():
        head.runtime.probe()
        return head.runtime.alone == ""

    wait_until(returns)
    sent.clear()
    put(10)  # the first one to answer is the server, or the robot, to be sure
    assert sum(embedding.kind is EmbeddingKind.FRAME for embedding in sent) == 10
    check_promise(head, 40)


def test_a_robot_that_is_moved_begins_anew_with_the_other_server(make, tiny_bundle):
    """What the lost server did not answer says nothing of the one that the new plan names."""
    edge1, edge2 = "/robot/edge1/tail", "/robot/edge2/tail"
    head = make(deadline_s=0.05)
    head.use(plan_for(tiny_bundle, 1, 3, served_by=edge1, placed_on=edge1))
    head.put(FRAMES[0], 0)
    head.wait_for(1)  # it was overdue

    def leaves():
        head.runtime.probe()
        return head.runtime.alone.startswith("no answer of any kind for ")

    wait_until(leaves)
    head.put(FRAMES[1], 1)
    head.wait_for(2)
    assert {embedding.tail for embedding in head.embeddings} == {edge1}

    def frames():
        return [each for each in head.embeddings if each.kind is EmbeddingKind.FRAME]

    assert len(frames()) == 1

    head.runtime.settings.deadline_s = PATIENCE_S
    head.use(plan_for(tiny_bundle, 2, 3, served_by=edge2, placed_on=edge2))
    assert head.runtime.alone == ""
    head.put(FRAMES[2], 2)
    wait_until(lambda: len(frames()) == 2)
    embedding = frames()[-1]
    assert embedding.tail == edge2
    head.runtime.on_answer(replace(answer_to(embedding), served_by=edge2))
    head.wait_for(3)
    assert [result.finished_by for result in head.results] == ["fallback", "fallback", "server"]
    assert head.results[-1].served_by == edge2
    assert [result.sequence for result in head.results] == [0, 1, 2]


def test_a_server_that_was_left_is_no_reason_to_leave_the_other(make, tiny_bundle):
    edge1, edge2 = "/robot/edge1/tail", "/robot/edge2/tail"
    head = make(emulated_bps=1e9)
    head.use(plan_for(tiny_bundle, 1, 3, served_by=edge1, placed_on=edge1))
    head.put(FRAMES[0], 0)
    head.put(FRAMES[1], 1)
    wait_until(lambda: len(head.embeddings) == 2)
    # Both are away when the robot is moved, and overdue after it.
    head.use(plan_for(tiny_bundle, 2, 3, served_by=edge2, placed_on=edge2))
    book = head.runtime._book
    with book.lock:
        for frame in book.ledger.in_phase(Phase.REMOTE):
            frame.deadline_s = 0.0
        book.wake()
    head.wait_for(2)
    assert head.runtime.counts["overdue"] == 2
    assert head.runtime.alone == ""


def test_probes_go_to_the_server_on_which_the_robot_is(make, tiny_bundle):
    head = make()
    head.use(plan_for(tiny_bundle, 1, tiny_bundle.last_cut, placed_on="/robot/edge2/tail"))
    head.runtime.probe()
    wait_until(lambda: head.embeddings)
    assert {embedding.tail for embedding in head.embeddings} == {"/robot/edge2/tail"}


def test_the_goodbye_of_a_server_of_the_pool_concerns_the_robots_that_are_on_it(make, tiny_bundle):
    edge1, edge2 = "/robot/edge1/tail", "/robot/edge2/tail"
    head = make()
    head.use(plan_for(tiny_bundle, 1, 3, served_by=edge1, placed_on=edge1))
    head.use(plan_for(tiny_bundle, 2, 3, served_by=edge2, placed_on=edge2))

    def leaves(node, epoch):
        about = {"session": head.runtime.session, "served_by": node}
        head.runtime.on_answer(TailAnswer(Stamp(0), 0, epoch, status=TailStatus.LEAVING, **about))

    leaves(edge1, 1)
    assert head.runtime.alone == ""
    leaves(edge2, 2)
    assert head.runtime.alone == f"{edge2} is being stopped"
    head.use(plan_for(tiny_bundle, 3, 3, served_by=edge1, placed_on=edge1))
    assert head.runtime.alone == ""


def test_a_head_to_which_nobody_listens_sends_nothing(make, tiny_bundle):
    head = make(deadline_s=NEVER_S)
    head.use(plan_for(tiny_bundle, 3, 0, codec="jpeg"))
    head.runtime.deserted()
    for number, frame in enumerate(FRAMES):
        head.put(frame, number)
    head.wait_for(len(FRAMES))
    assert head.runtime.alone == "nobody listens to the embeddings"
    assert head.embeddings == []
    check_promise(head, len(FRAMES))


def test_the_robot_stands_by_as_the_plan_says(make, tiny_bundle, factory):
    head = make(deadline_s=NEVER_S)
    plan = plan_for(tiny_bundle, 3, 0, codec="jpeg", standby_structure=Structure.S3_SS)
    head.use(plan)
    assert head_key(plan.standby(tiny_bundle.last_cut)) in factory.alive
    head.runtime.deserted()
    head.put(FRAMES[0])
    head.wait_for(1)
    engine = factory.build(head_key(plan.standby(tiny_bundle.last_cut)))
    outputs = engine.run({"image": FRAMES[0]})
    engine.close()
    row = classified(*outputs.values(), tiny_bundle.classes)
    np.testing.assert_allclose(head.results[0].class_scores, row.class_scores, atol=1e-6)


def spoil_whole(bundle, gate):
    """Have the whole network wait for a gate, except while it warms up."""

    def spoil(key, engine):
        working, calls = engine.run, []

        def run(tensors):
            calls.append(None)
            if len(calls) > 1:
                gate()
            return working(tensors)

        if key.cut == bundle.last_cut:
            engine.run = run

    return spoil


def test_an_overdue_answer_counts_as_long_as_the_robot_has_none(make, tiny_bundle, factory):
    gate = Gate(None)
    factory.spoil = spoil_whole(tiny_bundle, gate)
    head = make(deadline_s=0.01)
    head.use(plan_for(tiny_bundle, 3, 5))
    head.put(FRAMES[0])
    assert gate.entered.wait(PATIENCE_S)  # it was overdue, and the robot is at it
    head.runtime.on_answer(answer_to(head.embeddings[0]))
    assert [result.finished_by for result in head.results] == ["server"]
    gate.open.set()
    head.put(FRAMES[0])
    wait_until(lambda: len(head.embeddings) == 2)  # the server helps again
    head.runtime.on_answer(answer_to(head.embeddings[1]))
    head.wait_for(2)
    check_promise(head, 2)


def test_nothing_is_sent_while_an_answer_is_overdue(make, tiny_bundle, factory):
    gate = Gate(None)
    factory.spoil = spoil_whole(tiny_bundle, gate)
    head = make(deadline_s=0.01)
    head.use(plan_for(tiny_bundle, 3, 5))
    head.put(FRAMES[0])
    assert gate.entered.wait(PATIENCE_S)
    head.put(FRAMES[1])
    gate.open.set()
    head.wait_for(2)
    assert [embedding.sequence for embedding in head.embeddings] == [0]
    assert {result.finished_by for result in head.results} == {"fallback"}
    assert head.runtime.alone == ""  # it is only a doubt


@pytest.mark.parametrize(
    ("age_s", "counts"), [(0.4, True), (-1.0, False), (1e9, False)], ids=["old", "future", "zero"]
)
def test_a_frame_is_due_so_long_after_its_stamp_if_that_can_be_right(make, age_s, counts):
    head, gate = make(deadline_s=1.0), Gate(FRAMES[0])
    before_s = time.monotonic()
    head.runtime.on_frame(Stamp(round(5e9 - age_s * 1e9)), gate)
    after_s = time.monotonic()
    (frame,) = head.runtime._book.ledger.unanswered()
    gate.open.set()
    head.wait_for(1)
    since_s = age_s if counts else 0.0
    assert before_s <= frame.due_s + since_s - 1.0 <= after_s


@pytest.mark.parametrize("step_s", [3 * 3600, -3 * 3600])
def test_a_clock_that_is_set_costs_no_frame(make, tiny_bundle, step_s):
    clock_ns = [10**18]
    head = make(clock_ns=lambda: clock_ns[0], deadline_s=20.0)
    head.use(plan_for(tiny_bundle, 3, 0, codec="jpeg", served_by=TAIL))
    head.put(FRAMES[0], clock_ns[0])
    wait_until(lambda: len(head.embeddings) == 1)
    before_ns = clock_ns[0] + 1_000_000
    clock_ns[0] += step_s * 10**9
    head.put(FRAMES[1], before_ns)  # stamped before the step, and it comes after it
    head.put(FRAMES[2], clock_ns[0])
    wait_until(lambda: len(head.embeddings) == 3)
    for embedding in head.embeddings:
        head.runtime.on_answer(answer_to(embedding))
    head.wait_for(3)
    check_promise(head, 3)
    assert [result.finished_by for result in head.results] == 3 * ["server"]
    assert head.runtime.counts["overdue"] == 0
    first, foreign, last = (result.response_s for result in head.results)
    # What passed since a frame came is measured on another clock.
    assert max(first, last) < 3600
    assert math.isnan(foreign)


def test_a_server_that_says_goodbye_is_left_at_once(make, tiny_bundle):
    def leaving(node):
        about = Stamp(0), 0, 3, TailStatus.LEAVING
        return TailAnswer(*about, served_by=node, session=head.runtime.session)

    head = make(deadline_s=NEVER_S)
    head.use(plan_for(tiny_bundle, 3, 0, codec="jpeg", served_by=TAIL))
    head.runtime.on_answer(leaving("/other/tail"))
    assert head.runtime.alone == ""
    head.put(FRAMES[0])
    wait_until(lambda: len(head.embeddings) == 1)
    head.runtime.on_answer(leaving(TAIL))
    assert head.runtime.alone == f"{TAIL} is being stopped"
    head.put(FRAMES[1])
    head.wait_for(2)  # neither waits for it
    check_promise(head, 2)
    assert len(head.embeddings) == 1


@pytest.fixture
def on_probation(monkeypatch):
    """Have the server always be one that was returned to a moment ago."""
    monkeypatch.setattr(Judgement, "is_on_probation", lambda judgement, now_s: judgement.relies)


def test_on_probation_no_frame_waits_for_the_server(make, tiny_bundle, on_probation):
    head = make(deadline_s=NEVER_S)
    head.use(plan_for(tiny_bundle, 3, 5, served_by=TAIL))
    head.put(FRAMES[0])
    head.wait_for(1)  # though nothing is overdue
    assert len(head.embeddings) == 1
    head.runtime.on_answer(answer_to(head.embeddings[0]))
    assert [result.finished_by for result in head.results] == ["fallback"]
    check_promise(head, 1)


def test_what_the_robot_computes_beside_the_server_keeps_no_jpeg_from_leaving(
    make, tiny_bundle, factory, on_probation
):
    gate = Gate(None)
    factory.spoil = spoil_whole(tiny_bundle, gate)
    head = make(deadline_s=NEVER_S)
    head.use(plan_for(tiny_bundle, 3, 0, codec="jpeg", served_by=TAIL))
    jpeg = cv2.imencode(".jpg", FRAMES[0][..., ::-1])[1].tobytes()
    head.runtime.on_frame(Stamp(0), lambda: FRAMES[0], jpeg)
    assert gate.entered.wait(PATIENCE_S)
    head.runtime.on_frame(Stamp(1), lambda: FRAMES[0], jpeg)
    wait_until(lambda: len(head.embeddings) == 2)
    gate.open.set()
    head.wait_for(2)
    check_promise(head, 2)


def test_after_a_switch_waiting_jpegs_leave_while_the_robot_ends_its_last_frame(
    make, tiny_bundle, factory
):
    gate = Gate(None)
    factory.spoil = spoil_whole(tiny_bundle, gate)
    sent = []

    def send(embedding):
        sent.append(embedding.sequence)
        head.runtime.on_answer(answer_to(embedding))

    head = make(send_embedding=send, deadline_s=NEVER_S)
    head.use(plan_for(tiny_bundle, 2, tiny_bundle.last_cut))
    jpeg = cv2.imencode(".jpg", FRAMES[0][..., ::-1])[1].tobytes()
    for number in range(4):
        head.runtime.on_frame(Stamp(number), lambda: FRAMES[0], jpeg)
    assert gate.entered.wait(PATIENCE_S)
    head.use(plan_for(tiny_bundle, 3, 0, codec="jpeg", served_by=TAIL))
    wait_until(lambda: len(sent) == 3)
    assert sent == [1, 2, 3]
    gate.open.set()
    head.wait_for(4)
    assert [result.finished_by for result in head.results] == ["robot", *["server"] * 3]
    check_promise(head, 4)


def test_a_camera_s_jpeg_is_encoded_anew_and_goes_as_it_is_where_it_is_smaller(make, tiny_bundle):
    head = make(deadline_s=NEVER_S)
    head.use(plan_for(tiny_bundle, 3, 0, codec="jpeg444.50", served_by=TAIL))
    options = (cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_QUALITY)
    for number, quality in enumerate((100, 5)):
        jpeg = cv2.imencode(".jpg", FRAMES[0][..., ::-1], (*options, quality))[1].tobytes()
        head.runtime.on_frame(Stamp(number), lambda: FRAMES[0], jpeg)
        wait_until(lambda number=number: len(head.embeddings) == number + 1)
        head.runtime.on_answer(answer_to(head.embeddings[number]))
    head.wait_for(2)
    sent = [embedding.tensors[0] for embedding in head.embeddings]
    assert [tensor.codec for tensor in sent] == ["jpeg444.50", "jpeg"]
    assert sent[1].data == jpeg
    check_promise(head, 2)


# The tail's half on the robot


@pytest.fixture
def settled(monkeypatch):
    """Have plans count as settled at once; the list says what tail and whole network take [s]."""
    times_s = [1.0, 2.0]
    monkeypatch.setattr(own_tail, "SETTLED_S", 0.0)
    monkeypatch.setattr(own_tail, "quickest_s", lambda works: times_s)
    return times_s


def tail_runs(factory, bundle):
    """The list to which every run of an engine that is a tail adds, once it is warm."""
    runs = []

    def spoil(key, engine):
        working = engine.run

        def run(tensors):
            if any(np.any(array) for array in tensors.values()):
                runs.append(key)
            return working(tensors)

        engine.run = run

    factory.spoil = spoil
    return runs


@pytest.mark.parametrize("codec", ["raw", "raw+zstd", "uint8"])
def test_what_the_head_computed_is_finished_from_its_embedding(
    make, tiny_bundle, factory, settled, codec
):
    runs = tail_runs(factory, tiny_bundle)
    head = make(deadline_s=NEVER_S)
    plan = plan_for(tiny_bundle, 3, 5, codec=codec, served_by=TAIL)
    head.use(plan)
    wait_until(lambda: head.runtime._plans.stages.own_tail is not None)
    head.put(FRAMES[2])
    wait_until(lambda: len(head.embeddings) == 1)
    head.runtime.deserted()
    head.put(FRAMES[3])
    head.wait_for(2)
    assert {result.finished_by for result in head.results} == {"fallback"}
    assert [(key.part, key.cut) for key in runs] == [
        ("head", 5), ("tail", 5), ("head", tiny_bundle.last_cut),
    ]  # fmt: skip
    # Exactly what the server would have answered.
    tail = Tail(tiny_bundle, factory)
    tail.use(plan)
    tail.runtime.on_embedding(head.embeddings[0])
    tail.wait_for(1)
    tail.runtime.close()
    assert head.results[0].class_scores == tail.answers[0].class_scores


def test_the_tail_s_half_is_not_kept_where_it_is_hardly_quicker(
    make, tiny_bundle, factory, settled
):
    settled[:] = [1.9, 2.0]
    head = make(deadline_s=NEVER_S)
    head.use(plan_for(tiny_bundle, 3, 5))
    wait_until(lambda: any(key.part == "tail" for key in factory.made))
    wait_until(lambda: not any(key.part == "tail" for key in factory.alive))
    assert head.runtime._plans.stages.own_tail is None


def test_the_tail_s_half_goes_with_its_plan(make, tiny_bundle, factory, settled):
    head = make(deadline_s=NEVER_S)
    head.use(plan_for(tiny_bundle, 3, 5))
    wait_until(lambda: head.runtime._plans.stages.own_tail is not None)
    head.use(plan_for(tiny_bundle, 4, tiny_bundle.last_cut, server_available=False))
    wait_until(lambda: not any(key.part == "tail" for key in factory.alive))


@pytest.mark.parametrize("cut", [0, 15])
def test_a_plan_with_no_two_halves_wants_no_tail(make, tiny_bundle, factory, settled, cut):
    assert tiny_bundle.last_cut == 15
    head = make(deadline_s=NEVER_S)
    head.use(plan_for(tiny_bundle, 3, cut))
    head.use(plan_for(tiny_bundle, 4, 5))
    wait_until(lambda: head.runtime._plans.stages.own_tail is not None)
    assert [key.cut for key in factory.made if key.part == "tail"] == [5]
