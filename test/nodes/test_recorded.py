"""``codesign replay-tail`` on bags of what a head and a tail said, without DDS."""

import contextlib
import json

import pytest
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer

from codesign_ros.cli.main import main
from codesign_ros.data.storage.decoding import typestore
from codesign_ros.engines.factory import open_backend
from codesign_ros.nodes.interface.messages import (
    embedding_to_msg,
    plan_to_msg,
    tail_answer_to_msg,
)
from codesign_ros.runtime.messages import Embedding, EmbeddingKind, Stamp, TailAnswer
from codesign_ros.runtime.stages import HeadStage, TailStage, head_key, tail_key
from codesign_ros.types import Plan
from support.tiny import tiny_frames

ROBOT, SESSION, COUNT = "/miner", 77, 5
TOPICS = {
    "embedding": f"{ROBOT}/embedding",
    "answer": f"{ROBOT}/result/remote",
    "plan": "/codesign/plan",
}


@pytest.fixture(autouse=True)
def cache(engine_cache, monkeypatch):
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(engine_cache))


@pytest.fixture(scope="module")
def talk(tiny_bundle):
    """Plans of two epochs, embeddings and answers, as head and tail make them."""
    plans = [
        Plan(cut=cut, codec=codec, epoch=epoch, model_id=tiny_bundle.model_id,
             served_by=f"{ROBOT}/tail")
        for epoch, cut, codec in ((1, 5, "raw"), (2, 3, "uint8"))
    ]  # fmt: skip
    said = [("plan", replace_robot(plan)) for plan in plans]
    with contextlib.closing(open_backend(tiny_bundle, "torch", threads=1)) as factory:
        for plan in plans:
            head_engine, tail_engine = factory.build(head_key(plan)), factory.build(tail_key(plan))
            head = HeadStage(tiny_bundle, plan, head_engine)
            tail = TailStage(tiny_bundle, plan, tail_engine)
            for n, rgb in enumerate(tiny_frames(COUNT, seed=plan.epoch)):
                number, stamp = n + COUNT * (plan.epoch - 1), Stamp(10**9 + n)
                sent = head.run(rgb)
                embedding = Embedding(
                    *(stamp, number, plan.epoch, plan.epoch, plan.model_id, plan.cut),
                    tuple(sent.encoded), session=SESSION,
                )  # fmt: skip
                said.append(("embedding", embedding_to_msg(embedding)))
                answer = tail.run(tail.decode(sent.encoded))
                told = TailAnswer(
                    stamp=stamp, sequence=number, epoch=plan.epoch, session=SESSION, tail_s=0.004,
                    **vars(answer),
                )  # fmt: skip
                said.append(("answer", tail_answer_to_msg(told)))
            head_engine.close()
            tail_engine.close()
    return said


def replace_robot(plan):
    msg = plan_to_msg(plan)
    msg.robot = ROBOT
    return msg


def write(path, said, storage="mcap"):
    kinds = {"embedding": "Embedding", "answer": "TailAnswer", "plan": "Plan"}
    with Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        used = {kind for kind, _ in said}
        connections = {
            kind: writer.add_connection(
                TOPICS[kind], f"codesign_ros/msg/{kinds[kind]}", typestore=typestore()
            )
            for kind in sorted(used)
        }
        for n, (kind, msg) in enumerate(said):
            writer.write(connections[kind], 10**9 + n, serialize_message(msg))
    return path


def replay(bag, bundle, out, status=0):
    given = ["--bundle", str(bundle.path), "--backend", "torch", "--json", str(out)]
    assert main(["replay-tail", str(bag), *given]) == status
    return json.loads(out.read_text())["plans"]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_the_same_tail_gives_the_same_answers(tmp_path, tiny_bundle, talk, storage):
    plans = replay(write(tmp_path / "bag", talk, storage), tiny_bundle, tmp_path / "a.json")
    assert [plan["epoch"] for plan in plans] == [1, 2]
    for plan in plans:
        assert plan["robot"] == ROBOT
        assert (plan["same"], plan["different"], plan["unanswered"]) == (COUNT, 0, 0)
        assert plan["refused"] == {}
        assert plan["recorded_tail_s"] == pytest.approx(0.004)
        assert plan["tail_s"] > 0


def test_another_answer_is_found_and_named(tmp_path, tiny_bundle, talk, capsys):
    said = list(talk)
    place = max(n for n, (kind, _) in enumerate(said) if kind == "answer")
    other = [msg for kind, msg in said if kind == "answer"][-1]
    changed = type(other)(**{
        name: getattr(other, name) for name in other.get_fields_and_field_types()
    })  # fmt: skip
    scores = list(changed.class_scores)
    changed.class_scores = [scores[0] + 0.01, *scores[1:]]
    said[place] = "answer", changed
    # A probe is no frame, and the first answer was not recorded.
    probe = Embedding(Stamp(1), 0, 2, 2, "x", 3, (), EmbeddingKind.PROBE, SESSION)
    said.append(("embedding", embedding_to_msg(probe)))
    del said[min(n for n, (kind, _) in enumerate(said) if kind == "answer")]
    first, second = replay(write(tmp_path / "bag", said), tiny_bundle, tmp_path / "a.json", 1)
    assert (first["same"], first["unanswered"]) == (COUNT - 1, 1)
    assert (second["same"], second["different"]) == (COUNT - 1, 1)
    assert second["differing"] == [2 * COUNT - 1]
    assert f"epoch 2: answered otherwise: frames {2 * COUNT - 1}" in capsys.readouterr().out


def test_what_a_tail_would_refuse_is_refused(tmp_path, tiny_bundle, talk, capsys):
    plans = [msg for kind, msg in talk if kind == "plan"]
    foreign = type(plans[0])(**{
        name: getattr(plans[0], name) for name in plans[0].get_fields_and_field_types()
    })  # fmt: skip
    foreign.model_id = "another"
    others = [each for each in talk if each[1] is not plans[0]]
    (first, second) = replay(
        write(tmp_path / "bag", [("plan", foreign), *others]), tiny_bundle, tmp_path / "a.json", 1
    )
    (why,) = first["refused"]
    assert "the plan is for network 'another'" in why
    assert second["same"] == COUNT
    # An epoch with two plans tells nothing of its frames.
    both = write(tmp_path / "both", [("plan", foreign), *talk])
    rows = replay(both, tiny_bundle, tmp_path / "b.json", 1)
    assert sum(row["refused"].get(NO_PLAN, 0) for row in rows) == COUNT
    assert f"{ROBOT}: epoch 1 has two plans in the bag" in capsys.readouterr().out


NO_PLAN = "the bag has no plan of its epoch, or two of them"


@pytest.mark.parametrize("kind", ["embedding", "plan"])
def test_a_bag_that_lacks_a_topic(tmp_path, tiny_bundle, talk, capsys, kind):
    bag = write(tmp_path / "bag", [each for each in talk if each[0] != kind])
    assert main(["replay-tail", str(bag), "--bundle", str(tiny_bundle.path)]) == 2
    said = capsys.readouterr().err
    assert f"has no codesign_ros/msg/{kind.capitalize()}" in said
    assert said.count("\n") == 1
