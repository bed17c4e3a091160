"""The server's side: right answers, and attacks that are refused, counted and survived."""

import itertools
import random
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard

from codesign_ros.engines.base import EngineKey
from codesign_ros.runtime import emulation
from codesign_ros.runtime.engines.turns import FairTurns
from codesign_ros.runtime.messages import Embedding, EmbeddingKind, Stamp, TailAnswer, TailStatus
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.runtime.tail import batch as tail_batch
from codesign_ros.runtime.tail import runtime
from codesign_ros.types.errors import CodesignError
from codesign_ros.wire.codecs import encode
from codesign_ros.wire.tensor import EncodedTensor
from support.runtime import (
    TAIL,
    BatchEngine,
    Head,
    Tail,
    WatchedFactory,
    no_thread_left,
    plan_for,
    wait_until,
    whole_scores,
)
from support.tiny import tiny_frames

CUT = 4
SESSION = 11
EPOCH = 7


@pytest.fixture(autouse=True)
def _no_thread_left():
    with no_thread_left():
        yield


@pytest.fixture
def factory(tiny_bundle, engine_cache):
    return WatchedFactory(tiny_bundle, engine_cache)


@pytest.fixture
def make(tiny_bundle, factory):
    made = []

    def make_one(**settings):
        made.append(Tail(tiny_bundle, factory, **settings))
        return made[-1]

    yield make_one
    for tail in made:
        tail.runtime.close()


@pytest.fixture
def tail(make, tiny_bundle):
    """A tail in epoch 7, cut 4, codec raw."""
    tail = make()
    tail.use(plan_for(tiny_bundle, EPOCH, CUT))
    return tail


@pytest.fixture
def frame():
    return tiny_frames(1, seed=11)[0]


def embeddings_of(bundle, factory, plan, frames):
    """What a real head makes of the frames under a plan; of more than a few it wants answers.

    All are taken to be of one start of a head.
    """
    head = Head(bundle, factory)
    head.use(plan)
    for number, frame in enumerate(frames):
        head.put(frame, number)
        wait_until(lambda number=number: len(head.embeddings) == number + 1)
        sent = head.embeddings[-1]
        about = sent.stamp, sent.sequence, sent.epoch
        head.runtime.on_answer(TailAnswer(*about, session=sent.session, label="tail"))
    head.runtime.close()
    return [replace(embedding, session=SESSION) for embedding in head.embeddings]


@pytest.fixture
def good(tiny_bundle, factory, frame):
    """A sound embedding for ``tail``."""
    (embedding,) = embeddings_of(tiny_bundle, factory, plan_for(tiny_bundle, EPOCH, CUT), [frame])
    return embedding


def test_answers_are_the_whole_network_s_in_order(make, tiny_bundle, factory):
    frames = tiny_frames(5, seed=1)
    expected, labels = whole_scores(tiny_bundle, factory, frames)
    plan = plan_for(tiny_bundle, 2, 6)
    tail = make()
    tail.use(plan)
    for embedding in embeddings_of(tiny_bundle, factory, plan, frames):
        tail.runtime.on_embedding(embedding)
    tail.wait_for(5)
    assert [answer.sequence for answer in tail.answers] == list(range(5))
    assert [answer.stamp.stamp_ns for answer in tail.answers] == list(range(5))
    assert [answer.label for answer in tail.answers] == labels
    np.testing.assert_allclose([a.class_scores for a in tail.answers], expected, atol=1e-5)
    for answer in tail.answers:
        assert (answer.status, answer.epoch) == (TailStatus.OK, 2)
        assert min(answer.queue_s, answer.decode_s, answer.tail_s) >= 0
    assert tail.runtime.counts == {"embeddings": 5, "answers": 5}
    assert tail.runtime.refusals == {}


def test_probes_are_answered_at_once(tail, good):
    tail.runtime.on_embedding(replace(good, kind=EmbeddingKind.PROBE, sequence=3))
    (answer,) = tail.answers
    assert (answer.status, answer.sequence) == (TailStatus.PROBE, 3)
    assert tail.runtime.counts == {"probes": 1}


def test_a_tail_that_leaves_says_so_and_answers_frames_until_none_come(tail, good, monkeypatch):
    monkeypatch.setattr(runtime, "_QUIET_S", 0.0)
    for session in (good.session, 7):
        tail.runtime.on_embedding(replace(good, session=session))
    tail.wait_for(2)
    tail.runtime.leave()
    goodbyes = tail.answers[2:]
    assert {goodbye.session for goodbye in goodbyes} == {good.session, 7}
    for goodbye in goodbyes:
        assert (goodbye.status, goodbye.epoch) == (TailStatus.LEAVING, EPOCH)
        assert goodbye.served_by == TAIL
    tail.runtime.on_embedding(replace(good, kind=EmbeddingKind.PROBE))
    tail.runtime.on_embedding(good)
    tail.wait_for(5)
    assert [answer.status for answer in tail.answers[4:]] == [TailStatus.OK]
    assert {answer.tail_session for answer in tail.answers} == {1}


def test_a_tail_that_leaves_does_not_wait_for_ever(tail, good, monkeypatch):
    monkeypatch.setattr(runtime, "_QUIET_S", 1e9)
    monkeypatch.setattr(runtime, "_LEAVING_S", 0.01)
    tail.runtime.leave()


def changed_tensor(**fields):
    return lambda good: replace(good, tensors=(replace(good.tensors[0], **fields),))


def zstd_bomb(good):
    """A gigabyte of zeros in some kilobytes, under the codec of the plan for zstd."""
    data = zstandard.ZstdCompressor().compress(bytes(1 << 24))
    return changed_tensor(codec="raw+zstd", data=data)(good)


def not_numbers(good):
    (tensor,) = good.tensors
    values = np.full(tensor.shape, np.nan, np.float32)
    return replace(good, tensors=(encode(tensor.name, values, "raw"),))


ATTACKS = {
    "unknown kind": ("kind", lambda good: replace(good, kind=9)),
    "other network": ("model", lambda good: replace(good, model_id="0" * 16)),
    "unknown epoch": ("epoch", lambda good: replace(good, epoch=EPOCH + 1)),
    "huge epoch": ("epoch", lambda good: replace(good, epoch=2**32 - 1, oldest_epoch=2**32 - 1)),
    "epoch without a tail": ("epoch", lambda good: replace(good, epoch=0)),
    "other cut": ("cut", lambda good: replace(good, cut=CUT + 1)),
    "cut beyond the network": ("cut", lambda good: replace(good, cut=60_000)),
    "no tensor": ("shape", lambda good: replace(good, tensors=())),
    "a thousand tensors": ("shape", lambda good: replace(good, tensors=good.tensors * 1000)),
    "other name": ("name", changed_tensor(name="logits")),
    "other shape": ("shape", changed_tensor(shape=(1, 1, 1, 1))),
    "huge shape": ("shape", changed_tensor(shape=(2**31, 2**31, 2**31, 2**31))),
    "other type": ("dtype", changed_tensor(dtype="uint8")),
    "type that is none": ("dtype", changed_tensor(dtype="object")),
    "other codec": ("codec", changed_tensor(codec="fp16")),
    "codec that is none": ("codec", changed_tensor(codec="pickle")),
    "no data": ("length", changed_tensor(data=b"")),
    "too much data": ("length", changed_tensor(data=bytes(1 << 20))),
    "parameters for raw": ("params", changed_tensor(scale=np.ones(4, np.float32))),
    "zstd bomb where raw is planned": ("codec", zstd_bomb),
    "not a number": ("output", not_numbers),
}


@pytest.mark.parametrize(("reason", "attack"), ATTACKS.values(), ids=ATTACKS.keys())
def test_what_does_not_fit_is_refused_and_counted(tail, good, reason, attack):
    epochs = tail.runtime.epochs
    tail.runtime.on_embedding(attack(good))
    tail.wait_for(1)
    (answer,) = tail.answers
    assert answer.status is TailStatus.REFUSED
    assert answer.sequence == good.sequence
    assert answer.reason
    assert "\n" not in answer.reason
    assert answer.reason in tail.runtime.last_refusal
    assert tail.runtime.refusals == {reason: 1}
    assert tail.runtime.epochs == epochs
    # And it goes on.
    tail.runtime.on_embedding(good)
    tail.wait_for(2)
    assert tail.answers[1].status is TailStatus.OK


@pytest.mark.parametrize(
    ("declared", "reason"), [(True, "length"), (False, "length")], ids=["declared", "undeclared"]
)
def test_a_zstd_bomb_is_refused_unexpanded(make, tiny_bundle, factory, frame, declared, reason):
    plan = plan_for(tiny_bundle, 1, CUT, codec="raw+zstd")
    tail = make()
    tail.use(plan)
    (good,) = embeddings_of(tiny_bundle, factory, plan, [frame])
    if declared:
        bomb = zstandard.ZstdCompressor().compress(bytes(1 << 26))
    else:
        stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
        bomb = stream.compress(bytes(1 << 26)) + stream.flush()
    tail.runtime.on_embedding(changed_tensor(data=bomb)(good))
    tail.runtime.on_embedding(changed_tensor(data=memoryview(good.tensors[0].data)[:-5])(good))
    tail.runtime.on_embedding(good)
    tail.wait_for(3)
    assert [a.status for a in tail.answers] == [
        TailStatus.REFUSED,
        TailStatus.REFUSED,
        TailStatus.OK,
    ]
    assert tail.runtime.refusals == {reason: 1, "corrupt": 1}


def test_random_embeddings_never_end_the_tail(tail, good):
    rng = random.Random(5)
    (tensor,) = good.tensors
    names = ("", "image", tensor.name, "x" * 1000)
    kinds = (EmbeddingKind.FRAME, EmbeddingKind.PROBE, 200)
    count = 300
    for _ in range(count):
        data = rng.choice((b"", bytes(tensor.data), rng.randbytes(50)))
        parts = tuple(
            EncodedTensor(
                rng.choice(names),
                rng.choice(("float32", "uint8", "O", "<M8[s]")),
                rng.choice((tensor.shape, (), (0,), (2**32 - 1,) * 40)),
                rng.choice(("raw", "uint8+zstd", "jpeg", "", "raw+raw")),
                data,
                np.full(rng.choice((0, 32)), np.nan, np.float32),
            )
            for _ in range(rng.choice((0, 1, 1, 1, 3)))
        )
        tail.runtime.on_embedding(
            Embedding(
                Stamp(rng.randrange(2**40)),
                rng.randrange(2**64),
                rng.choice((0, EPOCH, 2**32 - 1)),
                rng.choice((0, EPOCH, 2**32 - 1)),
                rng.choice((good.model_id, "")),
                rng.choice((0, CUT, 2**16 - 1)),
                parts,
                rng.choice(kinds),
            )
        )
        wait_until(lambda: not tail.runtime._waiting)
    tail.wait_for(count)
    tail.runtime.on_embedding(good)
    tail.wait_for(count + 1)
    assert tail.answers[-1].status is TailStatus.OK
    counts = tail.runtime.counts
    assert counts["errors"] == 0
    assert counts["probes"] + counts["embeddings"] == len(tail.answers)
    assert sum(tail.runtime.refusals.values()) + counts["answers"] == counts["embeddings"]


def test_what_nobody_foresaw_costs_one_embedding(make, tiny_bundle, factory, good, caplog):
    def spoil(key, engine):
        working, calls = engine.run, []

        def run(tensors):
            calls.append(None)
            if len(calls) == 3:  # two are for warming up
                raise RuntimeError("out of\nmemory")
            return working(tensors)

        engine.run = run

    factory.spoil = spoil
    tail = make()
    tail.use(plan_for(tiny_bundle, EPOCH, CUT))
    tail.runtime.on_embedding(good)
    tail.runtime.on_embedding(good)
    tail.wait_for(2)
    assert [answer.status for answer in tail.answers] == [TailStatus.REFUSED, TailStatus.OK]
    assert tail.answers[0].reason == "unexpected RuntimeError: out of memory"
    assert tail.runtime.refusals == {"internal": 1}
    assert "the tail failed on frame 0" in caplog.text


def test_an_answer_that_cannot_be_sent_ends_nothing(make, tiny_bundle, good, caplog):
    answers = []

    def send(answer):
        answers.append(answer)
        if len(answers) < 3:
            raise OSError("no route")

    tail = make(send_answer=send)
    tail.use(plan_for(tiny_bundle, EPOCH, CUT))
    tail.runtime.on_embedding(replace(good, cut=1))  # on the caller's thread
    for _ in range(2):
        tail.runtime.on_embedding(good)
    wait_until(lambda: len(answers) == 3)
    assert tail.runtime.counts["errors"] == 2
    assert "could not be sent" in caplog.text


def test_a_full_queue_refuses(make, tiny_bundle, factory, good):
    started, go_on = threading.Event(), threading.Event()

    def spoil(key, engine):
        working, calls = engine.run, []

        def run(tensors):
            calls.append(None)
            if len(calls) > 2:
                started.set()
                assert go_on.wait(30)
            return working(tensors)

        engine.run = run

    factory.spoil = spoil
    tail = make(queue_depth=2)
    tail.use(plan_for(tiny_bundle, EPOCH, CUT))
    tail.runtime.on_embedding(good)
    assert started.wait(30)
    for number in range(1, 5):
        tail.runtime.on_embedding(replace(good, sequence=number))
    assert [(a.sequence, a.status) for a in tail.answers] == [
        (3, TailStatus.REFUSED),
        (4, TailStatus.REFUSED),
    ]
    assert tail.runtime.refusals == {"busy": 2}
    go_on.set()
    tail.wait_for(5)
    assert [a.sequence for a in tail.answers[2:]] == [0, 1, 2]


def test_closing_answers_what_was_accepted_and_refuses_the_rest(make, tiny_bundle, good):
    tail = make()
    tail.use(plan_for(tiny_bundle, EPOCH, CUT))
    for number in range(5):
        tail.runtime.on_embedding(replace(good, sequence=number))
    tail.runtime.close()
    assert [(a.sequence, a.status) for a in tail.answers] == [(n, TailStatus.OK) for n in range(5)]
    tail.runtime.on_embedding(good)
    assert tail.answers[5].status is TailStatus.REFUSED
    assert tail.runtime.refusals == {"closed": 1}


def test_both_epochs_are_served_until_the_head_has_drained_the_old(
    make, tiny_bundle, factory, frame
):
    tail = make()
    plans = [plan_for(tiny_bundle, epoch, cut) for epoch, cut in ((1, 2), (2, 5), (3, 8))]
    old, new, newest = (embeddings_of(tiny_bundle, factory, p, [frame])[0] for p in plans)
    tail.use(plans[0])
    tail.runtime.prepare(plans[1])
    # The head may be in the new epoch before this tail is told.
    tail.runtime.on_embedding(replace(new, oldest_epoch=1))
    tail.runtime.commit(2)
    tail.runtime.on_embedding(old)
    tail.wait_for(2)
    assert [a.status for a in tail.answers] == [TailStatus.OK, TailStatus.OK]
    assert tail.runtime.epochs == (1, 2)
    tail.runtime.on_embedding(replace(new, oldest_epoch=2))
    tail.wait_for(3)
    assert tail.runtime.epochs == (2,)
    tail.runtime.on_embedding(old)
    assert tail.runtime.refusals == {"epoch": 1}
    # A frame that says too much drops nothing, neither what is in force nor what is prepared.
    tail.runtime.prepare(plans[2])
    tail.runtime.on_embedding(replace(new, oldest_epoch=2**32 - 1))
    tail.wait_for(5)
    assert tail.runtime.epochs == (2, 3)
    tail.runtime.on_embedding(newest)
    tail.wait_for(6)
    assert tail.answers[-1].status is TailStatus.OK


def test_what_one_head_has_drained_another_may_need(make, tiny_bundle, factory, frame):
    tail = make()
    plans = [plan_for(tiny_bundle, epoch, cut) for epoch, cut in ((1, 2), (2, 5))]
    old, new = (embeddings_of(tiny_bundle, factory, plan, [frame])[0] for plan in plans)
    for plan in plans:
        tail.use(plan)
    tail.runtime.on_embedding(replace(old, session=7))
    tail.runtime.on_embedding(replace(new, session=8))
    tail.wait_for(2)
    assert tail.runtime.epochs == (1, 2)
    tail.runtime.on_embedding(replace(new, session=7))
    tail.wait_for(3)
    assert tail.runtime.epochs == (2,)
    assert [(a.session, a.status) for a in tail.answers] == [(n, TailStatus.OK) for n in (7, 8, 7)]


def test_engines_go_when_their_epoch_does(make, tiny_bundle, factory, frame):
    tail = make()
    for epoch, cut in enumerate((2, 5, 8), start=1):
        plan = plan_for(tiny_bundle, epoch, cut)
        (embedding,) = embeddings_of(tiny_bundle, factory, plan, [frame])
        tail.use(plan)
        tail.runtime.on_embedding(embedding)
        tail.wait_for(epoch)
    wait_until(lambda: [k.cut for k in factory.alive] == [8])


def test_a_plan_that_cannot_be_prepared_leaves_the_old_one(tail, tiny_bundle, good):
    for plan, says in (
        (plan_for(tiny_bundle, 8, 99), "cut 99 does not exist"),
        (plan_for(tiny_bundle, 8, 3, codec="jpeg"), "codec 'jpeg' cannot carry"),
        (plan_for(tiny_bundle, 8, 3, precision="int1"), "precision 'int1'"),
        (plan_for(tiny_bundle, EPOCH, 3), "is in force here"),
    ):
        with pytest.raises(CodesignError, match=says):
            tail.runtime.prepare(plan)
    with pytest.raises(CodesignError, match="was not prepared"):
        tail.runtime.commit(8)
    assert (tail.runtime.plan.epoch, tail.runtime.plan.cut) == (EPOCH, CUT)
    tail.runtime.on_embedding(good)
    tail.wait_for(1)
    assert tail.answers[0].status is TailStatus.OK


# Who owns the engines


def test_an_engine_stays_while_a_frame_waits_for_it(make, tiny_bundle, factory, frame):
    old, new = (plan_for(tiny_bundle, epoch, cut) for epoch, cut in ((1, 2), (2, 5)))
    (of_old,) = embeddings_of(tiny_bundle, factory, old, [frame])
    (of_new,) = embeddings_of(tiny_bundle, factory, new, [frame])
    gate = Gate(factory, closed_for=1)
    tail = make()
    tail.use(old)
    tail.use(new)
    tail.runtime.on_embedding(of_old)
    gate.wait()
    tail.runtime.on_embedding(replace(of_new, oldest_epoch=2))  # the last of the old is answered
    tail.runtime.on_embedding(of_old)  # and is not
    gate.open()
    tail.wait_for(3)
    assert [a.status for a in tail.answers] == [TailStatus.OK] * 3
    assert tail.runtime.epochs == (2,)
    wait_until(lambda: [key.cut for key in factory.alive] == [5])


def test_no_engine_is_left_whatever_happens(make, tiny_bundle, factory, frame):
    last = len(tiny_bundle.segments)
    rng = random.Random(2)
    plans = [plan_for(tiny_bundle, 1, cut) for cut in range(last)]
    sound = [embeddings_of(tiny_bundle, factory, plan, [frame])[0] for plan in plans]
    epoch, count = 0, 0
    tail = make()
    for _ in range(100):
        epoch += 1
        cut = rng.randrange(last + 1)
        tail.runtime.prepare(plan_for(tiny_bundle, epoch, cut))
        chance = rng.random()
        if chance < 0.2:  # prepared again, as after an answer that was lost
            tail.runtime.prepare(plan_for(tiny_bundle, epoch, cut))
        elif chance < 0.4:
            with pytest.raises(CodesignError, match="is in force here"):
                tail.runtime.prepare(plan_for(tiny_bundle, tail.runtime.plan.epoch, 3))
        elif chance < 0.6:
            with pytest.raises(CodesignError):
                tail.runtime.prepare(plan_for(tiny_bundle, epoch + 1, 3, precision="int1"))
        if chance < 0.9:  # else overtaken by the next
            tail.runtime.commit(epoch)
            if cut < last:
                oldest = epoch if chance < 0.7 else 0
                tail.runtime.on_embedding(replace(sound[cut], epoch=epoch, oldest_epoch=oldest))
                count += 1
        if chance < 0.05:
            tail.runtime.close()
            tail = make()
            epoch = 0
        assert set(factory.alive) <= {EngineKey("tail", each) for each in range(last)}
    tail.runtime.close()
    assert factory.alive == []
    assert len(factory.made) > 30


def test_a_closed_tail_keeps_no_engine_that_was_prepared_meanwhile(make, tiny_bundle, factory):
    tail = make()
    tail.runtime.close()
    with pytest.raises(CodesignError, match="not active any more"):
        tail.runtime.prepare(plan_for(tiny_bundle, EPOCH, CUT))
    assert (len(factory.made), factory.alive) == (1, [])


# Several at once


class Gate:
    """Holds up one run of an engine until it is opened; it knows the sizes of all runs.

    Args:
        factory: whose next engines it is before.
        closed_for: the run that it holds up, from 1; runs to warm up do not count.
        most: frames that they take at once.
    """

    def __init__(self, factory, closed_for, most=1):
        self.sizes = []
        self.on_run = lambda batch: None
        self._closed_for = closed_for
        self._most = most
        self._opened = threading.Event()
        factory.wrap = self._wrap

    def wait(self):
        """Wait until a run waits here."""
        wait_until(lambda: len(self.sizes) == self._closed_for)

    def open(self):
        self._opened.set()

    def _wrap(self, engine):
        return BatchEngine(engine, self._most, self._before)

    def _before(self, batch):
        self.sizes.append(len(batch))
        if len(self.sizes) == self._closed_for:
            assert self._opened.wait(30)
        self.on_run(batch)


class Batches:
    """A tail whose first run waits, so that what is put behind it goes through together."""

    def __init__(self, make, bundle, factory, most=4, first=1, **settings):
        self.plan = plan_for(bundle, EPOCH, CUT)
        self.frames = tiny_frames(8, seed=4)
        self.scores, _ = whole_scores(bundle, factory, self.frames)
        self.good = embeddings_of(bundle, factory, self.plan, self.frames)
        self.gate = Gate(factory, closed_for=first, most=most)
        self.tail = make(queue_depth=100, **settings)
        self.tail.use(self.plan)

    def put(self, *embeddings):
        """Have the first embedding run, and the others wait behind it."""
        first, *others = embeddings
        self.tail.runtime.on_embedding(first)
        self.gate.wait()
        for embedding in others:
            self.tail.runtime.on_embedding(embedding)
        self.gate.open()
        self.tail.wait_for(len(embeddings))
        return self.tail.answers

    def check(self, answers):
        """Those that are answers are the right ones."""
        for answer in answers:
            if answer.status is TailStatus.OK:
                expected = self.scores[answer.sequence]
                np.testing.assert_allclose(answer.class_scores, expected, atol=1e-5)


@pytest.fixture
def batches(make, tiny_bundle, factory):
    return Batches(make, tiny_bundle, factory)


def test_what_waits_goes_through_together(batches):
    answers = batches.put(*batches.good)
    assert batches.gate.sizes == [1, 4, 3]
    assert [a.sequence for a in answers] == list(range(8))
    assert {a.status for a in answers} == {TailStatus.OK}
    batches.check(answers)
    assert batches.tail.runtime.counts == {"embeddings": 8, "answers": 8, "batches": 2}


def test_an_engine_that_takes_one_at_a_time_gets_one(make, tiny_bundle, factory):
    batches = Batches(make, tiny_bundle, factory, most=1)
    batches.check(batches.put(*batches.good))
    assert batches.gate.sizes == [1] * 8
    assert "batches" not in batches.tail.runtime.counts


@pytest.mark.parametrize(
    ("attack", "reason", "sizes"),
    [
        (changed_tensor(codec="fp16"), "codec", [1, 3]),
        (changed_tensor(data=b""), "length", [1, 3]),
        (not_numbers, "output", [1, 4]),
    ],
)
def test_what_does_not_fit_is_refused_alone(batches, attack, reason, sizes):
    embeddings = batches.good[:5]
    embeddings[2] = attack(embeddings[2])
    answers = batches.put(*embeddings)
    assert batches.gate.sizes == sizes
    assert [a.sequence for a in answers] == list(range(5))
    assert [a.status for a in answers].count(TailStatus.OK) == 4
    assert answers[2].status is TailStatus.REFUSED
    batches.check(answers)
    assert batches.tail.runtime.refusals == {reason: 1}


def test_one_left_of_a_batch_runs_as_ever(batches):
    bad = changed_tensor(data=b"")
    answers = batches.put(*batches.good[:2], bad(batches.good[2]), bad(batches.good[3]))
    assert batches.gate.sizes == [1, 1]
    assert [a.status for a in answers] == [TailStatus.OK] * 2 + [TailStatus.REFUSED] * 2
    batches.check(answers)


def test_a_run_that_fails_is_tried_frame_by_frame(batches, caplog):
    poison = batches.good[2]
    (values,) = poison.tensors

    def fail(batch):
        for tensors in batch:
            if tensors[values.name].tobytes() == bytes(values.data):
                raise RuntimeError("an illegal memory access")

    batches.gate.on_run = fail
    answers = batches.put(*batches.good[:5])
    assert batches.gate.sizes == [1, 4, 1, 1, 1, 1]
    assert [a.sequence for a in answers] == list(range(5))
    assert [a.sequence for a in answers if a.status is TailStatus.REFUSED] == [2]
    assert answers[2].reason == "unexpected RuntimeError: an illegal memory access"
    batches.check(answers)
    counts = batches.tail.runtime.counts
    assert (counts["batches"], counts["batches_failed"], counts["answers"]) == (0, 1, 4)
    assert batches.tail.runtime.refusals == {"internal": 1}
    assert "4 frames could not be run at once" in caplog.text


def test_frames_of_two_epochs_do_not_go_together(make, tiny_bundle, factory, frame):
    old, new = (plan_for(tiny_bundle, epoch, cut) for epoch, cut in ((1, 2), (2, 5)))
    (of_old,) = embeddings_of(tiny_bundle, factory, old, [frame])
    (of_new,) = embeddings_of(tiny_bundle, factory, new, [frame])
    gate = Gate(factory, closed_for=1, most=8)
    tail = make()
    tail.use(old)
    tail.use(new)
    order = [of_old, of_old, of_old, of_new, of_new, of_old]
    for number, embedding in enumerate(order):
        tail.runtime.on_embedding(replace(embedding, sequence=number, oldest_epoch=1))
        if number == 0:
            gate.wait()
    gate.open()
    tail.wait_for(len(order))
    assert gate.sizes == [1, 2, 2, 1]
    assert [(a.sequence, a.epoch) for a in tail.answers] == [
        (number, embedding.epoch) for number, embedding in enumerate(order)
    ]
    assert {a.status for a in tail.answers} == {TailStatus.OK}
    assert tail.runtime.epochs == (1, 2)


@pytest.mark.parametrize("slowdown", [0.0, 3.0])
def test_a_frame_s_times_are_all_of_its_time_at_the_tail(
    make, tiny_bundle, factory, monkeypatch, slowdown
):
    """On a clock that moves only while something works: decoding 1 s, any run 6 s."""
    now = [100.0]

    def work(duration_s):
        now[0] += duration_s

    clock = SimpleNamespace(perf_counter=lambda: now[0])
    real_decode = TailStage.decode

    def decode(stage, *received):
        work(1.0)
        return real_decode(stage, *received)

    monkeypatch.setattr(TailStage, "decode", decode)
    for module in (runtime, tail_batch, emulation):
        monkeypatch.setattr(module, "time", clock)
    stretched = emulation.stretched
    idle = SimpleNamespace(wait=work)
    monkeypatch.setattr(runtime, "stretched", lambda run, by, closing: stretched(run, by, idle))
    batches = Batches(make, tiny_bundle, factory, slowdown=slowdown)
    batches.gate.on_run = lambda batch: work(6.0)
    answers = batches.put(*batches.good[:4])
    assert batches.gate.sizes == [1, 3]
    factor = max(1.0, slowdown)
    # Idling of an emulated device counts as inference, as without batches.
    first, *others = answers
    assert (first.queue_s, first.decode_s, first.tail_s) == (0, 1, 7 * factor - 1)
    together_s = (6 + 3) * factor
    waited_s = 7 * factor - 1  # all three came when the first had been decoded
    for answer in others:
        assert answer.decode_s == 1
        assert answer.tail_s == pytest.approx((together_s - 3) / 3)
        total_s = answer.queue_s + answer.decode_s + answer.tail_s
        assert total_s == pytest.approx(waited_s + together_s)


# Several robots on one server


def test_a_robot_that_floods_does_not_keep_another_from_its_share(
    make, tiny_bundle, factory, frame
):
    """What floods fills its own queue, and runs no more than every other time."""
    plan = plan_for(tiny_bundle, EPOCH, CUT)
    (good,) = embeddings_of(tiny_bundle, factory, plan, [frame])
    gate = Gate(factory, closed_for=1)
    # By this clock each run takes the same, however busy the machine is.
    turns = FairTurns(1, itertools.count().__next__)
    order = []

    def robot(name):
        def note(answer):
            if answer.status is TailStatus.OK:
                order.append((name, answer.sequence))

        tail = make(send_answer=note, turns=turns, node=f"/{name}/tail", queue_depth=20)
        tail.use(plan)
        return tail.runtime

    flood, polite = robot("flood"), robot("polite")
    flood.on_embedding(good)
    gate.wait()
    for number in range(1, 100):
        flood.on_embedding(replace(good, sequence=number))
    for number in range(4):
        polite.on_embedding(replace(good, sequence=number))
    wait_until(lambda: turns.waiting == 1)
    gate.open()
    wait_until(lambda: len(order) == 25)
    places = [place for place, (name, _) in enumerate(order) if name == "polite"]
    # Answers are sent beside the next one's turn: two that follow each other may change places.
    assert [place <= 2 * (number + 1) for number, place in enumerate(places)] == [True] * 4
    assert [n for name, n in order if name == "polite"] == list(range(4))
    assert [n for name, n in order if name == "flood"] == list(range(21))
    assert flood.refusals == {"busy": 79}
    assert polite.refusals == {}
