"""Ground truth in the messages of vision_msgs, of either of its generations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rosbags.typesys import get_types_from_msg

from codesign_ros.types.boxes import Box

VISION_TYPE = "vision_msgs/msg/Detection2DArray"

# As of vision_msgs 4 (Humble and later), for bags that do not say what is in theirs.
_DEFINITIONS = {
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
    ),
    "Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox2D bbox\nstring id"
    ),
    "Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
}


def vision_types() -> Mapping[str, Any]:
    """The types that a ``Detection2DArray`` is made of, beside those of ROS itself."""
    types: dict[str, Any] = {}
    for name, text in _DEFINITIONS.items():
        types.update(get_types_from_msg(text, f"vision_msgs/msg/{name}"))
    return types


def vision_boxes(message: Any) -> tuple[Box, ...]:
    """Read the boxes of a ``Detection2DArray``: the surest class of each; turned ones upright.

    Raises:
        Exception: it is of another form.
    """
    return tuple(_box(each) for each in message.detections if len(each.results))


def _box(detection: Any) -> Box:
    found = [getattr(each, "hypothesis", each) for each in detection.results]
    surest = max(found, key=lambda each: float(each.score))
    label = str(surest.class_id if hasattr(surest, "class_id") else surest.id)
    centre, box = detection.bbox.center, detection.bbox
    centre = getattr(centre, "position", centre)
    x, y, half_x, half_y = centre.x, centre.y, box.size_x / 2, box.size_y / 2
    return Box(label, x - half_x, y - half_y, x + half_x, y + half_y)
