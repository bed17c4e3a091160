"""Messages and the package's own values: there and back, through the bytes that DDS carries."""

import math
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message

from codesign_ros.cost.half_times import StageProfile
from codesign_ros.msg import DeviceProfile, Embedding, InferenceResult
from codesign_ros.msg import Plan as PlanMsg
from codesign_ros.nodes.interface import device_messages, messages
from codesign_ros.runtime.messages import (
    Device,
    EmbeddingKind,
    Result,
    Role,
    StageMedians,
    Stamp,
    Status,
)
from codesign_ros.runtime.messages import Embedding as EmbeddingValue
from codesign_ros.types import (
    PRECISIONS,
    Box,
    CodesignError,
    GroundTruth,
    Merge,
    Plan,
    Structure,
)
from codesign_ros.wire.codecs import EncodedTensor

uint16, uint32, uint64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
float32 = st.floats(width=32, allow_nan=False)
float64 = st.floats(allow_nan=False)
size32 = st.floats(0, 2.0**100, width=32)
size64 = st.floats(0, 1e300)
ascii_characters = st.characters(codec="ascii")
# DDS strings end at the first zero; surrogates are no text.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
# Seconds of the message are int32.
stamps = st.builds(Stamp, st.integers(0, 2**31 * 10**9 - 1), texts)


def over_the_wire(msg):
    return deserialize_message(serialize_message(msg), type(msg))


boxes = st.builds(Box, texts, float32, float32, float32, float32, float32)
results = st.builds(
    Result,
    stamp=stamps,
    sequence=uint64,
    epoch=uint32,
    status=st.sampled_from(Status),
    reason=texts,
    served_by=texts,
    label=texts,
    score=float32,
    class_names=st.lists(texts, max_size=4).map(tuple),
    class_scores=st.lists(float32, max_size=4).map(tuple),
    detections=st.lists(boxes, max_size=3).map(tuple),
    payload_bytes=uint32,
    **dict.fromkeys(
        ("response_s", "head_s", "encode_s", "link_s", "queue_s", "decode_s", "tail_s"), float32
    ),
)
plans = st.builds(
    Plan,
    cut=uint16,
    head_structure=st.sampled_from(Structure),
    tail_structure=st.sampled_from(Structure),
    merge=st.sampled_from(Merge),
    precision=texts,
    codec=texts,
    epoch=uint32,
    robot=texts,
    model_id=texts,
    served_by=texts,
    server_available=st.booleans(),
    reason=texts,
    objective=texts,
    **dict.fromkeys(
        (
            "lambda_1",
            "head_s",
            "link_s",
            "tail_s",
            "accuracy_loss",
            "payload_bytes",
            "link_bps",
        ),
        size64,
    ),
)


@st.composite
def profiles(draw):
    keys = draw(st.lists(st.tuples(uint16, st.sampled_from(Structure)), min_size=1, unique=True))
    codecs = draw(st.lists(st.tuples(uint16, texts), unique=True, max_size=5))
    others = st.tuples(uint16, st.sampled_from(Structure), st.sampled_from(PRECISIONS[1:]))
    precisions = draw(st.lists(others, unique=True, max_size=3))
    halves = [*((*key, "fp32") for key in keys), *precisions]
    return StageProfile(
        stage_s={key: draw(size32) for key in keys},
        estimated=frozenset(half for half in halves if draw(st.booleans())),
        codec_s={key: draw(size32) for key in codecs},
        codec_bytes={key: float(draw(uint32)) for key in codecs},
        precision_s={key: draw(size32) for key in precisions},
    )


devices = st.builds(
    Device,
    robot=texts,
    node=st.from_regex(r"(/[a-z]\w{0,9}){1,3}", fullmatch=True, alphabet=ascii_characters),
    role=st.sampled_from(Role),
    state=texts,
    model_id=texts,
    device=texts,
    epoch=uint32,
    backends=st.lists(texts, max_size=2).map(tuple),
    precisions=st.lists(texts, max_size=2).map(tuple),
    memory_bytes=uint64,
    dla_cores=st.integers(0, 255),
    power_mode=texts,
    throttled=texts,
    engines=st.none()
    | st.dictionaries(
        st.tuples(
            uint16, st.sampled_from(Structure), st.sampled_from(Merge), st.sampled_from(PRECISIONS)
        ),
        st.booleans(),
        max_size=4,
    ),
    profile=st.none() | profiles(),
    running=st.builds(
        StageMedians,
        epoch=uint32,
        frames=uint32,
        **dict.fromkeys(("head_s", "link_s", "tail_s"), size64),
    ),
    **dict.fromkeys(
        ("peak_flops", "memory_bandwidth", "link_bps", "link_delay_s", "frame_bytes"), size64
    ),
)


@st.composite
def tensors(draw):
    channels = draw(st.integers(0, 4))
    parameters = [
        np.array(draw(st.lists(float32, min_size=channels, max_size=channels)), np.float32)
        for _ in range(2)
    ]
    return EncodedTensor(
        name=draw(texts),
        dtype=draw(texts),
        shape=tuple(draw(st.lists(uint32, max_size=5))),
        codec=draw(texts),
        data=draw(st.binary(max_size=50)),
        scale=parameters[0],
        offset=parameters[1],
    )


embeddings = st.builds(
    EmbeddingValue,
    stamp=stamps,
    sequence=uint64,
    epoch=uint32,
    oldest_epoch=uint32,
    model_id=texts,
    cut=uint16,
    tensors=st.lists(tensors(), max_size=3).map(tuple),
    kind=st.sampled_from(EmbeddingKind),
)


@settings(deadline=None)
@given(results)
def test_result(result):
    msg = over_the_wire(messages.result_to_msg(result))
    assert messages.result_from_msg(msg) == result


@settings(deadline=None)
@given(plans)
def test_plan(plan):
    msg = over_the_wire(messages.plan_to_msg(plan))
    assert msg.latency_s == plan.latency_s
    assert messages.plan_from_msg(msg) == plan


@settings(deadline=None)
@given(devices)
def test_device(device):
    stamp = messages.ns_to_time(5)
    msg = over_the_wire(device_messages.device_to_msg(device, stamp))
    assert msg.stamp == stamp
    assert device_messages.device_from_msg(msg) == device


@settings(deadline=None)
@given(embeddings)
def test_embedding(embedding):
    msg = over_the_wire(messages.embedding_to_msg(embedding))
    back = messages.embedding_from_msg(msg)
    for field in ("stamp", "sequence", "epoch", "oldest_epoch", "model_id", "cut", "kind"):
        assert getattr(back, field) == getattr(embedding, field)
    assert back.payload_bytes == embedding.payload_bytes
    for ours, theirs in zip(back.tensors, embedding.tensors, strict=True):
        for field in ("name", "dtype", "shape", "codec"):
            assert getattr(ours, field) == getattr(theirs, field)
        assert bytes(ours.data) == theirs.data
        for field in ("scale", "offset"):
            parameters = getattr(ours, field)
            assert parameters.dtype == np.float32
            np.testing.assert_array_equal(parameters, getattr(theirs, field))


def test_tensor_is_read_in_place():
    tensor = EncodedTensor("image", "uint8", (3,), "raw", b"abc")
    msg = messages.embedding_to_msg(EmbeddingValue(Stamp(0), 0, 1, 1, "m", 0, (tensor,)))
    (received,) = messages.embedding_from_msg(msg).tensors
    msg.tensors[0].data[0] = ord("x")
    assert bytes(received.data) == b"xbc"


@settings(deadline=None)
@given(stamps)
def test_stamp(stamp):
    assert messages.stamp_from(messages.header_from(stamp)) == stamp


def test_ground_truth():
    box = Box("helmet", 1.0, 2.0, 3.5, 4.0)
    msg = messages.ground_truth_to_msg(GroundTruth("helmets", (box,)), Stamp(7, "camera"), 3)
    assert (msg.label, msg.served_by, msg.sequence) == ("helmets", "ground_truth", 3)
    assert messages.time_to_ns(msg.header.stamp) == 7
    assert [(d.label, d.x_min, d.x_max) for d in msg.detections] == [("helmet", 1.0, 3.5)]


def test_unknown_kind_and_status():
    with pytest.raises(CodesignError, match="embedding 4 is of unknown kind 9"):
        messages.embedding_from_msg(Embedding(sequence=4, kind=9))
    with pytest.raises(CodesignError, match="result 4 has unknown status 9"):
        messages.result_from_msg(InferenceResult(sequence=4, status=9))


@pytest.mark.parametrize("field", ["head_structure", "tail_structure", "merge"])
def test_unknown_word_in_a_plan(field):
    msg = PlanMsg(epoch=3, head_structure="S3", tail_structure="S3", merge="fold")
    assert messages.plan_from_msg(msg).epoch == 3
    setattr(msg, field, "S7")
    with pytest.raises(CodesignError, match="plan of epoch 3: 'S7'"):
        messages.plan_from_msg(msg)


def device_msg(**fields):
    """A head that has measured one stage and one codec."""
    return DeviceProfile(
        **{
            "node": "/robot/head",
            "role": 1,
            "stage_cut": array("H", [1]),
            "stage_structure": ["S3"],
            "stage_s": array("f", [0.5]),
            "stage_measured": [True],
            "codec_cut": array("H", [1]),
            "codec_name": ["raw"],
            "codec_s": array("f", [0.25]),
            "codec_bytes": array("I", [9]),
            **fields,
        }
    )


def test_measured_and_estimated_stages():
    profile = device_messages.device_from_msg(device_msg(stage_measured=[False])).profile
    assert profile.stage_s == {(1, Structure.S3): 0.5}
    assert profile.estimated == {(1, Structure.S3, "fp32")}
    assert profile.codec_s == {(1, "raw"): 0.25}
    assert profile.codec_bytes == {(1, "raw"): 9.0}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"node": "robot/head"}, "that is no full name of a node"),
        ({"node": ""}, "that is no full name of a node"),
        ({"node": "/robot/he ad"}, "that is no full name of a node"),
        ({"role": 0}, "0 is not a valid Role"),
        ({"stage_structure": ["S9"]}, "'S9' is not a valid Structure"),
        ({"stage_cut": array("H", [1, 2])}, "differ in length"),
        ({"stage_measured": []}, "differ in length"),
        ({"codec_bytes": array("I")}, "differ in length"),
        ({"precision_cut": array("H", [1])}, "differ in length"),
        (
            {
                "precision_cut": array("H", [1]),
                "precision_structure": ["S9"],
                "precision_name": ["int8-tensor"],
                "precision_s": array("f", [0.5]),
                "precision_measured": [True],
            },
            "'S9' is not a valid Structure",
        ),
        ({"engine_cut": array("H", [1])}, "differ in length"),
        (
            {
                "builds_ahead": True,
                "engine_cut": array("H", [1]),
                "engine_structure": ["S3"],
                "engine_merge": ["glue"],
                "engine_precision": ["fp16"],
                "engine_built": [True],
            },
            "'glue' is not a valid Merge",
        ),
        ({"stage_s": array("f", [math.nan])}, "nan is no time, rate or size"),
        ({"codec_s": array("f", [-0.5])}, "-0.5 is no time, rate or size"),
        ({"link_bps": math.inf}, "inf is no time, rate or size"),
        ({"link_delay_s": -1.0}, "-1.0 is no time, rate or size"),
        ({"frame_bytes": math.nan}, "nan is no time, rate or size"),
        ({"running_tail_s": math.nan}, "nan is no time, rate or size"),
        ({"running_head_s": -1.0}, "-1.0 is no time, rate or size"),
        ({"peak_flops": -1.0}, "-1.0 is no time, rate or size"),
    ],
)
def test_device_that_makes_no_sense(fields, text):
    with pytest.raises(CodesignError, match=f"profile of '.*': .*{text}"):
        device_messages.device_from_msg(device_msg(**fields))
