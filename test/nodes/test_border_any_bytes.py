"""Whatever bytes come as a message of this package: taken, or refused in one line."""

from array import array

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message

from codesign_ros.msg import (
    Detection,
    DeviceProfile,
    Embedding,
    GroundTruth,
    Heartbeat,
    InferenceResult,
    Plan,
    Presence,
    TailAnswer,
    Tensor,
)
from codesign_ros.nodes.border.reading import read
from codesign_ros.nodes.border.refusals import Refusals
from codesign_ros.nodes.border.version import read_version
from codesign_ros.nodes.interface.device_messages import device_from_msg, heartbeat_from_msg
from codesign_ros.nodes.interface.messages import (
    embedding_from_msg,
    ground_truth_from_msg,
    plan_from_msg,
    presence_from_msg,
    result_from_msg,
    tail_answer_from_msg,
)
from codesign_ros.types.errors import CodesignError

BEAT = Heartbeat(node="/robot/head", session=5, throttled="GPU at 400 MHz", link_bps=1e6)
# A message of each type with something in every sequence, and what a node makes of it.
TAKEN = {
    DeviceProfile: (
        DeviceProfile(
            heartbeat=BEAT, robot="/robot", role=1, state="active", model_id="abc",
            backends=["onnxruntime"], precisions=["fp32"], half_cut=array("H", [3]),
            half_structure=["S3"], half_merge=["fold"], half_precision=["fp32"],
            half_s=array("f", [0.1]), half_measured=[True], codec_cut=array("H", [3]),
            codec_name=["raw"], codec_bytes=array("I", [100]),
            codec_bytes_spread=array("f", [0.0]), codec_s=array("f", [0.01]), half_neck=[False],
        ),
        device_from_msg,
    ),
    Heartbeat: (BEAT, heartbeat_from_msg),
    Embedding: (
        Embedding(
            model_id="abc", cut=3,
            tensors=[
                Tensor(
                    name="x", dtype="float32", shape=array("I", [1, 2]), codec="raw",
                    scale=array("f", [1.0]), offset=array("f", [0.0]), data=array("B", b"8 bytes!"),
                )
            ],
        ),
        embedding_from_msg,
    ),
    TailAnswer: (
        TailAnswer(
            label="miner", score=0.5, class_names=["miner", "belt"],
            class_scores=array("f", [0.5, 0.5]), detections=[Detection(label="miner", score=0.5)],
        ),
        tail_answer_from_msg,
    ),
    InferenceResult: (
        InferenceResult(finished_by="server", label="miner", class_names=["miner"],
                        class_scores=array("f", [0.5]), detections=[Detection(label="miner")]),
        result_from_msg,
    ),
    GroundTruth: (GroundTruth(), ground_truth_from_msg),
    Plan: (
        Plan(robot="/robot", epoch=3, cut=2, codec="raw", head_structure="S3", tail_structure="S3",
             merge="fold", precision="fp32", reason="because", objective="latency",
             standby_structure="S3", standby_merge="fold", standby_precision="fp32"),
        plan_from_msg,
    ),
    Presence: (
        Presence(node="/robot/head", role=1, session=7, process="a:1", unknown=["/b/head"]),
        presence_from_msg,
    ),
}  # fmt: skip
HEADERS = (b"\0\1\0\0", b"\0\0\0\0", b"")
# Counts and lengths that somebody might think of.
EXTREMES = st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 1 << 20])


@st.composite
def damaged(draw, kind):
    """A sound message with some of its bytes replaced, added or taken out."""
    data = bytearray(serialize_message(TAKEN[kind][0]))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        piece = draw(
            st.one_of(
                st.binary(max_size=12),
                EXTREMES.map(lambda number: number.to_bytes(4, "little")),
                st.sampled_from([b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f", b"\0\0\x80\x7f"]),
            )
        )
        taken_out = draw(st.sampled_from([0, len(piece), 1, 4]))
        data[at : at + taken_out] = piece
    return bytes(data)


def of_any_kind(kind):
    anything = st.tuples(st.sampled_from(HEADERS), st.binary(max_size=400)).map(b"".join)
    return st.one_of(anything, damaged(kind))


def check(kind, data):
    """Take the bytes as a node does; whether they were taken."""
    msg = None
    try:
        msg = read(kind, data)
        TAKEN[kind][1](msg)
    except CodesignError as error:
        why = str(error)
        assert why
        assert why.isprintable()
        assert len(why) < 2000
        Refusals().note("topic", msg, why)
        return False
    return True


@pytest.mark.parametrize("kind", TAKEN, ids=lambda kind: kind.__name__)
def test_a_sound_message_is_taken(kind):
    assert check(kind, serialize_message(TAKEN[kind][0]))


@pytest.mark.parametrize("kind", TAKEN, ids=lambda kind: kind.__name__)
@settings(max_examples=300, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
@given(data=st.data())
def test_any_bytes_are_taken_or_refused_in_one_line(kind, data):
    check(kind, data.draw(of_any_kind(kind)))


@settings(max_examples=500, deadline=None, derandomize=True)
@given(text=st.text() | st.from_regex(r"codesign_ros .* interface .* node .*"))
def test_any_text_is_a_version_or_none(text):
    said = read_version(text)
    assert said is None or (said[0].isprintable() and said[1].release.isprintable())
