"""A tail process and hand-made embeddings: what does not fit is refused, and the tail lives on."""

import itertools
from array import array
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zstandard

from codesign_ros.engines.factory import open_backend
from codesign_ros.msg import Embedding as EmbeddingMsg
from codesign_ros.msg import TailAnswer
from codesign_ros.msg import Tensor as TensorMsg
from codesign_ros.nodes.interface.messages import (
    embedding_to_msg,
    plan_to_msg,
    tail_answer_from_msg,
)
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.runtime.messages import Embedding, EmbeddingKind, Stamp, TailStatus
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.runtime.stages.head import HeadStage
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.srv import CommitPlan, PreparePlan
from codesign_ros.types.plan import Plan
from codesign_ros.wire.codecs import encode

pytest_plugins = ("support.ros",)

# More than a tail may take for a tensor of a few kB, and less than the bombs expand to [bytes].
MEMORY_MARGIN = 64 << 20
BOMB_BYTES = 256 << 20


class Peer:
    """Plays planner and head for a tail process: prepares plans, sends embeddings, hears answers.

    ``raw`` and ``packed`` are plans in force at the tail, with codec raw and raw+zstd.
    """

    def __init__(self, robot, bundle, factory, pictures):
        self.robot = robot
        self.bundle = bundle
        self._factory = factory
        self._pictures = pictures
        self._sequences = itertools.count()
        self._answers = robot.listen(TailAnswer, "result/remote")
        robot.wait_for_listeners("tail", "result/remote", 1)
        self._embeddings = robot.topic(EmbeddingMsg, "embedding")
        self.raw = Plan(cut=3, codec="raw", epoch=1, model_id=bundle.model_id)
        self.packed = replace(self.raw, codec="raw+zstd", epoch=2)
        for plan in (self.raw, self.packed):
            answer = self.prepare(plan)
            assert answer.ok, answer.message
            assert robot.call(CommitPlan, "tail/commit_plan", epoch=plan.epoch).ok

    def prepare(self, plan):
        return self.robot.call(PreparePlan, "tail/prepare_plan", plan=plan_to_msg(plan))

    def embedding(self, plan, picture=0):
        """A sound embedding of a picture, as a message, and the scores it should get."""
        image = letterbox(self._pictures[picture], self.bundle.input)
        head = HeadStage(self.bundle, plan, self._factory.build(head_key(plan)))
        tail = TailStage(self.bundle, plan, self._factory.build(tail_key(plan)))
        encoded = head.run(image).encoded
        embedding = Embedding(
            stamp=Stamp(1_000_000_000 + picture, "camera"),
            sequence=next(self._sequences),
            epoch=plan.epoch,
            oldest_epoch=self.raw.epoch,
            model_id=self.bundle.model_id,
            cut=plan.cut,
            tensors=encoded,
        )
        return embedding_to_msg(embedding), tail.run(tail.decode(encoded))

    def send(self, msg):
        self._embeddings.publish(msg)

    def answer(self, msg):
        """Send an embedding and wait for its answer."""
        self.send(msg)
        answers = []

        def is_there():
            answers[:] = [a for a in self._answers[:] if a.sequence == msg.sequence]
            return answers

        self.robot.wait(is_there, "an answer")
        (answer,) = answers
        assert answer.header == msg.header
        assert answer.served_by == self.robot.name("tail")
        return tail_answer_from_msg(answer)

    def check_lives(self):
        """A sound embedding gets the right answer."""
        msg, scores = self.embedding(self.raw, picture=next(self._sequences) % 12)
        answer = self.answer(msg)
        assert answer.status is TailStatus.OK
        assert answer.label == scores.label
        assert answer.class_scores == pytest.approx(scores.class_scores, abs=1e-5)

    def refused(self):
        """Refusals by reason, from diagnostics that are younger than the call."""
        self.robot.observer.diagnostics.clear()
        self.robot.wait(lambda: "refused" in self.robot.values("tail"), "diagnostics")
        values = self.robot.values("tail")
        counts = {k[8:]: int(v) for k, v in values.items() if k.startswith("refused.")}
        assert sum(counts.values()) == int(values["refused"])
        return counts

    def memory_bytes(self):
        """Largest memory that the tail's process has had so far."""
        status = Path(f"/proc/{self.robot.processes.pid('tail')}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])


@pytest.fixture(scope="module")
def peer(module_site, engine_cache, node_bundle, pictures):
    robot = module_site.robot(tail={"bundle": str(node_bundle.path), "profile_s": 0.0})
    robot.start("tail")
    robot.wait_for_state("tail", "active")
    return Peer(robot, node_bundle, open_backend(node_bundle, cache_dir=engine_cache), pictures)


def of(field, value):
    """Change a field of the embedding."""
    return lambda msg: setattr(msg, field, value)


def of_tensor(field, value):
    """Change a field of its tensor."""
    return lambda msg: setattr(msg.tensors[0], field, value)


def cut_short(msg):
    msg.tensors[0].data = msg.tensors[0].data[:-1]


def too_long(msg):
    msg.tensors[0].data = msg.tensors[0].data + array("B", bytes(1000))


def twice(msg):
    msg.tensors = [*msg.tensors, *msg.tensors]


def not_finite(msg):
    msg.tensors[0].data = array("B", np.full(32 * 8 * 12, np.nan, np.float32).tobytes())


def bomb(declared):
    """Zeros that expand to BOMB_BYTES; zstd declares that size or, not ``declared``, none."""

    def change(msg):
        size = BOMB_BYTES if declared else -1
        compressor = zstandard.ZstdCompressor(level=1).compressobj(size=size)
        block = bytes(1 << 20)
        parts = [compressor.compress(block) for _ in range(BOMB_BYTES >> 20)]
        msg.tensors[0].data = array("B", b"".join([*parts, compressor.flush()]))

    return change


def lying_bomb(msg):
    """Declares the right size (the 4 or 2 bytes after the descriptor) and holds much more."""
    bomb(declared=True)(msg)
    honest = zstandard.ZstdCompressor(level=1).compress(bytes(32 * 8 * 12 * 4))
    header = zstandard.frame_header_size(honest)
    skip = zstandard.frame_header_size(msg.tensors[0].data.tobytes())
    msg.tensors[0].data = array("B", honest[:header] + msg.tensors[0].data.tobytes()[skip:])


# Reason under which it is counted, plan that it is sent under, and what is wrong with it.
BAD = {
    "unknown epoch": ("epoch", "raw", of("epoch", 99)),
    "epoch of before any plan": ("epoch", "raw", of("epoch", 0)),
    "other cut": ("cut", "raw", of("cut", 4)),
    "cut that no network has": ("cut", "raw", of("cut", 65535)),
    "other network": ("model", "raw", of("model_id", "0123456789abcdef")),
    "no model": ("model", "raw", of("model_id", "")),
    "no tensor": ("shape", "raw", of("tensors", [])),
    "two tensors": ("shape", "raw", twice),
    "empty tensor": ("codec", "raw", of("tensors", [TensorMsg()])),
    "other name": ("name", "raw", of_tensor("name", "stage9")),
    "other shape": ("shape", "raw", of_tensor("shape", array("I", [1, 32, 12, 8]))),
    "absurd shape": ("shape", "raw", of_tensor("shape", array("I", [2**32 - 1] * 9))),
    "other dtype": ("dtype", "raw", of_tensor("dtype", "float64")),
    "dtype of Python objects": ("dtype", "raw", of_tensor("dtype", "O")),
    "codec of another plan": ("codec", "raw", of_tensor("codec", "fp16")),
    "unknown codec": ("codec", "raw", of_tensor("codec", "pickle")),
    "too short": ("length", "raw", cut_short),
    "too long": ("length", "raw", too_long),
    "empty data": ("length", "raw", of_tensor("data", array("B"))),
    "scale of another codec": ("params", "raw", of_tensor("scale", array("f", [1.0]))),
    "values that are no numbers": ("output", "raw", not_finite),
    "no zstd": ("corrupt", "packed", of_tensor("data", array("B", b"no zstd frame"))),
    "zstd cut off": ("corrupt", "packed", cut_short),
    "bomb": ("length", "packed", bomb(declared=True)),
    "bomb of unknown size": ("length", "packed", bomb(declared=False)),
    "bomb that lies": ("corrupt", "packed", lying_bomb),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_with_an_answer(peer, name):
    _, plan, spoil = BAD[name]
    msg, _ = peer.embedding(getattr(peer, plan))
    spoil(msg)
    before = peer.memory_bytes()
    answer = peer.answer(msg)
    assert answer.status is TailStatus.REFUSED
    assert len(answer.reason) > 10
    assert "\n" not in answer.reason
    assert answer.epoch == msg.epoch
    assert answer.label == ""
    peer.check_lives()
    assert peer.memory_bytes() - before < MEMORY_MARGIN


def test_refusals_are_counted_by_reason(peer):
    before = peer.refused()
    expected = {}
    for reason, plan, spoil in BAD.values():
        msg, _ = peer.embedding(getattr(peer, plan))
        spoil(msg)
        peer.answer(msg)
        expected[reason] = expected.get(reason, 0) + 1
    after = peer.refused()
    assert {r: n - before.get(r, 0) for r, n in after.items() if n != before.get(r, 0)} == expected
    assert f"refused {sum(after.values())} embeddings" in peer.robot.message("tail")
    last = peer.robot.values("tail")["last_refusal"]
    assert last.startswith(f"frame {msg.sequence}: ")


def test_unknown_kind_is_counted(peer):
    before = peer.refused().get("kind", 0)
    msg, _ = peer.embedding(peer.raw)
    msg.kind = 7
    peer.send(msg)
    peer.check_lives()
    assert peer.refused()["kind"] == before + 1


@pytest.mark.parametrize("plan", ["raw", "packed"])
def test_sound_embeddings_are_answered(peer, plan):
    for picture in range(3):
        msg, scores = peer.embedding(getattr(peer, plan), picture)
        answer = peer.answer(msg)
        assert (answer.status, answer.label) == (TailStatus.OK, scores.label)
        assert answer.class_names == peer.bundle.classes
        assert answer.class_scores == pytest.approx(scores.class_scores, abs=1e-5)
        assert answer.epoch == getattr(peer, plan).epoch
        assert answer.tail_s > 0
        assert answer.decode_s > 0


def test_probe_is_answered_whatever_it_carries(peer):
    tensors = (encode("probe", np.zeros(64, np.uint8), "raw"),)
    for epoch in (peer.raw.epoch, 99):
        probe = Embedding(
            Stamp(0), 10**6 + epoch, epoch, epoch, "whatever", 0, tensors, EmbeddingKind.PROBE
        )
        assert peer.answer(embedding_to_msg(probe)).status is TailStatus.PROBE
    peer.check_lives()  # the epochs in force are still there


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model_id": "0123456789abcdef"}, "start head, tail and planner with the same bundle"),
        ({"cut": 16}, "cut 16 does not exist; cuts are 0 to 15"),
        ({"codec": "jpeg"}, "codec 'jpeg' cannot carry tensor 'stage2.0'"),
        ({"codec": "pickle"}, "codec 'pickle' cannot carry tensor 'stage2.0'"),
        ({"precision": "int3"}, "int3"),
        ({"epoch": 2}, "epoch 2 is in force here, or was; take another number"),
    ],
)
def test_plan_that_cannot_be_followed(peer, change, text):
    answer = peer.prepare(replace(peer.packed, **{"epoch": 50, **change}))
    assert not answer.ok
    assert text in answer.message
    peer.check_lives()


@pytest.mark.parametrize("field", ["head_structure", "tail_structure", "merge"])
def test_plan_with_an_unknown_word(peer, field):
    msg = plan_to_msg(replace(peer.packed, epoch=50))
    setattr(msg, field, "S7")
    answer = peer.robot.call(PreparePlan, "tail/prepare_plan", plan=msg)
    assert not answer.ok
    assert "plan of epoch 50: 'S7' is not a valid" in answer.message


def test_commit_of_what_was_not_prepared(peer):
    answer = peer.robot.call(CommitPlan, "tail/commit_plan", epoch=77)
    assert not answer.ok
    assert answer.message == "epoch 77 was not prepared here; prepare it first"
    peer.check_lives()
