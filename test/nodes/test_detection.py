"""A detector through the nodes: the same boxes as in one process, as messages and as pictures."""

from array import array
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from codesign_ros.data.sources import open_source
from codesign_ros.demo.rerun import rerun
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import open_backend
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.evaluation.replay import is_same
from codesign_ros.nodes.interface import vision_messages
from codesign_ros.nodes.interface.messages import header_from, ns_to_time
from codesign_ros.pixels.boxes import DISPLAY_THRESHOLD, Selection
from codesign_ros.pixels.drawing import draw_boxes
from codesign_ros.runtime.answers import answer_of
from codesign_ros.runtime.messages import Stamp, Status
from codesign_ros.types.boxes import Box
from support.detectors import write_detector_bundle

pytest_plugins = ("support.ros",)


@pytest.fixture(scope="session")
def detector(tmp_path_factory, pictures, engine_cache):
    """A detector that finds much in ``pictures``, exported to the cache."""
    path = tmp_path_factory.mktemp("bundles") / "detector.bundle"
    bundle = write_detector_bundle(path, frames=pictures)
    open_backend(bundle, cache_dir=engine_cache).build(EngineKey("head", bundle.last_cut))
    return bundle


@pytest.fixture
def head(site, detector):
    """A head alone that takes raw images of any size."""
    robot = site.robot(
        head={
            "bundle": str(detector.path),
            "profile_s": 0.0,
            "image_reliability": "reliable",
            "image_transport": "raw",
        }
    )
    robot.start("head")
    robot.wait_for_state("head", "active")
    robot.wait_for_listeners("head", "result", 1)
    return robot


def image_msg(picture, stamp_ns):
    height, width, channels = picture.shape
    header = Header(stamp=ns_to_time(stamp_ns), frame_id="front")
    data = array("B", picture.tobytes())
    step = width * channels
    return Image(header=header, height=height, width=width, encoding="rgb8", step=step, data=data)


def test_pictures_with_boxes_for_whoever_looks(head, detector, pictures):
    images = head.topic(Image, "image_raw")
    start_ns = head.observer.node.get_clock().now().nanoseconds
    # Nobody looks; results come all the same.
    images.publish(image_msg(pictures[0], start_ns))
    head.wait(lambda: len(head.results) == 1, "a result")

    overlays = head.listen(Image, "overlay")
    head.wait_for_listeners("head", "overlay", 1)
    tall = np.ascontiguousarray(pictures[2][:, 30:60])
    for number, picture in enumerate((pictures[1], tall), start=1):
        images.publish(image_msg(picture, start_ns + number))
        head.wait(lambda number=number: len(overlays) == number, "an overlay")
        overlay, result = overlays[-1], head.results[-1]
        assert (overlay.header, overlay.encoding) == (header_from(result.stamp), "rgb8")
        assert len(result.detections) > 3
        height, width, _ = picture.shape
        assert all(0 <= b.x_min < b.x_max <= width for b in result.detections)
        assert all(0 <= b.y_min < b.y_max <= height for b in result.detections)
        shown = [box for box in result.detections if box.score >= DISPLAY_THRESHOLD]
        assert 0 < len(shown) < len(result.detections)
        drawn = np.frombuffer(overlay.data, np.uint8).reshape(height, width, 3)
        expected = draw_boxes(picture, shown, detector.classes)
        # The result carries float32: a line may be drawn a pixel off.
        assert np.mean(np.any(drawn != expected, axis=2)) < 0.02
        assert np.any(drawn != picture)


def test_pictures_as_jpegs_for_whoever_looks_at_those(head, detector, pictures):
    images = head.topic(Image, "image_raw")
    jpegs = head.listen(CompressedImage, "overlay/compressed")
    head.wait_for_listeners("head", "overlay/compressed", 1)
    images.publish(image_msg(pictures[1], head.observer.node.get_clock().now().nanoseconds))
    head.wait(lambda: jpegs, "an overlay")
    ((jpeg,), (result,)) = jpegs, head.results
    assert jpeg.header == header_from(result.stamp)
    # As compressed_image_transport reads it: what OpenCV gives, to be brought to rgb8.
    assert jpeg.format == "rgb8; jpeg compressed bgr8"
    picture = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    shown = [box for box in result.detections if box.score >= DISPLAY_THRESHOLD]
    expected = draw_boxes(pictures[1], shown, detector.classes)
    assert picture.shape == expected.shape
    # With red and blue the wrong way round it is several times as much.
    error = np.abs(picture.astype(float) - expected).mean()
    assert error < 0.5 * np.abs(picture[..., ::-1].astype(float) - expected).mean()


def info_msg(stamp_ns, focal_px):
    header = Header(stamp=ns_to_time(stamp_ns), frame_id="lens")
    k = [focal_px, 0.0, 72.0, 0.0, focal_px, 48.0, 0.0, 0.0, 1.0]
    return CameraInfo(header=header, width=144, height=96, k=k)


def test_the_cameras_calibration_beside_the_detections(head, pictures):
    """Of a frame's own stamp if there is one, else the newest; only where the camera has any."""
    images = head.topic(Image, "image_raw")
    node = head.observer.node
    assert not node.get_publishers_info_by_topic("/robot/detections/camera_info")
    best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    infos = node.create_publisher(CameraInfo, "/robot/camera_info", best_effort)
    passed = head.listen(CameraInfo, "detections/camera_info")
    head.wait_for_listeners("head", "detections/camera_info", 1)
    head.wait(lambda: infos.get_subscription_count() > 0, "the head to listen")

    stamp_ns = node.get_clock().now().nanoseconds
    # Until DDS has told the head that we know of it, what we send may not arrive.
    head.wait(
        lambda: (
            infos.publish(info_msg(stamp_ns + 1, 111.0)),
            infos.publish(info_msg(stamp_ns + 2, 222.0)),
            images.publish(image_msg(pictures[1], stamp_ns + 1)),
            any(each.k[0] == 111.0 for each in passed),
        )[-1],
        "the calibration of the frame's stamp",
    )
    assert passed[0].header == header_from(Stamp(stamp_ns + 1, "front"))
    images.publish(image_msg(pictures[1], stamp_ns + 9))  # none has its stamp
    newest = header_from(Stamp(stamp_ns + 9, "front"))
    head.wait(lambda: passed[-1].header == newest, "the newest calibration")
    assert passed[-1].k[0] == 222.0
    assert passed[-1].width == 144


@pytest.mark.skipif(vision_messages.vision is None, reason="vision_msgs is not installed")
def test_detections_for_whoever_listens(head, pictures):
    images = head.topic(Image, "image_raw")
    messages = head.listen(vision_messages.vision.Detection2DArray, "detections")
    head.wait_for_listeners("head", "detections", 1)
    head.observer.set_parameter("/robot/head", "display_threshold", 0.5)
    stamp_ns = head.observer.node.get_clock().now().nanoseconds
    images.publish(image_msg(pictures[1], stamp_ns))
    head.wait(lambda: messages and head.results, "detections")
    (result,) = head.results
    shown = [box for box in result.detections if box.score >= 0.5]
    assert shown
    assert messages[0].header == header_from(result.stamp)
    for box, detection in zip(shown, messages[0].detections, strict=True):
        (hypothesis,) = detection.results
        assert hypothesis.hypothesis.class_id == box.label
        assert hypothesis.hypothesis.score == pytest.approx(box.score)
        centre = detection.bbox.center.position
        assert centre.x - detection.bbox.size_x / 2 == pytest.approx(box.x_min, abs=1e-3)
        assert centre.y + detection.bbox.size_y / 2 == pytest.approx(box.y_max, abs=1e-3)


@pytest.mark.skipif(vision_messages.vision is not None, reason="vision_msgs is installed")
def test_without_vision_msgs_the_head_says_so_and_runs(head):
    head.wait(
        lambda: head.values("head").get("detections") == vision_messages.MISSING, "diagnostics"
    )
    assert vision_messages.MISSING in head.logs()


def test_conversion_with_messages_that_are_none(monkeypatch):
    """The fields that are set, whether vision_msgs is installed or not."""
    names = (
        "Detection2DArray", "Detection2D", "ObjectHypothesisWithPose", "ObjectHypothesis",
        "BoundingBox2D", "Pose2D", "Point2D",
    )  # fmt: skip
    fake = SimpleNamespace(**dict.fromkeys(names, SimpleNamespace))
    monkeypatch.setattr(vision_messages, "vision", fake)
    box = Box("helmet", 10, 20, 14, 30, 0.75)
    msg = vision_messages.detections_to_msg([box], Stamp(7, "front"))
    (detection,) = msg.detections
    assert msg.header == detection.header == header_from(Stamp(7, "front"))
    (result,) = detection.results
    assert (result.hypothesis.class_id, result.hypothesis.score) == ("helmet", 0.75)
    assert (detection.bbox.center.position.x, detection.bbox.center.position.y) == (12, 25)
    assert (detection.bbox.size_x, detection.bbox.size_y) == (4, 10)
    assert vision_messages.detections_to_msg([], Stamp(7)).detections == []


def test_boxes_are_those_of_one_process_under_every_plan(site, detector, picture_folder):
    """Robot slow, so that the server is used; then the server goes."""
    common = {"bundle": str(detector.path), "profile_s": 0.05}
    robot = site.robot(
        camera={"autostart": False, "source": str(picture_folder), "window": 3},
        head={
            **common,
            "emulation.slowdown": 60.0,
            "image_reliability": "reliable",
            "deadline_s": 20.0,
        },
        tail=common,
        planner={"bundle": common["bundle"], "codecs": ["uint8+zstd"], "frame_codecs": ["raw"]},
    )
    robot.start("planner", "tail", "head", "camera")
    robot.wait_for_plan("with the server", lambda plan: plan.served_by == "/robot/tail")
    robot.observer.change_state(robot.name("camera"), "configure")
    robot.wait_for_listeners("head", "result", 2)
    robot.wait_for_listeners("camera", "ground_truth", 1)
    robot.observer.change_state(robot.name("camera"), "activate")
    robot.wait(lambda: len(robot.results) >= 4, "the first results")
    robot.observer.change_state("/robot/tail", "deactivate")
    frames = open_source(str(picture_folder))
    robot.wait(lambda: len(robot.results) >= frames.frames, "all results")
    results = robot.results
    assert {result.status for result in results} == {Status.OK}
    assert "server" in {result.finished_by for result in results}

    again = list(rerun(frames, detector, results, robot.plans))
    assert len(again) == len(results) == frames.frames
    for result, prediction in zip(results, again, strict=True):
        assert is_same(answer_of(result), prediction.answer)
    assert sum(len(result.detections) for result in results) > frames.frames
    # And what `codesign evaluate` finds with the same plan.
    plan = next(p for p in robot.plans if p.epoch == results[0].epoch)
    whole = evaluate(
        frames,
        detector,
        cut=plan.cut,
        head_structure=plan.head_structure,
        tail_structure=plan.tail_structure,
        codec=plan.codec,
    )
    same_plan = [
        (result, prediction)
        for result, prediction in zip(results, whole.predictions, strict=True)
        if result.epoch == plan.epoch and result.finished_by != "fallback"
    ]
    assert same_plan
    for result, prediction in same_plan:
        # Those of any score count there; nodes answer those above their threshold.
        found = prediction.answer.detections
        sent = tuple(box for box in found if box.score > Selection.score_threshold)
        assert is_same(answer_of(result), replace(prediction.answer, detections=sent))
