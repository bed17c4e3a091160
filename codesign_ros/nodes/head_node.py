"""The head: frames in, embeddings out to the tail, one result a frame out to everybody."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

from codesign_ros.data.frames import SourceFrame
from codesign_ros.hardware.cpu_quota import cpu_clock, usable_cores
from codesign_ros.msg import InferenceResult, TailAnswer
from codesign_ros.nodes.camera_node import CameraNode
from codesign_ros.nodes.device_node import DeviceNode
from codesign_ros.nodes.images.bridge import CONVERTED_BY
from codesign_ros.nodes.images.camera_info import CameraInfoRelay
from codesign_ros.nodes.images.input import AUTO, ImageInput
from codesign_ros.nodes.images.loading import loader
from codesign_ros.nodes.images.topics import image_topic
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.head_params import PARAMS
from codesign_ros.nodes.interface.messages import (
    result_to_msg,
    stamp_from,
    tail_answer_from_msg,
)
from codesign_ros.nodes.interface.server_topics import ServerTopics
from codesign_ros.nodes.interface.vision_messages import MISSING, detections_to_msg, vision
from codesign_ros.nodes.overlay import OverlayPainter, OverlayTopics
from codesign_ros.nodes.process import run
from codesign_ros.runtime.device import Heartbeat, Role
from codesign_ros.runtime.head.account import FrameAccount
from codesign_ros.runtime.head.runtime import HeadRuntime
from codesign_ros.runtime.head.settings import HeadSettings
from codesign_ros.runtime.messages import Result, Stamp, Status
from codesign_ros.runtime.stamps import age_s
from codesign_ros.types.plan import Plan

# How often the head is asked for probes; it sends them less often while all is well [s].
PROBE_PERIOD_S = 0.25
# A rate so many times off the one that was told last is told at once, but no more often than [s].
_OTHER_RATE, _TELL_PERIOD_S = 1.25, 0.1
_PAUSED = "paused by service enable"


class HeadNode(DeviceNode):
    """Runs the first part of the network on the robot; see ``HeadRuntime``.

    Args:
        camera: in this process; where it sends on the head's topic, frames come without DDS.
    """

    role = Role.HEAD
    part = "head"
    runtime: HeadRuntime | None

    def __init__(self, camera: CameraNode | None = None) -> None:
        super().__init__("head", PARAMS)
        self._embeddings = ServerTopics(self)
        self._results = self.advertise(InferenceResult, "result", qos.result())
        self._overlays = OverlayTopics(self)
        self._detections = None
        if vision is not None:
            self._detections = self.advertise(vision.Detection2DArray, "detections", qos.result())
        # What DDS lost of the frames, as far as it knows, and what came while nobody took frames.
        self._lost = self._untaken = 0
        # The link's rate as it was told last, and when.
        self._told_bps, self._told_s = 0.0, -math.inf
        transport = self.params["image_transport"]
        # None where the camera hands them over in this process.
        self._input: ImageInput | None = None
        if camera is None or not self._is_handed(camera, transport):
            self._input = ImageInput(
                self,
                transport,
                self.params["image_reliability"],
                self._on_message,
                on_missed=self._on_missed,
                unreadable=self._why_unreadable,
            )
        self._camera_infos = CameraInfoRelay(self, self._images_topic)
        self._paused = False
        self.serve(SetBool, "~/enable", self._enable)
        self.listen(TailAnswer, "result/remote", self._on_answer, qos.result())
        self.every(PROBE_PERIOD_S, self._probe)

    def activate(self) -> None:
        """Warm up the whole network and start to take frames."""
        assert self.bundle is not None
        assert self.share is not None
        settings = HeadSettings(
            queue_depth=self.params["queue_depth"],
            queue_bytes=self.params["queue_bytes"],
            deadline_s=self.params["deadline_s"],
            slowdown=self.params["emulation.slowdown"],
            selection=self.selection({}),
            cores=usable_cores(),
            cpu_s=cpu_clock(),
        )
        runtime = HeadRuntime(
            self.bundle,
            self.share.pool,
            settings,
            send_embedding=self._embeddings.send,
            send_result=self._send_result,
            clock_ns=lambda: self.get_clock().now().nanoseconds,
            emulated_bps=self.params["emulation.link_bps"],
        )
        self._painter = OverlayPainter(self.bundle.classes, self._overlays.publish)
        self.runtime = runtime
        runtime.settings.paused = self._paused  # it may be told so at this moment
        if self._input is not None:
            self._input.expect()
        if self._detections is None:
            self.get_logger().info(f"detections: {MISSING}; result has the same boxes", once=True)

    def deactivate(self) -> None:
        """Stop; frames in flight are answered as dropped."""
        runtime, self.runtime = self.runtime, None
        if runtime is not None:
            runtime.close()
            self._painter.close()

    def cleanup(self) -> None:
        """Let go of the bundle, the engines, and the topics of the servers of a pool."""
        super().cleanup()
        self._embeddings.forget()

    def get_ready(self, plan: Plan) -> None:
        """See that the plan's tail listens."""
        self._embeddings.reach(plan.tail)

    def heartbeat(self) -> Heartbeat:
        """Add what it knows of the link and of its frames."""
        beat, runtime = super().heartbeat(), self.runtime
        if runtime is None:
            return beat
        self._told_bps, self._told_s = runtime.uplink.bandwidth_bps, time.monotonic()
        return replace(
            beat,
            link_bps=self._told_bps,
            link_bps_error=runtime.uplink.bandwidth_error_bps,
            link_delay_s=runtime.uplink.delay_s,
            link_burst_bytes=runtime.uplink.sure_burst_bytes,
            frame_bytes=runtime.sendable_bytes,
            running=runtime.running,
        )

    def diagnostics(self) -> tuple[bytes, str, Mapping[str, Any]]:
        """Frames by what became of them, the plan and the link."""
        runtime = self.runtime
        before = {"lost_before_head": self._lost, "frames_while_inactive": self._untaken}
        before["enabled"] = not self._paused
        state = f"{self.state_label}, {_PAUSED}" if self._paused else self.state_label
        if runtime is None:
            return DiagnosticStatus.OK, state, before
        plan, account = runtime.plan, runtime.account
        values = {
            "epoch": plan.epoch,
            "cut": plan.cut,
            "served_by": plan.served_by or "the robot alone",
            "link_bps": round(runtime.uplink.bandwidth_bps),
            "link_bps_error": round(runtime.uplink.bandwidth_error_bps),
            "link_delay_s": round(runtime.uplink.delay_s, 4),
            **dict(runtime.counts),
            **account_values(account),
            **before,
            "colours_by": CONVERTED_BY,
        }
        too_few = ""
        if self._input is not None:
            values["images"] = self._input.topic
            values["images_reliable"] = self._input.is_reliable
            too_few = self._input.silence() or self._input.loss()
        if self._detections is None:
            values["detections"] = MISSING
        if account.unaccounted:
            return DiagnosticStatus.ERROR, account.complaint, values
        alone = f"the robot computes alone: {runtime.alone}" if runtime.alone else ""
        unreadable = f"frames cannot be read: {runtime.unreadable}" if runtime.unreadable else ""
        if alone or too_few or unreadable:
            parts = ("" if alone else state, too_few, unreadable, alone)
            return DiagnosticStatus.WARN, "; ".join(filter(None, parts)), values
        return DiagnosticStatus.OK, state, values

    def on_parameters(self, values: Mapping[str, Any]) -> None:
        """Take over the link's rate too."""
        super().on_parameters(values)
        if self.runtime is not None and "emulation.link_bps" in values:
            self.runtime.uplink.emulated_bps = values["emulation.link_bps"]

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> None:
        """Compute the frames that come, or answer each as dropped.

        It holds whatever state the node goes to.
        """
        self._paused = not request.data
        if self.runtime is not None:
            self.runtime.settings.paused = self._paused
        response.message = _PAUSED if self._paused else "enabled"
        self.publish_diagnostics()

    def _why_unreadable(self) -> str:
        """Why the newest frame could not be read; empty where it could."""
        runtime = self.runtime
        return "" if runtime is None else runtime.unreadable

    def _images_topic(self) -> str:
        """Full name of the topic of images; empty while it is not known."""
        if self._input is not None:
            return self._input.topic
        return self.resolve_topic_name(image_topic(self, "raw").name)  # handed over

    def _is_handed(self, camera: CameraNode, transport: str) -> bool:
        """Whether the camera gives its frames to this head directly."""
        direct = self._guarded(self._on_frame, "ignored a frame of the camera")
        if transport == AUTO:
            transport = camera.params["image_transport"]
        topic = self.resolve_topic_name(image_topic(self, transport).name)
        return camera.hand_to(topic, direct)

    def _on_message(self, msg: CompressedImage | Image) -> None:
        self._take(stamp_from(msg.header), *loader(msg))

    def _on_frame(self, frame: SourceFrame, stamp: Stamp) -> None:
        jpeg = frame.data if frame.encoding == "jpeg" else None
        self._take(stamp, frame.rgb, len(frame.data), jpeg)

    def _take(
        self,
        stamp: Stamp,
        load: Callable[[], np.ndarray],
        held_bytes: int,
        jpeg: bytes | None = None,
    ) -> None:
        runtime = self.runtime
        if runtime is None:
            self._untaken += 1
        if runtime is None or not self.seat.serves:
            return
        now_ns = self.get_clock().now().nanoseconds
        if math.isnan(age_s(stamp.stamp_ns, now_ns)):
            off_s = (now_ns - stamp.stamp_ns) / 1e9
            way_out = "play the bag with camera_node, which stamps frames anew"
            if now_ns == 0:
                way_out = "use_sim_time is on and nobody publishes /clock: leave it out"
            self.get_logger().warning(
                f"frame stamps are {off_s:.1f} s off this machine's clock, so age_s and response_s "
                f"of their results are NaN; {way_out}",
                once=True,
            )
        runtime.on_frame(stamp, load, jpeg, held_bytes)

    def _on_missed(self, count: int) -> None:
        self._lost += count
        self.get_logger().warning(
            "frames got lost before they reached the head (lost_before_head in /diagnostics); "
            "make both sides reliable, the camera's queue deeper, or its frames smaller, or start "
            "it with config/large_images.xml",
            once=True,
        )

    def _send_result(self, result: Result, load: Callable[[], np.ndarray]) -> None:
        """Publish a result, and what people look at where somebody does."""
        self._results.publish(result_to_msg(result))
        if result.status is not Status.OK:
            return
        threshold = self.params["display_threshold"]
        boxes = [box for box in result.detections if box.score >= threshold]
        if self._detections is not None and self._detections.get_subscription_count() > 0:
            self._detections.publish(detections_to_msg(boxes, result.stamp))
        self._camera_infos.publish(result.stamp)
        if self._overlays.are_watched:
            self._painter.draw(result.stamp, load, boxes)

    def _on_answer(self, msg: TailAnswer) -> None:
        runtime = self.runtime
        if runtime is None:
            return
        runtime.on_answer(tail_answer_from_msg(msg))
        rate_bps, told_bps = runtime.uplink.bandwidth_bps, self._told_bps
        is_other = not told_bps / _OTHER_RATE <= rate_bps <= told_bps * _OTHER_RATE
        if is_other and time.monotonic() - self._told_s >= _TELL_PERIOD_S:
            self.beat()

    def _probe(self) -> None:
        runtime = self.runtime
        if runtime is None or not self.seat.serves:
            return
        if self._embeddings.listeners(runtime.plan.tail) == 0:
            runtime.deserted()
        runtime.probe()


def account_values(account: FrameAccount) -> dict[str, int]:
    """What became of the frames, for /diagnostics: ``frames`` is the sum of the next three."""
    reasons = {f"dropped_{why.name.lower()}": count for why, count in account.drops.items()}
    return {
        "frames": account.arrived,
        "results": account.answered,
        "dropped": account.dropped,
        "in_flight": account.in_flight,
        "unaccounted": account.unaccounted,
        **account.results,
        **reasons,
    }


def main() -> int:
    """Run the head as a process."""
    return run(HeadNode)
