"""``codesign replay-tail`` and ``replay-planner`` on bags of what nodes said, without DDS."""

import contextlib
import json
from dataclasses import replace

import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer

from codesign_ros.cli.main import main
from codesign_ros.data.storage.decoding import typestore
from codesign_ros.engines.factory import open_backend
from codesign_ros.nodes.interface.device_messages import device_to_msg, heartbeat_to_msg
from codesign_ros.nodes.interface.messages import (
    embedding_to_msg,
    plan_to_msg,
    tail_answer_to_msg,
)
from codesign_ros.runtime.device import Device, Heartbeat, Role, StageMedians
from codesign_ros.runtime.messages import Embedding, EmbeddingKind, Stamp, TailAnswer
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.runtime.stages.head import HeadStage
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.forms import HalfForm
from codesign_ros.types.plan import Plan
from support.planner import beat_of, profile
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


# A planner ----------------------------------------------------------------------------------------


def device(bundle, role, **more):
    name = role.name.lower()
    times = profile(bundle, {"head": 0.4, "tail": 0.04}[name], name)
    return Device(f"{ROBOT}/{name}", robot=ROBOT, role=role, state="active",
                  model_id=bundle.model_id, profile=times, **more)  # fmt: skip


def write_news(path, news):
    """Write what devices and a planner said, with its times [s]."""
    topics = {Device: ("/codesign/devices", "DeviceProfile"), Plan: (TOPICS["plan"], "Plan"),
              Heartbeat: ("/codesign/heartbeat", "Heartbeat")}  # fmt: skip
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {
            kind: writer.add_connection(topic, f"codesign_ros/msg/{name}", typestore=typestore())
            for kind, (topic, name) in topics.items()
        }
        for at_s, said in news:
            if isinstance(said, Plan):
                msg = plan_to_msg(said)
            else:
                to_msg = device_to_msg if isinstance(said, Device) else heartbeat_to_msg
                msg = to_msg(said, Time())
            at_ns = 10**18 + round(1e9 * at_s)
            writer.write(connections[type(said)], at_ns, serialize_message(msg))
    return path


def replay_plans(bag, bundle, out, *more, status=0):
    given = ["--bundle", str(bundle.path), "--json", str(out), *more]
    assert main(["replay-planner", str(bag), *given]) == status
    return json.loads(out.read_text())


def beats(devices, until_s, rate_bps):
    """Two signs of life a second of each; ``rate_bps`` of a time is what the head measures."""
    return [
        (0.5 * n, replace(beat_of(each), link_bps=rate_bps(0.5 * n)))
        for n in range(1, int(2 * until_s))
        for each in devices
    ]


RAW = ["--set", "codecs=[raw]", "frame_codecs=[raw]"]


def test_a_planner_answers_a_change_of_the_link_as_by_hand(tmp_path, tiny_bundle):
    head, tail = device(tiny_bundle, Role.HEAD, link_bps=1e9), device(tiny_bundle, Role.TAIL)
    news = [(0.0, head), (0.0, tail)]
    news += beats((head, tail), 20.0, lambda now_s: 1e9 if now_s < 10 else 1e5)
    found = replay_plans(write_news(tmp_path / "bag", news), tiny_bundle, tmp_path / "a.json", *RAW)
    first, *_, last = found["plans"]

    def total_s(cut, rate_bps):
        half = HalfForm(cut)
        alone = cut == tiny_bundle.last_cut
        head_s = head.profile.half_s[half]
        if alone:
            return head_s
        sent_s = 8 * head.profile.codec_bytes[cut, "raw"] / rate_bps
        coding_s = head.profile.codec_s[cut, "raw"] + tail.profile.codec_s[cut, "raw"]
        return head_s + sent_s + tail.profile.half_s[half] + coding_s

    cuts = range(tiny_bundle.last_cut + 1)
    assert first["at_s"] < 2
    assert last["at_s"] > 10
    for plan, rate_bps in ((first, 1e9), (last, 1e5)):
        best = min(total_s(cut, rate_bps) for cut in cuts)
        assert plan["predicted_ms"] == pytest.approx(1e3 * best, rel=1e-5)
        assert plan["robot"] == ROBOT
    assert first["plan"] != last["plan"]
    assert found["both_s"] == 0  # no plan was recorded


def test_recorded_plans_are_held_against_those_of_another_policy(tmp_path, tiny_bundle, capsys):
    head, tail = device(tiny_bundle, Role.HEAD, link_bps=1e9), device(tiny_bundle, Role.TAIL)
    then = Plan(cut=0, codec="raw", epoch=7, robot=ROBOT, model_id=tiny_bundle.model_id,
                served_by=f"{ROBOT}/tail", server_available=True)  # fmt: skip
    news = [(0.0, head), (0.0, tail), (1.0, then)]
    bag = write_news(tmp_path / "bag", news + beats((head, tail), 10.0, lambda _: 1e9))
    same = replay_plans(bag, tiny_bundle, tmp_path / "a.json", *RAW, "policy=cut:0")
    assert same["same_s"] == same["both_s"] == pytest.approx(8.5, abs=0.1)
    capsys.readouterr()
    other = replay_plans(bag, tiny_bundle, tmp_path / "b.json", *RAW, "policy=cut:3")
    assert other["same_s"] == 0 < other["both_s"]
    assert "the same choice was in force for 0% of 8.5 s" in capsys.readouterr().out


@pytest.mark.parametrize("measured", [False, True])
def test_what_ran_under_another_choice_says_nothing(tmp_path, tiny_bundle, measured):
    """The head took four times what was predicted, under this planner's choice or another."""
    head, tail = device(tiny_bundle, Role.HEAD, link_bps=1e9), device(tiny_bundle, Role.TAIL)
    cut = 3 if measured else 5
    then = Plan(cut=cut, codec="raw", epoch=7, robot=ROBOT, model_id=tiny_bundle.model_id,
                served_by=f"{ROBOT}/tail", server_available=True)  # fmt: skip
    slow_s = 4 * head.profile.half_s[HalfForm(cut)]
    news = [(0.0, head), (0.0, tail), (0.5, then)]
    for n in range(3, 60):
        running = StageMedians(7, n * 10, slow_s, 0.001, 0.001)
        news += [(0.5 * n, replace(beat_of(head), epoch=7, running=running)),
                 (0.5 * n, replace(beat_of(tail), epoch=7))]  # fmt: skip
    # The server leaves and comes back: what was learned of the robot is in the plan for it.
    away = replace(tail, state="inactive", epoch=7)
    news += [(30.0, away), (31.0, replace(away, state="active"))]
    news += [(0.5 * n, replace(beat_of(head), epoch=7)) for n in range(60, 70)]
    bag = write_news(tmp_path / "bag", sorted(news, key=lambda pair: pair[0]))
    plans = replay_plans(bag, tiny_bundle, tmp_path / "a.json", *RAW, "policy=cut:3")["plans"]
    ours = [plan for plan in plans if plan["by"] != "recorded"]
    first, *_, last = ours
    assert last["at_s"] > 31
    assert first["plan"] == last["plan"]
    longer = last["predicted_ms"] / first["predicted_ms"]
    assert longer > 1.5 if measured else longer == pytest.approx(1.0)


def test_a_bag_without_announcements(tmp_path, tiny_bundle, talk, capsys):
    bag = write(tmp_path / "bag", talk)
    assert main(["replay-planner", str(bag), "--bundle", str(tiny_bundle.path)]) == 2
    said = capsys.readouterr().err
    assert "has no codesign_ros/msg/DeviceProfile; record /codesign/devices too" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("polcy=ours", "the planner has no parameter polcy; known are silence_limit_s, policy"),
        ("objective=speed", "parameter objective: unknown value 'speed'"),
        ("codecs=[raw", "--set codecs=[raw: while parsing"),
        ("policy=cut:x", "unknown policy 'cut:x'"),
        ("policy", "parameter policy must be a str, not None"),
    ],
)
def test_parameters_that_cannot_be(tmp_path, tiny_bundle, capsys, given, words):
    given = ["replay-planner", str(tmp_path), "--bundle", str(tiny_bundle.path), "--set", given]
    assert main(given) == 2
    assert words in capsys.readouterr().err
