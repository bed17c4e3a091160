"""Messages to the package's own values and back."""

from __future__ import annotations

import math
from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_full_topic_name import validate_full_topic_name
from std_msgs.msg import Header

from codesign_ros.msg import (
    Detection as DetectionMsg,
)
from codesign_ros.msg import (
    DeviceProfile as DeviceProfileMsg,
)
from codesign_ros.msg import (
    Embedding as EmbeddingMsg,
)
from codesign_ros.msg import (
    InferenceResult as ResultMsg,
)
from codesign_ros.msg import (
    Plan as PlanMsg,
)
from codesign_ros.msg import (
    Tensor as TensorMsg,
)
from codesign_ros.runtime.profiling import StageProfile
from codesign_ros.runtime.values import (
    Device,
    Embedding,
    EmbeddingKind,
    Result,
    Role,
    Running,
    Stamp,
    Status,
)
from codesign_ros.types import Box, CodesignError, GroundTruth, Merge, Plan, Structure
from codesign_ros.wire.codecs import EncodedTensor

# Fields that Plan and msg/Plan.msg have in common and that need no conversion.
_PLAN_FIELDS = (
    "epoch", "robot", "model_id", "cut", "precision", "codec", "served_by", "server_available",
    "reason", "objective", "lambda_1", "head_s", "link_s", "tail_s", "accuracy_loss",
    "payload_bytes", "link_bps",
)  # fmt: skip
_RESULT_FIELDS = (
    "sequence", "epoch", "reason", "served_by", "label", "score", "payload_bytes", "response_s",
    "head_s", "encode_s", "link_s", "queue_s", "decode_s", "tail_s",
)  # fmt: skip
_DEVICE_FIELDS = (
    "robot", "node", "state", "model_id", "device", "epoch", "peak_flops", "memory_bandwidth",
    "link_bps", "link_delay_s", "frame_bytes",
)  # fmt: skip
# Those of Running; the message's have running_ before them.
_RUNNING_FIELDS = ("epoch", "frames", "head_s", "link_s", "tail_s")
_BOX_FIELDS = ("label", "score", "x_min", "y_min", "x_max", "y_max")


def _copy(source: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(source, name) for name in names}


def time_to_ns(time: Time) -> int:
    """Time message to nanoseconds."""
    return time.sec * 1_000_000_000 + time.nanosec


def ns_to_time(ns: int) -> Time:
    """Nanoseconds to time message."""
    return Time(sec=ns // 1_000_000_000, nanosec=ns % 1_000_000_000)


def header_from(stamp: Stamp) -> Header:
    """Stamp and frame id as a header."""
    return Header(stamp=ns_to_time(stamp.stamp_ns), frame_id=stamp.frame_id)


def stamp_from(header: Header) -> Stamp:
    """Header as stamp and frame id."""
    return Stamp(time_to_ns(header.stamp), header.frame_id)


def embedding_to_msg(embedding: Embedding) -> EmbeddingMsg:
    """Embedding to message. Bytes go through ``array``: rclpy checks anything else one by one."""
    return EmbeddingMsg(
        header=header_from(embedding.stamp),
        kind=int(embedding.kind),
        sequence=embedding.sequence,
        epoch=embedding.epoch,
        oldest_epoch=embedding.oldest_epoch,
        model_id=embedding.model_id,
        cut=embedding.cut,
        tensors=[
            TensorMsg(
                name=tensor.name,
                dtype=tensor.dtype,
                shape=array("I", tensor.shape),
                codec=tensor.codec,
                scale=array("f", tensor.scale.tolist()),
                offset=array("f", tensor.offset.tolist()),
                data=array("B", tensor.data),
            )
            for tensor in embedding.tensors
        ],
    )


def embedding_from_msg(msg: EmbeddingMsg) -> Embedding:
    """Message to embedding; tensors keep the message's memory.

    Raises:
        CodesignError: the kind is not known. Everything else is checked where it is used.
    """
    try:
        kind = EmbeddingKind(msg.kind)
    except ValueError:
        raise CodesignError(f"embedding {msg.sequence} is of unknown kind {msg.kind}") from None
    return Embedding(
        stamp=stamp_from(msg.header),
        sequence=msg.sequence,
        epoch=msg.epoch,
        oldest_epoch=msg.oldest_epoch,
        model_id=msg.model_id,
        cut=msg.cut,
        tensors=tuple(
            EncodedTensor(
                name=tensor.name,
                dtype=tensor.dtype,
                shape=tuple(tensor.shape),
                codec=tensor.codec,
                data=memoryview(tensor.data),
                scale=np.asarray(tensor.scale, np.float32),
                offset=np.asarray(tensor.offset, np.float32),
            )
            for tensor in msg.tensors
        ),
        kind=kind,
    )


def result_to_msg(result: Result) -> ResultMsg:
    """Result to message."""
    return ResultMsg(
        header=header_from(result.stamp),
        status=int(result.status),
        class_names=list(result.class_names),
        class_scores=array("f", result.class_scores),
        detections=[DetectionMsg(**_copy(box, _BOX_FIELDS)) for box in result.detections],
        **_copy(result, _RESULT_FIELDS),
    )


def result_from_msg(msg: ResultMsg) -> Result:
    """Message to result.

    Raises:
        CodesignError: the status is not known.
    """
    try:
        status = Status(msg.status)
    except ValueError:
        raise CodesignError(f"result {msg.sequence} has unknown status {msg.status}") from None
    return Result(
        stamp=stamp_from(msg.header),
        status=status,
        class_names=tuple(msg.class_names),
        class_scores=tuple(msg.class_scores),
        detections=tuple(Box(**_copy(detection, _BOX_FIELDS)) for detection in msg.detections),
        **_copy(msg, _RESULT_FIELDS),
    )


def ground_truth_to_msg(truth: GroundTruth, stamp: Stamp, sequence: int) -> ResultMsg:
    """Ground truth to the message type that results have."""
    return result_to_msg(
        Result(
            stamp,
            sequence,
            epoch=0,
            served_by="ground_truth",
            label=truth.label,
            score=1.0,
            detections=truth.boxes,
        )
    )


def plan_to_msg(plan: Plan) -> PlanMsg:
    """Plan to message."""
    return PlanMsg(
        head_structure=plan.head_structure.value,
        tail_structure=plan.tail_structure.value,
        merge=plan.merge.value,
        latency_s=plan.latency_s,
        **_copy(plan, _PLAN_FIELDS),
    )


def plan_from_msg(msg: PlanMsg) -> Plan:
    """Message to plan.

    Raises:
        CodesignError: a structure or the merge is not known.
    """
    try:
        return Plan(
            head_structure=Structure(msg.head_structure),
            tail_structure=Structure(msg.tail_structure),
            merge=Merge(msg.merge),
            **_copy(msg, _PLAN_FIELDS),
        )
    except ValueError as error:
        raise CodesignError(f"plan of epoch {msg.epoch}: {error}") from None


def device_to_msg(device: Device, stamp: Time) -> DeviceProfileMsg:
    """Device to message."""
    msg = DeviceProfileMsg(
        stamp=stamp,
        role=int(device.role),
        backends=list(device.backends),
        precisions=list(device.precisions),
        **_copy(device, _DEVICE_FIELDS),
        **{
            f"running_{name}": value
            for name, value in _copy(device.running, _RUNNING_FIELDS).items()
        },
    )
    if device.profile is not None:
        profile = device.profile
        msg.stage_cut = array("H", [cut for cut, _ in profile.stage_s])
        msg.stage_structure = [structure.value for _, structure in profile.stage_s]
        msg.stage_s = array("f", profile.stage_s.values())
        msg.stage_measured = [(*k, "fp32") not in profile.estimated for k in profile.stage_s]
        msg.precision_cut = array("H", [cut for cut, *_ in profile.precision_s])
        msg.precision_structure = [structure.value for _, structure, _ in profile.precision_s]
        msg.precision_name = [name for *_, name in profile.precision_s]
        msg.precision_s = array("f", profile.precision_s.values())
        msg.precision_measured = [half not in profile.estimated for half in profile.precision_s]
        msg.codec_cut = array("H", [cut for cut, _ in profile.codec_s])
        msg.codec_name = [codec for _, codec in profile.codec_s]
        msg.codec_s = array("f", profile.codec_s.values())
        msg.codec_bytes = array("I", [round(profile.codec_bytes[key]) for key in profile.codec_s])
    return msg


def device_from_msg(msg: DeviceProfileMsg) -> Device:
    """Message to device.

    Raises:
        CodesignError: the node's name is none, role or a structure is not known, arrays that belong
            together differ in length, or a time, rate or size is negative or not finite.
    """
    try:
        validate_full_topic_name(msg.node)
    except InvalidTopicNameException:
        raise CodesignError(f"profile of {msg.node!r}: that is no full name of a node") from None
    stages = (msg.stage_cut, msg.stage_structure, msg.stage_s, msg.stage_measured)
    codecs = (msg.codec_cut, msg.codec_name, msg.codec_s, msg.codec_bytes)
    precisions = (
        msg.precision_cut, msg.precision_structure, msg.precision_name, msg.precision_s,
        msg.precision_measured,
    )  # fmt: skip
    if any(len({*map(len, arrays)}) > 1 for arrays in (stages, codecs, precisions)):
        raise CodesignError(
            f"profile of {msg.node!r}: arrays that belong together differ in length"
        )
    running = Running(**{name: getattr(msg, f"running_{name}") for name in _RUNNING_FIELDS})
    numbers = (
        msg.peak_flops, msg.memory_bandwidth, msg.link_bps, msg.link_delay_s, msg.frame_bytes,
        running.head_s, running.link_s, running.tail_s,
    )  # fmt: skip
    for number in (*numbers, *msg.stage_s, *msg.codec_s, *msg.precision_s):
        if not 0 <= number < math.inf:
            raise CodesignError(f"profile of {msg.node!r}: {number} is no time, rate or size")
    try:
        keys = [(c, Structure(s)) for c, s in zip(msg.stage_cut, msg.stage_structure, strict=True)]
        others = [(c, Structure(s), name) for c, s, name in zip(*precisions[:3], strict=True)]
        role = Role(msg.role)
    except ValueError as error:
        raise CodesignError(f"profile of {msg.node!r}: {error}") from None
    codec_keys = list(zip(msg.codec_cut, msg.codec_name, strict=True))
    halves = [*((*key, "fp32") for key in keys), *others]
    measured = [*msg.stage_measured, *msg.precision_measured]
    profile = StageProfile(
        stage_s=dict(zip(keys, msg.stage_s, strict=True)),
        estimated=frozenset(
            half for half, timed in zip(halves, measured, strict=True) if not timed
        ),
        codec_s=dict(zip(codec_keys, msg.codec_s, strict=True)),
        codec_bytes={k: float(n) for k, n in zip(codec_keys, msg.codec_bytes, strict=True)},
        precision_s=dict(zip(others, msg.precision_s, strict=True)),
    )
    return Device(
        role=role,
        backends=tuple(msg.backends),
        precisions=tuple(msg.precisions),
        profile=profile if keys else None,
        running=running,
        **_copy(msg, _DEVICE_FIELDS),
    )
