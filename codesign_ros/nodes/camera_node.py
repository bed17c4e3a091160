"""The camera: frames from a bag, a video, a device, a folder or the synthetic mine."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from codesign_ros.data.chosen import warnings_of
from codesign_ros.data.frames import FrameSource, SourceFrame
from codesign_ros.data.pacing import Pacer, make_pacer
from codesign_ros.data.sources import open_source
from codesign_ros.msg import GroundTruth, InferenceResult
from codesign_ros.nodes.base import CodesignNode
from codesign_ros.nodes.images.topics import IMAGE_TOPICS, image_topic
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.held import check_source
from codesign_ros.nodes.interface.image_queue import ImageQueue
from codesign_ros.nodes.interface.messages import (
    ground_truth_to_msg,
    header_from,
    stamp_from,
)
from codesign_ros.nodes.interface.params import Param
from codesign_ros.nodes.overlay import picture_to_msg
from codesign_ros.nodes.process import run
from codesign_ros.pixels.decode import COMPRESSED, ImageError
from codesign_ros.runtime.messages import Stamp
from codesign_ros.types.errors import CodesignError
from codesign_ros.wire.codecs import encode

PARAMS = (
    Param(
        "source",
        "mine",
        "a bag, a video file, a device such as /dev/video0, csi[:SENSOR_ID] (a Jetson's camera; "
        "its nvarguscamerasrc was never run), gstreamer:PIPELINE (its end is RGB, or an appsink "
        "called frames), a folder of images, or mine[:SEED]",
        held_from="configure",
    ),
    Param(
        "source_topic",
        "",
        "image topic of a bag that has several; empty = the only one",
        held_from="configure",
    ),
    Param(
        "frames",
        0,
        "end after so many frames; 0 = all there are",
        low=0,
        high=2**31 - 1,
        held_from="configure",
    ),
    Param("loop", False, "start again at the end of a recording"),
    Param(
        "pacing",
        "window",
        "recordings only. stamps: as recorded; rate: at rate_hz; window: as fast as results come, "
        "so that a slow machine is slow and loses nothing",
        choices=("stamps", "rate", "window"),
        held_from="activate",
    ),
    Param(
        "rate_hz",
        30.0,
        "pace of pacing rate; asked of a camera [Hz]",
        low=0.01,
        high=1000.0,
        held_from="configure",
    ),
    *(
        Param(
            name,
            0,
            "asked of csi and /dev/videoN; 0 = the camera's own [px]",
            low=0,
            high=16384,
            held_from="configure",
        )
        for name in ("camera.width", "camera.height")
    ),
    Param("window", 3, "frames in flight of pacing window", low=1, high=1000, held_from="activate"),
    Param(
        "window_timeout_s",
        10.0,
        "pacing window: go on without a result that takes longer [s]",
        low=0.1,
        high=600.0,
        held_from="activate",
    ),
    Param(
        "image_transport",
        "compressed",
        "publish image_raw/compressed (JPEG) or image_raw",
        choices=tuple(IMAGE_TOPICS),
        fixed=True,
    ),
    Param("frame_id", "camera", "frame_id of the images"),
)


# Writer and reader find each other independently. We know of our listeners; they need this long at
# most to know of us, and would miss what is sent before [s].
_SETTLE_S = 0.5
# Images of a recording that wait in DDS for listeners at least.
_LEAST_DEPTH = 32
# A clock that goes back by less is taken to stand still; one that goes back further was set [ns].
_STILL_NS = 1_000_000_000


class CameraNode(CodesignNode):
    """Publishes frames, stamped anew on this machine's clock, and their ground truth if known."""

    def __init__(self) -> None:
        super().__init__("camera", PARAMS)
        self.params.refuse_where(check_source)
        # Whoever in this process takes frames directly; see ``hand_to``.
        self._hand_on: Callable[[SourceFrame, Stamp], None] | None = None
        self._source: FrameSource | None = None
        self._pacer: Pacer | None = None
        self._pacing = ""
        self._queue: ImageQueue | None = None
        self._last_ns = 0
        self._results: Subscription | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._published = 0
        self._finished = False

    def hand_to(self, topic: str, take: Callable[[SourceFrame, Stamp], None]) -> bool:
        """Give frames straight to a node of this process, which then need not subscribe to them.

        They are published too while somebody else subscribes.

        Args:
            topic: fully qualified topic from which the node wants its images.
            take: called with each frame as its source holds it, on the camera's thread.

        Returns:
            False where this camera does not send on that topic.
        """
        own = image_topic(self, self.params["image_transport"])
        if topic != self.resolve_topic_name(own.name):
            return False
        self._hand_on = take
        return True

    def configure(self) -> None:
        """Open the source."""
        source = open_source(
            self.params["source"],
            topic=self.params["source_topic"] or None,
            topic_option="source_topic",
            frames=self.params["frames"],
            fps=self.params["rate_hz"],
            size=(self.params["camera.width"], self.params["camera.height"]),
            stopping=self._stopping,
        )
        for warning in warnings_of(source):
            self.get_logger().warning(warning)
        recording = not source.live
        topic = image_topic(self, self.params["image_transport"])
        depth = max(_LEAST_DEPTH, self.params["window"]) if recording else 1
        self._images = self.advertise(
            topic.kind,
            topic.name,
            # Raw images are larger than what DDS carries best effort (config/large_images.xml).
            qos.image(reliable=recording or topic.transport == "raw", depth=depth),
        )
        self._queue = ImageQueue(self._images) if recording else None
        self._truths = self.advertise(GroundTruth, "ground_truth", qos.result())
        self._results = None
        self._source = source
        self._decide_pacing()

    def cleanup(self) -> None:
        """Close the source."""
        self._source = None

    def activate(self) -> None:
        """Start to play, from the beginning."""
        self._published, self._finished = 0, False
        self._decide_pacing()  # it may have been set since
        self._stopping.clear()
        self._thread = threading.Thread(target=self._play, name="camera", daemon=True)
        self._thread.start()

    def deactivate(self) -> None:
        """Stop playing."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _decide_pacing(self) -> None:
        """Decide what paces the frames; only where results do are they listened to: they cost."""
        assert self._source is not None
        self._pacing = "live" if self._source.live else self.params["pacing"]
        if self._pacing == "window" and self._results is None:
            self._results = self.listen(InferenceResult, "result", self._on_result, qos.result())

    def diagnostics(self) -> tuple[bytes, str, Mapping[str, Any]]:
        """Frames published, and whether the source is at its end."""
        values: dict[str, Any] = {
            "source": self.params["source"],
            "frames": self._published,
            "finished": self._finished,
        }
        if self._pacer is not None:
            values["unanswered"] = self._pacer.unanswered
        if self._queue is not None:
            values["overwritten"] = self._queue.overwritten
            if self._queue.overwritten:
                return (
                    DiagnosticStatus.WARN,
                    f"{self.state_label}; a listener is too slow: up to {self._queue.overwritten} "
                    "images were overwritten before it had them",
                    values,
                )
        return DiagnosticStatus.OK, self.state_label, values

    def _on_result(self, msg: InferenceResult) -> None:
        if self._pacer is not None:
            self._pacer.answered(stamp_from(msg.header).stamp_ns)

    def _play(self) -> None:
        assert self._source is not None
        self._pacer = make_pacer(
            self._pacing,
            rate_hz=self.params["rate_hz"],
            window=self.params["window"],
            timeout_s=self.params["window_timeout_s"],
            stopping=self._stopping,
        )
        try:
            if not self._source.live:
                self._wait_for_listeners()
            for frame in self._frames(self._source):
                self._pacer.wait(frame.stamp_ns)
                if self._stopping.is_set():
                    return
                self._publish(frame)
        except CodesignError as error:
            self.fail(str(error))
            return
        except Exception as error:  # a defect; it must not look like a camera that sees nothing
            self.fail(self.defect(error))
            return
        if self._stopping.is_set():  # a camera that stopped because we do
            return
        self._finished = True
        self.publish_diagnostics()
        self.get_logger().info(f"end of {self.params['source']}: {self._published} frames")

    def _frames(self, source: FrameSource) -> Iterator[SourceFrame]:
        while True:
            yield from source
            if not self.params["loop"] or self._stopping.is_set():
                return

    def _wait_for_listeners(self) -> None:
        """A recording starts when somebody listens, or its first frames would be lost."""
        results = self._results if self._pacing == "window" else None
        while not self._stopping.wait(0.05):
            heard = self._hand_on is not None or self._images.get_subscription_count() > 0
            answers = results is None or self.count_publishers(results.topic_name) > 0
            if heard and answers:
                self._stopping.wait(_SETTLE_S)
                return

    def _publish(self, frame: SourceFrame) -> None:
        now_ns = self._now_ns()
        stamp = Stamp(now_ns, self.params["frame_id"])
        if frame.truth is not None and self._truths.get_subscription_count() > 0:
            self._truths.publish(ground_truth_to_msg(frame.truth, stamp))
        assert self._pacer is not None
        self._pacer.sent(now_ns)
        if self._hand_on is not None:
            self._hand_on(frame, stamp)
        if self._hand_on is None or self._images.get_subscription_count() > 0:
            image = self._message(frame, stamp)
            (self._queue or self._images).publish(image)
        self._published += 1

    def _now_ns(self) -> int:
        """A stamp that no other frame has [ns], from a simulated clock that stands still too."""
        now_ns = self.get_clock().now().nanoseconds
        if now_ns <= self._last_ns < now_ns + _STILL_NS:
            now_ns = self._last_ns + 1
        self._last_ns = now_ns
        return now_ns

    def _message(self, frame: SourceFrame, stamp: Stamp) -> CompressedImage | Image:
        header = header_from(stamp)
        if self.params["image_transport"] == "compressed":
            encoding, data = as_compressed(frame)
            return CompressedImage(header=header, format=encoding, data=array("B", data))
        if frame.encoding in COMPRESSED:
            try:
                return picture_to_msg(frame.rgb(), stamp)
            except ImageError:  # as broken as it was recorded: the head says so of this frame
                return Image(header=header, encoding="rgb8")
        return Image(
            header=header,
            height=frame.height,
            width=frame.width,
            encoding=frame.encoding,
            step=frame.step,
            data=array("B", frame.data),
        )


def as_compressed(frame: SourceFrame) -> tuple[str, bytes]:
    """Encoding and bytes of a frame as a compressed picture; raw frames become JPEGs."""
    if frame.encoding in COMPRESSED:
        return frame.encoding, frame.data
    try:
        return "jpeg", bytes(encode("frame", frame.rgb(), "jpeg").data)
    except ImageError:  # as broken as it was recorded: the head says so of this frame
        return "jpeg", b""


def main() -> int:
    """Run the camera as a process."""
    return run(CameraNode)
