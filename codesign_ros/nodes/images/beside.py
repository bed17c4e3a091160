"""Whether images come on another topic, while a head waits for those of the best one."""

from __future__ import annotations

import time
from typing import Any

from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from codesign_ros.nodes.images.topics import ImageTopic
from codesign_ros.nodes.wiring import WiredNode


class Beside:
    """Listens to a topic of images and takes none of them.

    Args:
        node: whoever listens.
        adapts: the reliability follows the senders' and cannot be overridden.
    """

    def __init__(self, node: WiredNode, adapts: bool) -> None:
        self._node = node
        self._adapts = adapts
        self._topic: ImageTopic | None = None
        self._subscription: Subscription | None = None
        # When the first image came; 0 = none did.
        self._first_s = 0.0

    @property
    def sends_for_s(self) -> float:
        """For how long images have been known to come there [s]; 0 where none came."""
        return time.monotonic() - self._first_s if self._first_s else 0.0

    def listen(self, topic: ImageTopic, profile: QoSProfile) -> None:
        """Listen to this topic from now on, unless it is the one already."""
        if topic == self._topic:
            return
        self.stop()
        self._topic = topic
        self._subscription = self._node.listen(
            topic.kind, topic.name, self._arrived, profile, adapts=self._adapts, lasts=True
        )

    def stop(self) -> None:
        """Listen to none."""
        if self._subscription is not None:
            self._node.withdraw([self._subscription])
        self._topic, self._subscription, self._first_s = None, None, 0.0

    def _arrived(self, _: Any) -> None:
        self._first_s = self._first_s or time.monotonic()
