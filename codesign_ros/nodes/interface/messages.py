"""Messages to the package's own values and back."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from codesign_ros.msg import Detection as DetectionMsg
from codesign_ros.msg import Embedding as EmbeddingMsg
from codesign_ros.msg import GroundTruth as GroundTruthMsg
from codesign_ros.msg import InferenceResult as ResultMsg
from codesign_ros.msg import Plan as PlanMsg
from codesign_ros.msg import Presence as PresenceMsg
from codesign_ros.msg import TailAnswer as TailAnswerMsg
from codesign_ros.msg import Tensor as TensorMsg
from codesign_ros.runtime.messages import (
    DropReason,
    Embedding,
    EmbeddingKind,
    Result,
    Stamp,
    Status,
    TailAnswer,
    TailStatus,
)
from codesign_ros.runtime.sessions import Place, Presence
from codesign_ros.types.boxes import Box, GroundTruth
from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.plan import Plan, RateLevel
from codesign_ros.wire.tensor import EncodedTensor

# Fields that Plan and msg/Plan.msg have in common and that need no conversion.
_PLAN_FIELDS = (
    "epoch", "planner", "robot", "model_id", "cut", "precision", "codec", "served_by", "placed_on",
    "server_available", "reason", "objective", "lambda_1", "head_s", "link_s", "tail_s",
    "accuracy_loss", "payload_bytes", "link_bps", "standby_precision",
)  # fmt: skip
_COMMON_FIELDS = (
    "sequence", "epoch", "reason", "served_by", "label", "score", "queue_s", "decode_s", "tail_s",
)  # fmt: skip
_TAIL_ANSWER_FIELDS = ("session", "tail_session", *_COMMON_FIELDS)
_RESULT_FIELDS = (
    *_COMMON_FIELDS, "finished_by", "payload_bytes", "age_s", "response_s", "head_s",
    "encode_s", "link_s",
)  # fmt: skip
_EMBEDDING_FIELDS = ("session", "sequence", "epoch", "oldest_epoch", "model_id", "cut")
_TENSOR_FIELDS = ("name", "dtype", "codec")


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
        **copied(embedding, _EMBEDDING_FIELDS),
        tensors=[
            TensorMsg(
                **copied(tensor, _TENSOR_FIELDS),
                shape=array("I", tensor.shape),
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
        **copied(msg, _EMBEDDING_FIELDS),
        tensors=tuple(
            EncodedTensor(
                **copied(tensor, _TENSOR_FIELDS),
                shape=tuple(tensor.shape),
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
        drop_reason=int(result.drop_reason),
        **_answer_to_msg(result),
        **copied(result, _RESULT_FIELDS),
    )


def result_from_msg(msg: ResultMsg) -> Result:
    """Message to result.

    Raises:
        CodesignError: the status, or the reason for which it was dropped, is not known.
    """
    try:
        status, drop_reason = Status(msg.status), DropReason(msg.drop_reason)
    except ValueError:
        raise CodesignError(
            f"result {msg.sequence} has unknown status {msg.status} or drop_reason "
            f"{msg.drop_reason}"
        ) from None
    return Result(
        status=status,
        drop_reason=drop_reason,
        **_answer_from_msg(msg),
        **copied(msg, _RESULT_FIELDS),
    )


def tail_answer_to_msg(answer: TailAnswer) -> TailAnswerMsg:
    """What a tail says to message."""
    return TailAnswerMsg(**_answer_to_msg(answer), **copied(answer, _TAIL_ANSWER_FIELDS))


def tail_answer_from_msg(msg: TailAnswerMsg) -> TailAnswer:
    """Message to what a tail says.

    Raises:
        CodesignError: the status is not known.
    """
    try:
        status = TailStatus(msg.status)
    except ValueError:
        raise CodesignError(f"answer {msg.sequence} has unknown status {msg.status}") from None
    return TailAnswer(
        status=status,
        **_answer_from_msg(msg),
        **copied(msg, _TAIL_ANSWER_FIELDS),
    )


def _answer_to_msg(answer: Result | TailAnswer) -> dict[str, Any]:
    """What both kinds of answers have and what is converted."""
    return {
        "header": header_from(answer.stamp),
        "status": int(answer.status),
        "class_names": list(answer.class_names),
        "class_scores": array("f", answer.class_scores),
        "detections": _boxes_to_msg(answer.detections),
    }


def _answer_from_msg(msg: ResultMsg | TailAnswerMsg) -> dict[str, Any]:
    return {
        "stamp": stamp_from(msg.header),
        "class_names": tuple(msg.class_names),
        "class_scores": tuple(msg.class_scores),
        "detections": _boxes_from_msg(msg.detections),
    }


def ground_truth_to_msg(truth: GroundTruth, stamp: Stamp) -> GroundTruthMsg:
    """Ground truth of the frame with this stamp to message."""
    return GroundTruthMsg(
        header=header_from(stamp), label=truth.label, boxes=_boxes_to_msg(truth.boxes)
    )


def ground_truth_from_msg(msg: GroundTruthMsg) -> GroundTruth:
    """Message to ground truth."""
    return GroundTruth(msg.label, _boxes_from_msg(msg.boxes))


def _boxes_to_msg(boxes: tuple[Box, ...]) -> list[DetectionMsg]:
    return [
        DetectionMsg(
            label=box.label,
            score=box.score,
            x_min=box.x_min,
            y_min=box.y_min,
            x_max=box.x_max,
            y_max=box.y_max,
        )
        for box in boxes
    ]


def _boxes_from_msg(msgs: list[DetectionMsg]) -> tuple[Box, ...]:
    return tuple(
        Box(msg.label, msg.x_min, msg.y_min, msg.x_max, msg.y_max, msg.score) for msg in msgs
    )


def plan_to_msg(plan: Plan) -> PlanMsg:
    """Plan to message."""
    return PlanMsg(
        head_structure=plan.head_structure.value,
        tail_structure=plan.tail_structure.value,
        merge=plan.merge.value,
        standby_structure=plan.standby_structure.value,
        standby_merge=plan.standby_merge.value,
        latency_s=plan.latency_s,
        level=array("B", [each.level for each in plan.levels]),
        level_payload_bytes=array("f", [each.payload_bytes for each in plan.levels]),
        level_accuracy_loss=array("f", [each.accuracy_loss for each in plan.levels]),
        **copied(plan, _PLAN_FIELDS),
    )


def plan_from_msg(msg: PlanMsg) -> Plan:
    """Message to plan.

    Raises:
        CodesignError: a structure or the merge is not known, or the arrays of levels differ in
            length.
    """
    levels = msg.level, msg.level_payload_bytes, msg.level_accuracy_loss
    if len({*map(len, levels)}) > 1:
        raise CodesignError(f"plan of epoch {msg.epoch}: its arrays of levels differ in length")
    try:
        return Plan(
            head_structure=Structure(msg.head_structure),
            tail_structure=Structure(msg.tail_structure),
            merge=Merge(msg.merge),
            standby_structure=Structure(msg.standby_structure),
            standby_merge=Merge(msg.standby_merge),
            levels=tuple(map(RateLevel._make, zip(*levels, strict=True))),
            **copied(msg, _PLAN_FIELDS),
        )
    except ValueError as error:
        raise CodesignError(f"plan of epoch {msg.epoch}: {error}") from None


def presence_to_msg(presence: Presence, unknown: Sequence[str] = ()) -> PresenceMsg:
    """Sign of life of whoever is in a place for one to message."""
    return PresenceMsg(
        role=int(presence.role),
        unknown=list(unknown),
        **copied(presence, ("node", "session", "process")),
    )


def presence_from_msg(msg: PresenceMsg) -> Presence:
    """Message to sign of life; who is unknown to a planner is for the nodes to read.

    Raises:
        CodesignError: the role is not known.
    """
    try:
        role = Place(msg.role)
    except ValueError:
        raise CodesignError(
            f"presence of {one_line(msg.node)} in unknown role {msg.role}"
        ) from None
    return Presence(one_line(msg.node), role, msg.session, one_line(msg.process))
