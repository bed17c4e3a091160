"""What users get of a frame."""

from __future__ import annotations

from typing import Any

from codesign_ros.pixels.boxes import to_frame
from codesign_ros.runtime.answers import Answer
from codesign_ros.runtime.head.ledger import Frame
from codesign_ros.runtime.messages import Result
from codesign_ros.types.tensors import InputSpec


def result_of(
    frame: Frame, answer: Answer, input: InputSpec, max_detections: int, **said: Any
) -> Result:
    """The result of a frame: whoever computed it, its boxes are in the network's input until here.

    Args:
        frame: what it is about.
        answer: what the network says of it.
        input: the network's input.
        max_detections: boxes at most.
        said: more fields of the result; they replace what is noted in the frame.
    """
    height, width = frame.size or (input.height, input.width)
    boxes = answer.detections[:max_detections]
    fields: dict[str, Any] = {
        "stamp": frame.stamp,
        "sequence": frame.sequence,
        "epoch": frame.epoch,
        "label": answer.label,
        "score": answer.score,
        "class_names": answer.class_names,
        "class_scores": answer.class_scores,
        "detections": tuple(to_frame(boxes, height, width, input)),
        "payload_bytes": frame.sent_bytes,
        "head_s": frame.head_s,
        "encode_s": frame.encode_s,
    }
    return Result(**{**fields, **said})
