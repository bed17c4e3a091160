"""The camera's calibration beside the answers: its CameraInfo with the stamp of each frame's."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo

from codesign_ros.nodes.images.topics import COMPRESSED, type_name
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.messages import header_from, stamp_from
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.runtime.messages import Stamp

TOPIC = "detections/camera_info"
_SOURCE = "camera_info"

# How often somebody who publishes or listens is looked for [s].
_LOOK_S = 0.25
# Messages that are kept until their frames have answers: a second of a fast camera.
_DEPTH = 64


class CameraInfoRelay:
    """Sends on what the camera says of itself, where it says something and somebody listens.

    It takes ``camera_info`` beside the topic of the images, as image_transport has it, unless that
    name is remapped. Neither topic exists before somebody publishes it there.

    Args:
        node: the head.
        images: gives the full name of the topic of images; empty while it is not known.
    """

    def __init__(self, node: WiredNode, images: Callable[[], str]) -> None:
        self._node = node
        self._images = images
        self._publisher: Publisher | None = None
        self._subscription: Subscription | None = None
        self._lock = threading.Lock()
        self._infos: deque[CameraInfo] = deque(maxlen=_DEPTH)
        node.every(_LOOK_S, self._look)

    def publish(self, stamp: Stamp) -> None:
        """Send a frame's, stamped as the frame: the one of its stamp, or else the newest.

        From one thread at a time. Before the first came there is nothing to send.
        """
        if self._publisher is None or self._publisher.get_subscription_count() == 0:
            return
        with self._lock:
            infos = list(self._infos)
        if infos:
            same = (each for each in infos if stamp_from(each.header).stamp_ns == stamp.stamp_ns)
            info = next(same, infos[-1])
            info.header = header_from(stamp)
            self._publisher.publish(info)

    def _look(self) -> None:
        source = self._source()
        if self._publisher is None and source and self._is_published(source):
            self._publisher = self._node.advertise(CameraInfo, TOPIC, qos.result(), lasts=True)
        if self._publisher is None:
            return
        wanted = source if self._publisher.get_subscription_count() > 0 else ""
        listened = self._subscription.topic_name if self._subscription else ""
        if self._subscription is not None and wanted != listened:
            self._node.withdraw([self._subscription])
            self._subscription = None
            with self._lock:
                self._infos.clear()
        if wanted and self._subscription is None:
            profile = QoSProfile(depth=5, reliability=qos.BEST_EFFORT)
            self._subscription = self._node.listen(
                CameraInfo, wanted, self._take, profile, lasts=True
            )

    def _source(self) -> str:
        """Full name of the camera's topic; empty while that of its images is not known."""
        own = self._node.resolve_topic_name(_SOURCE)
        if own != self._node.resolve_topic_name(_SOURCE, only_expand=True):
            return own
        base = self._images().removesuffix(COMPRESSED)
        return f"{base.rpartition('/')[0]}/{_SOURCE}" if base else ""

    def _is_published(self, topic: str) -> bool:
        senders = self._node.get_publishers_info_by_topic(topic)
        return any(each.topic_type == type_name(CameraInfo) for each in senders)

    def _take(self, msg: CameraInfo) -> None:
        with self._lock:
            self._infos.append(msg)
