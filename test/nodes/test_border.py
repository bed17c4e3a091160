"""What comes from others is refused or taken before anything is made of it."""

import subprocess
import sys
from array import array
from pathlib import Path

import pytest
from rclpy.serialization import serialize_message

from codesign_ros.msg import (
    Detection,
    DeviceProfile,
    Embedding,
    GroundTruth,
    Heartbeat,
    InferenceResult,
    Plan,
    TailAnswer,
    Tensor,
)
from codesign_ros.nodes.border.cdr import Layout
from codesign_ros.nodes.border.limits import DEFAULT, LIMITS
from codesign_ros.nodes.border.reading import check_request, layout_of, read
from codesign_ros.nodes.border.refusals import Refusals
from codesign_ros.srv import PreparePlan
from codesign_ros.types.errors import CodesignError

KINDS = (DeviceProfile, Embedding, GroundTruth, Heartbeat, InferenceResult, Plan, TailAnswer)
EMBEDDING = Embedding(
    model_id="abc",
    tensors=[
        Tensor(name="image", shape=array("I", [2, 3]), data=array("B", b"xyz")),
        Tensor(name="more", scale=array("f", [1.5]), data=array("B", b"0123456")),
    ],
)
ANSWER = TailAnswer(
    label="miner", class_names=["miner", "belt"], class_scores=array("f", [0.5, 0.5]),
    detections=[Detection(label="miner", score=0.5), Detection(label="b")],
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_of_ours_is_walked_to_its_end(kind):
    msg = kind()
    data = serialize_message(msg)
    assert read(kind, data) == msg
    with pytest.raises(CodesignError, match="cut off"):
        read(kind, data[:-4])
    with pytest.raises(CodesignError, match="goes on for 8 bytes after its end"):
        read(kind, data + bytes(8))


@pytest.mark.parametrize("msg", [EMBEDDING, ANSWER], ids=["embedding", "answer"])
def test_every_length_of_a_message_with_parts_within_it(msg):
    data = serialize_message(msg)
    assert read(type(msg), data) == msg
    for size in range(len(data) - 3):
        with pytest.raises(CodesignError):
            read(type(msg), data[:size])


@pytest.mark.parametrize("order", ["little", "big"])
def test_both_byte_orders_are_walked(order):
    header = b"\0\1\0\0" if order == "little" else b"\0\0\0\0"
    Layout(Detection, DEFAULT).check(header + (3).to_bytes(4, order) + b"ab\0\0" + bytes(20))
    with pytest.raises(CodesignError, match="label has 999 bytes, at most 256 are taken"):
        Layout(Detection, DEFAULT).check(header + (1000).to_bytes(4, order) + bytes(1020))


def claiming(entries):
    """An embedding whose sequence of tensors says that it has so many."""
    data = serialize_message(Embedding(model_id="abc"))
    return data[:-4] + entries.to_bytes(4, "little") + bytes(3 * entries)


def test_a_count_is_checked_before_memory_is_taken_for_it():
    with pytest.raises(CodesignError, match="Embedding: tensors has 2000000 entries, at most 64"):
        read(Embedding, claiming(2_000_000))
    with pytest.raises(CodesignError, match="cut off"):
        read(Embedding, claiming(60))


@pytest.mark.parametrize(
    ("msg", "text"),
    [
        (Heartbeat(node="/" + "x" * 70_000), " of 70... bytes; at most 65536 are taken"),
        (Heartbeat(node="/" + "x" * 300), "node has 301 bytes, at most 256"),
        (Heartbeat(throttled="hot\x1b[2J"), "throttled has control characters"),
        (Heartbeat(throttled="one\ntwo"), "throttled has control characters"),
        (Heartbeat(throttled="\u202ebackwards"), "throttled has control characters"),
        (DeviceProfile(backends=["x"] * 17), "backends has 17 entries, at most 16"),
        (DeviceProfile(half_s=array("f", [0.1, float("nan")])), "half_s is nan, which is no time"),
        (DeviceProfile(codec_s=array("f", [-1.0])), "codec_s is -1, which is no time"),
        (Heartbeat(link_bps=1e13), r"link_bps is 1e\+13, which is no time"),
        (TailAnswer(class_scores=array("f", [float("inf")])), "class_scores is inf, which is out"),
        (TailAnswer(detections=[Detection(x_max=float("nan"))]), "x_max is nan, which is out"),
        (TailAnswer(tail_s=-0.1), "tail_s is -0.1, which is no time"),
        (TailAnswer(detections=[Detection()] * 1025), "detections has 1025 entries"),
        (Plan(latency_s=float("inf")), "latency_s is inf"),
    ],
)
def test_what_is_refused(msg, text):
    with pytest.raises(CodesignError, match=f"^{type(msg).__name__}.*{text}") as raised:
        read(type(msg), serialize_message(msg))
    assert "\n" not in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("text", ["پایگاه\u200cداده", "矿工", "vernünftig – 86 °C"])
def test_texts_of_people_are_taken(text):
    assert read(Heartbeat, serialize_message(Heartbeat(throttled=text))).throttled == text


def test_text_that_is_none():
    data = serialize_message(Heartbeat(throttled="abc")).replace(b"abc", b"\xff\xfe\xfd")
    with pytest.raises(CodesignError, match="throttled is no text in UTF-8"):
        read(Heartbeat, data)


def test_text_without_its_end():
    data = serialize_message(Heartbeat(throttled="abc")).replace(b"abc\0", b"abc\n")
    with pytest.raises(CodesignError, match="throttled does not end with a zero"):
        read(Heartbeat, data)


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1\0", b"\0\1\0\0", b"\1\1\0\0abc", b"\0\7\0\0"])
def test_bytes_that_are_no_message(data):
    with pytest.raises(CodesignError, match=r"Heartbeat of . bytes"):
        read(Heartbeat, data)


def test_a_request_is_checked_too():
    check_request(PreparePlan.Request(plan=Plan(reason="x" * 1024)))
    with pytest.raises(CodesignError, match="reason has 1025 bytes, at most 1024"):
        check_request(PreparePlan.Request(plan=Plan(reason="x" * 1025)))
    with pytest.raises(CodesignError, match="lambda_1 is nan"):
        check_request(PreparePlan.Request(plan=Plan(lambda_1=float("nan"))))


def test_other_packages_messages_are_left_alone():
    from sensor_msgs.msg import Image

    assert layout_of(Image) is None


def test_every_limit_is_of_a_field_that_there_is():
    kinds = {kind.__name__: kind for kind in KINDS}
    inner = {*Tensor.get_fields_and_field_types(), *Detection.get_fields_and_field_types()}
    for name, limits in LIMITS.items():
        fields = {*kinds[name].get_fields_and_field_types(), *inner}
        assert limits.sequences.keys() <= fields, name


def test_no_message_has_a_sequence_whose_padding_is_in_doubt():
    # Fast CDR pads after the length of an empty sequence of 8-byte numbers, others do not.
    for kind in KINDS:
        for name, words in kind.get_fields_and_field_types().items():
            doubtful = ("sequence<double", "sequence<int64", "sequence<uint64")
            assert not words.startswith(doubtful), (kind.__name__, name)


def test_a_sender_is_logged_once_and_many_are_not_logged():
    refusals = Refusals()
    assert refusals.note("t", Heartbeat(node="/a/head"), "why")
    assert not refusals.note("t", Heartbeat(node="/a/head"), "why else")
    assert refusals.note("t", DeviceProfile(heartbeat=Heartbeat(node="/b/head")), "why")
    assert refusals.note("t", None, "unreadable")
    logged = sum(refusals.note("t", Heartbeat(node=f"/x{n}/head"), "why") for n in range(10_000))
    assert logged < 16
    assert refusals.values() == {"refused messages t": "10004, the last one: why"}


def test_damaged_messages_are_taken_or_refused():
    program = Path(__file__).parent.parent.parent / "benchmarks" / "fuzz.py"
    options = ["--count", "3000", "--seed", "7"]
    command = [sys.executable, "-W", "error::RuntimeWarning", str(program), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "3000 messages of seed 7" in done.stdout
