"""Boxes as messages of vision_msgs, which a robot may have or not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from codesign_ros.nodes.interface.messages import header_from
from codesign_ros.runtime.messages import Stamp
from codesign_ros.types.boxes import Box

try:
    import vision_msgs.msg as vision
except ImportError:
    vision = None

MISSING = "not published: vision_msgs is not installed"
"""Why there is no topic ``detections`` where ``vision`` is None."""


def detections_to_msg(boxes: Iterable[Box], stamp: Stamp) -> Any:
    """Boxes as vision_msgs/Detection2DArray (Humble and later), in the pixels of ``boxes``.

    Needs ``vision``. The class's name is the ``class_id``, the pose of a hypothesis is not set.
    """
    header = header_from(stamp)
    return vision.Detection2DArray(
        header=header,
        detections=[
            vision.Detection2D(
                header=header,
                results=[
                    vision.ObjectHypothesisWithPose(
                        hypothesis=vision.ObjectHypothesis(
                            class_id=box.label, score=float(box.score)
                        )
                    )
                ],
                bbox=vision.BoundingBox2D(
                    center=vision.Pose2D(
                        position=vision.Point2D(
                            x=(box.x_min + box.x_max) / 2, y=(box.y_min + box.y_max) / 2
                        )
                    ),
                    size_x=float(box.x_max - box.x_min),
                    size_y=float(box.y_max - box.y_min),
                ),
            )
            for box in boxes
        ],
    )
