"""A queue of images in DDS that overwrites nothing which a listener still needs, or counts it."""

from __future__ import annotations

import threading
import time
from typing import Any

from rclpy.duration import Duration
from rclpy.publisher import Publisher

# How long a listener may keep a full queue from taking one more image [s]; once it does, no image
# waits for it until it has caught up.
_PATIENCE_S = 1.0
# How often it is looked whether they have them: rclpy waits with Python's lock in its hands [s].
_LOOK_S = 0.002
_AT_ONCE = Duration()


class ImageQueue:
    """Publishes images; before the queue is full, it waits until reliable listeners have them all.

    A writer keeps its newest samples, and one that a listener has not acknowledged is overwritten
    like any other: it is lost, and nobody is told. Best-effort listeners miss images by choice.

    Args:
        publisher: of the images.

    Attributes:
        overwritten: images that took the place of one which some listener did not have yet.
    """

    def __init__(self, publisher: Publisher) -> None:
        self.overwritten = 0
        self._publisher = publisher
        self._depth = publisher.qos_profile.depth
        self._queued = 0
        self._is_behind = False

    def publish(self, image: Any) -> None:
        """Publish an image; may wait."""
        if self._queued < self._depth:
            # Listeners acknowledge every tenth of a second or so; one that was looked for only once
            # the queue is full would stop a quick camera for as long.
            if self._queued and self._publisher.wait_for_all_acked(_AT_ONCE):
                self._queued = 0
        else:
            self._is_behind = not self._wait(0.0 if self._is_behind else _PATIENCE_S)
            if self._is_behind:
                self.overwritten += 1
            else:
                self._queued = 0
        self._queued += 1
        self._publisher.publish(image)

    def _wait(self, patience_s: float) -> bool:
        """Whether all listeners have all images, within so long."""
        give_up_s = time.monotonic() + patience_s
        while not self._publisher.wait_for_all_acked(_AT_ONCE):
            if time.monotonic() >= give_up_s:
                return False
            threading.Event().wait(_LOOK_S)
        return True
