"""Messages to the package's own values and back."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from codesign_ros.msg import (
    Detection as DetectionMsg,
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
from codesign_ros.runtime.messages import (
    Embedding,
    EmbeddingKind,
    Result,
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
_BOX_FIELDS = ("label", "score", "x_min", "y_min", "x_max", "y_max")


def copied(source: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Copy the attributes that two types have in common, by name."""
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
        detections=[DetectionMsg(**copied(box, _BOX_FIELDS)) for box in result.detections],
        **copied(result, _RESULT_FIELDS),
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
        detections=tuple(Box(**copied(detection, _BOX_FIELDS)) for detection in msg.detections),
        **copied(msg, _RESULT_FIELDS),
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
        **copied(plan, _PLAN_FIELDS),
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
            **copied(msg, _PLAN_FIELDS),
        )
    except ValueError as error:
        raise CodesignError(f"plan of epoch {msg.epoch}: {error}") from None
