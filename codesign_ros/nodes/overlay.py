"""Frames with their boxes drawn, for whoever looks, without holding up results."""

from __future__ import annotations

import logging
import threading
from array import array
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from codesign_ros.nodes.images.topics import compressed_name
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.messages import header_from
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.pixels.drawing import draw_boxes
from codesign_ros.runtime.messages import Stamp
from codesign_ros.types.boxes import Box
from codesign_ros.wire.codecs import encode

_log = logging.getLogger(__name__)

# Frames that may wait to be drawn; one more drops the oldest. Each holds the camera's message.
_DEPTH = 4
# As image_transport's plugin writes it: colours as they were, and in which order OpenCV reads them.
_FORMAT = "rgb8; jpeg compressed bgr8"


class OverlayTopics:
    """``overlay``, and as JPEGs ``overlay/compressed``, as image_transport names it.

    Each picture is made only while somebody looks.
    """

    def __init__(self, node: WiredNode) -> None:
        self._whole = node.advertise(Image, "overlay", qos.picture())
        self._jpegs = node.advertise(
            CompressedImage, compressed_name(node, "overlay"), qos.picture()
        )

    @property
    def are_watched(self) -> bool:
        """Whether somebody looks at either."""
        return any(each.get_subscription_count() > 0 for each in (self._whole, self._jpegs))

    def publish(self, picture: np.ndarray, stamp: Stamp) -> None:
        """Send a picture, (h, w, 3) uint8 RGB, to whoever looks."""
        if self._whole.get_subscription_count() > 0:
            self._whole.publish(picture_to_msg(picture, stamp))
        if self._jpegs.get_subscription_count() > 0:
            data = encode("overlay", picture, "jpeg").data
            self._jpegs.publish(
                CompressedImage(header=header_from(stamp), format=_FORMAT, data=array("B", data))
            )


class OverlayPainter:
    """Draws on a thread of its own and publishes; a frame that cannot be drawn costs itself alone.

    Args:
        classes: all classes, in the order that gives each its colour.
        publish: takes each picture, (h, w, 3) uint8 RGB, and its frame's stamp.
    """

    def __init__(
        self, classes: Sequence[str], publish: Callable[[np.ndarray, Stamp], None]
    ) -> None:
        self._classes = classes
        self._publish = publish
        self._waiting: deque[tuple[Stamp, Callable[[], np.ndarray], list[Box]]] = deque(
            maxlen=_DEPTH
        )
        self._changed = threading.Condition()
        self._running = True
        self._thread = threading.Thread(target=self._run, name="overlay", daemon=True)
        self._thread.start()

    def draw(self, stamp: Stamp, load: Callable[[], np.ndarray], boxes: list[Box]) -> None:
        """Have boxes drawn on a frame soon.

        Args:
            stamp: the frame's stamp.
            load: gives its pixels, (h, w, 3) uint8 RGB.
            boxes: what to draw, in pixels of the frame.
        """
        with self._changed:
            self._waiting.append((stamp, load, boxes))
            self._changed.notify()

    def close(self) -> None:
        """Stop; frames that wait are not drawn."""
        with self._changed:
            self._running = False
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        # Nothing is kept in a variable here: it would hold on to a frame until the next.
        while self._draw_next():
            pass

    def _draw_next(self) -> bool:
        """Wait for a frame and draw it; False when closed."""
        with self._changed:
            while self._running and not self._waiting:
                self._changed.wait()
            if not self._running:
                return False
            stamp, load, boxes = self._waiting.popleft()
        try:
            self._publish(draw_boxes(load(), boxes, self._classes), stamp)
        except Exception:
            _log.exception("the overlay of a frame could not be drawn")
        return True


def picture_to_msg(picture: np.ndarray, stamp: Stamp) -> Image:
    """A picture, (h, w, 3) uint8 RGB, as a message."""
    height, width, channels = picture.shape
    return Image(
        header=header_from(stamp),
        height=height,
        width=width,
        encoding="rgb8",
        step=width * channels,
        data=array("B", picture.tobytes()),
    )
