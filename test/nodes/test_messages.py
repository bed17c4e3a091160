"""Messages and the package's own values: there and back, through the bytes that DDS carries."""

import math
from array import array
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message

from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.msg import DeviceProfile, Embedding, Heartbeat, InferenceResult
from codesign_ros.msg import TailAnswer as TailAnswerMsg
from codesign_ros.nodes.interface import device_messages, messages
from codesign_ros.runtime.device import STATES, Device, Payload, Role, StageMedians
from codesign_ros.runtime.device import Heartbeat as HeartbeatValue
from codesign_ros.runtime.messages import Embedding as EmbeddingValue
from codesign_ros.runtime.messages import (
    EmbeddingKind,
    Result,
    Stamp,
    Status,
    TailAnswer,
    TailStatus,
)
from codesign_ros.types.boxes import Box, GroundTruth
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import PRECISIONS, HalfForm, Merge, Structure
from codesign_ros.types.plan import Plan, RateLevel
from codesign_ros.wire.tensor import EncodedTensor

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
answer_fields = {
    "stamp": stamps,
    "sequence": uint64,
    "epoch": uint32,
    "reason": texts,
    "served_by": texts,
    "label": texts,
    "score": float32,
    "class_names": st.lists(texts, max_size=4).map(tuple),
    "class_scores": st.lists(float32, max_size=4).map(tuple),
    "detections": st.lists(boxes, max_size=3).map(tuple),
    **dict.fromkeys(("queue_s", "decode_s", "tail_s"), float32),
}
tail_answers = st.builds(TailAnswer, status=st.sampled_from(TailStatus), **answer_fields)
results = st.builds(
    Result,
    status=st.sampled_from(Status),
    finished_by=texts,
    payload_bytes=uint32,
    **dict.fromkeys(("response_s", "head_s", "encode_s", "link_s"), float32),
    **answer_fields,
)
truths = st.builds(GroundTruth, texts, st.lists(boxes, max_size=3).map(tuple))
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
    levels=st.lists(st.builds(RateLevel, st.integers(0, 255), size32, size32), max_size=4).map(
        tuple
    ),
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


half_forms = st.builds(
    HalfForm,
    uint16,
    st.sampled_from(Structure),
    st.sampled_from(Merge),
    st.sampled_from(PRECISIONS),
    st.booleans(),
)


@st.composite
def profiles(draw):
    halves = draw(st.dictionaries(half_forms, size32, min_size=1, max_size=8))
    codec_s = draw(st.dictionaries(st.tuples(uint16, texts), size32, max_size=5))
    return HalfTimes(
        halves,
        frozenset(form for form in halves if draw(st.booleans())),
        codec_s,
        {key: float(draw(uint32)) for key in codec_s},
        {key: size for key in codec_s if (size := draw(size32)) > 0},
        {(*key, draw(texts)): draw(size32) for key in codec_s if draw(st.booleans())},
    )


heartbeat_fields = {
    "node": st.from_regex(r"(/[a-z]\w{0,9}){1,3}", fullmatch=True, alphabet=ascii_characters),
    "epoch": uint32,
    "throttled": texts,
    "running": st.builds(
        StageMedians,
        epoch=uint32,
        frames=uint32,
        **dict.fromkeys(("head_s", "link_s", "tail_s"), size64),
        payloads=st.lists(st.builds(Payload, texts, uint16, size32, size32), max_size=3).map(tuple),
    ),
    "link_bps": st.just(0.0) | size64.filter(lambda rate_bps: rate_bps >= 1.0),
    **dict.fromkeys(("link_bps_error", "link_delay_s"), size64),
    **dict.fromkeys(("link_burst_bytes", "frame_bytes"), size64),
}
devices = st.builds(
    Device,
    robot=st.just(""),
    role=st.sampled_from(Role),
    state=st.sampled_from(STATES),
    model_id=texts,
    device=texts,
    backends=st.lists(texts, max_size=2).map(tuple),
    precisions=st.lists(texts, max_size=2).map(tuple),
    memory_bytes=uint64,
    dla_cores=st.integers(0, 255),
    power_mode=texts,
    engines=st.none() | st.dictionaries(half_forms, st.booleans(), max_size=4),
    profile=st.none() | profiles(),
    **dict.fromkeys(("peak_flops", "memory_bandwidth"), size64),
    **heartbeat_fields,
).map(lambda device: replace(device, robot=device.node.rpartition("/")[0] or "/"))


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
@given(tail_answers)
def test_tail_answer(answer):
    msg = over_the_wire(messages.tail_answer_to_msg(answer))
    assert messages.tail_answer_from_msg(msg) == answer


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
    assert msg.heartbeat.stamp == stamp
    assert device_messages.device_from_msg(msg) == device


@settings(deadline=None)
@given(st.builds(HeartbeatValue, **heartbeat_fields))
def test_heartbeat(beat):
    msg = over_the_wire(device_messages.heartbeat_to_msg(beat, messages.ns_to_time(5)))
    assert device_messages.heartbeat_from_msg(msg) == beat


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


@settings(deadline=None)
@given(truths, stamps)
def test_ground_truth(truth, stamp):
    msg = over_the_wire(messages.ground_truth_to_msg(truth, stamp))
    assert messages.stamp_from(msg.header) == stamp
    assert messages.ground_truth_from_msg(msg) == truth


def test_unknown_kind_and_status():
    with pytest.raises(CodesignError, match="embedding 4 is of unknown kind 9"):
        messages.embedding_from_msg(Embedding(sequence=4, kind=9))
    with pytest.raises(CodesignError, match="result 4 has unknown status 9"):
        messages.result_from_msg(InferenceResult(sequence=4, status=9))
    with pytest.raises(CodesignError, match="answer 4 has unknown status 9"):
        messages.tail_answer_from_msg(TailAnswerMsg(sequence=4, status=9))


@pytest.mark.parametrize(
    "field", ["head_structure", "tail_structure", "merge", "standby_structure", "standby_merge"]
)
def test_unknown_word_in_a_plan(field):
    msg = messages.plan_to_msg(Plan(cut=1, epoch=3))
    assert messages.plan_from_msg(msg).epoch == 3
    setattr(msg, field, "S7")
    with pytest.raises(CodesignError, match="plan of epoch 3: 'S7'"):
        messages.plan_from_msg(msg)


def test_levels_of_a_plan_that_do_not_fit_each_other():
    msg = messages.plan_to_msg(Plan(cut=1, epoch=3, levels=(RateLevel(1, 2e3, 0.01),)))
    msg.level_accuracy_loss = array("f", [])
    with pytest.raises(CodesignError, match="plan of epoch 3: its arrays of levels differ"):
        messages.plan_from_msg(msg)


def device_msg(**fields):
    """A head that has measured one half and one codec."""
    return DeviceProfile(
        **{
            "heartbeat": Heartbeat(node="/robot/head"),
            "robot": "/robot",
            "state": "active",
            "role": 1,
            "half_cut": array("H", [1]),
            "half_structure": ["S3"],
            "half_merge": ["fold"],
            "half_precision": ["int8-tensor"],
            "half_neck": [False],
            "half_s": array("f", [0.5]),
            "half_measured": [True],
            "codec_cut": array("H", [1]),
            "codec_name": ["raw"],
            "codec_s": array("f", [0.25]),
            "codec_bytes": array("I", [9]),
            "codec_bytes_spread": array("f", [0.0]),
            **fields,
        }
    )


def test_measured_and_estimated_halves():
    half = HalfForm(1, precision="int8-tensor")
    profile = device_messages.device_from_msg(device_msg(half_measured=[False])).profile
    assert profile == HalfTimes({half: 0.5}, frozenset({half}), {(1, "raw"): 0.25}, {(1, "raw"): 9})
    assert device_messages.device_from_msg(device_msg()).profile.measured_s == {half: 0.5}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"role": 0}, "0 is not a valid Role"),
        ({"half_structure": ["S9"]}, "'S9' is not a valid Structure"),
        ({"half_merge": ["glue"]}, "'glue' is not a valid Merge"),
        ({"half_cut": array("H", [1, 2])}, "differ in length"),
        ({"half_merge": []}, "differ in length"),
        ({"half_precision": ["fp32", "fp16"]}, "differ in length"),
        ({"half_measured": []}, "differ in length"),
        ({"half_neck": []}, "differ in length"),
        ({"codec_bytes": array("I")}, "differ in length"),
        ({"codec_bytes_spread": array("f", [1.0, 2.0])}, "differ in length"),
        ({"codec_bytes_spread": array("f", [-1.0])}, "-1.0 is no time or size"),
        ({"scale": array("f", [0.5])}, "differ in length"),
        ({"engine_cut": array("H", [1])}, "differ in length"),
        (
            {
                "builds_ahead": True,
                "engine_cut": array("H", [1]),
                "engine_structure": ["S3"],
                "engine_merge": ["glue"],
                "engine_precision": ["fp16"],
                "engine_neck": [False],
                "engine_built": [True],
            },
            "'glue' is not a valid Merge",
        ),
        ({"half_s": array("f", [math.nan])}, "nan is no time or size"),
        ({"half_s": array("f", [-1.0])}, "-1.0 is no time or size"),
        ({"half_s": array("f", [math.inf])}, "inf is no time or size"),
        ({"codec_s": array("f", [-0.5])}, "-0.5 is no time or size"),
        ({"peak_flops": -1.0}, "-1.0 is no time, rate or size"),
        ({"robot": "/robo"}, "it is not in the namespace of robot '/robo'"),
        ({"robot": "/"}, "it is not in the namespace of robot '/'"),
        ({"state": "broken"}, "unknown state 'broken'"),
    ],
)
def test_device_that_makes_no_sense(fields, text):
    with pytest.raises(CodesignError, match=f"profile of '.*': .*{text}"):
        device_messages.device_from_msg(device_msg(**fields))


@pytest.mark.parametrize(
    ("node", "role", "is_taken"),
    [
        ("/robot/edge1/tail", Role.TAIL, True),
        ("/robot/edge1/head", Role.HEAD, False),
        ("/robot/edge1/more/tail", Role.TAIL, False),
        ("/tail", Role.TAIL, False),
    ],
)
def test_a_tail_may_lie_in_the_namespace_of_one_of_several_servers(node, role, is_taken):
    msg = device_msg(heartbeat=Heartbeat(node=node), role=int(role))
    if is_taken:
        assert device_messages.device_from_msg(msg).server == "edge1"
        return
    with pytest.raises(CodesignError, match="it is not in the namespace of robot '/robot'"):
        device_messages.device_from_msg(msg)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"node": "robot/head"}, "that is no full name of a node"),
        ({"node": ""}, "that is no full name of a node"),
        ({"node": "/robot/he ad"}, "that is no full name of a node"),
        ({"link_bps": math.inf}, "inf is no time, rate or size"),
        ({"link_delay_s": -1.0}, "-1.0 is no time, rate or size"),
        ({"link_burst_bytes": -1.0}, "-1.0 is no time, rate or size"),
        ({"link_bps": 5e-324}, "5e-324 is no time, rate or size"),
        ({"frame_bytes": math.nan}, "nan is no time, rate or size"),
        ({"running_tail_s": math.nan}, "nan is no time, rate or size"),
        ({"running_head_s": -1.0}, "-1.0 is no time, rate or size"),
        ({"running_codec_name": ["raw"]}, "differ in length"),
        (
            {
                "running_codec_name": ["raw"],
                "running_codec_frames": array("H", [9]),
                "running_codec_bytes": array("f", [1.0]),
                "running_codec_spread_bytes": array("f", [-1.0]),
            },
            "-1.0 is no time, rate or size",
        ),
    ],
)
def test_heartbeat_that_makes_no_sense(fields, text):
    beat = Heartbeat(**{"node": "/robot/head", **fields})
    with pytest.raises(CodesignError, match=f"heartbeat of '.*': .*{text}"):
        device_messages.heartbeat_from_msg(beat)
    with pytest.raises(CodesignError, match=f"heartbeat of '.*': .*{text}"):
        device_messages.device_from_msg(device_msg(heartbeat=beat))
