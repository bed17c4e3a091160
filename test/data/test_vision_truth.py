"""Ground truth as vision_msgs has it."""

from types import SimpleNamespace as Message

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from codesign_ros.data.bags import BagSource
from codesign_ros.data.storage.decoding import IMAGE_TYPE, typestore
from codesign_ros.data.storage.vision_truth import VISION_TYPE, vision_boxes
from codesign_ros.types.boxes import Box


def detections(header, boxes):
    """A Detection2DArray; each box with a less likely class before its own."""
    types = typestore().types

    def result(label, score):
        zero = np.zeros(36)
        pose = types["geometry_msgs/msg/PoseWithCovariance"](
            types["geometry_msgs/msg/Pose"](
                types["geometry_msgs/msg/Point"](0.0, 0.0, 0.0),
                types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
            ),
            zero,
        )
        hypothesis = types["vision_msgs/msg/ObjectHypothesis"](label, score)
        return types["vision_msgs/msg/ObjectHypothesisWithPose"](hypothesis, pose)

    def one(label, x, y, width, height):
        centre = types["vision_msgs/msg/Pose2D"](types["vision_msgs/msg/Point2D"](x, y), 0.0)
        box = types["vision_msgs/msg/BoundingBox2D"](centre, width, height)
        results = [result("tree", 0.1), result(label, 0.9)]
        return types["vision_msgs/msg/Detection2D"](header, results, box, "")

    return types[VISION_TYPE](header, [one(*box) for box in boxes])


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("topic", ["/labels/truth", "/GroundTruth", "/detector/found"])
def test_a_bag_with_vision_msgs(tmp_path, storage, topic):
    store = typestore()
    types = store.types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](7, 5), "cam")
    image = types[IMAGE_TYPE](header, 2, 2, "mono8", 0, 2, np.zeros(4, np.uint8))
    plugin = StoragePlugin[storage.upper()]
    with Writer(tmp_path / "bag", version=9, storage_plugin=plugin) as writer:
        images = writer.add_connection("/image", IMAGE_TYPE, typestore=store)
        truths = writer.add_connection(topic, VISION_TYPE, typestore=store)
        writer.write(images, 7, store.serialize_cdr(image, IMAGE_TYPE))
        message = detections(header, [("helmet", 10.0, 20.0, 4.0, 6.0)])
        writer.write(truths, 7, store.serialize_cdr(message, VISION_TYPE))
    (frame,) = BagSource(tmp_path / "bag")
    boxes = (Box("helmet", 8.0, 17.0, 12.0, 23.0),)
    if "truth" in topic.lower():
        assert frame.truth.boxes == boxes
    else:  # a detector's own answers are no truth, unless somebody says so
        assert frame.truth is None
    (named,) = BagSource(tmp_path / "bag", truth_topic=topic)
    assert named.truth.boxes == boxes


def test_the_older_generation():
    """Foxy's: the class is ``id`` of the result, the centre has x and y itself."""
    box = Message(center=Message(x=10.0, y=20.0), size_x=4.0, size_y=6.0)
    found = Message(results=[Message(id="helmet", score=0.5)], bbox=box)
    empty = Message(results=[], bbox=box)
    assert vision_boxes(Message(detections=[found, empty])) == (
        Box("helmet", 8.0, 17.0, 12.0, 23.0),
    )
