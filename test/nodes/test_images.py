"""A head and cameras that are not ours: every encoding, any name and transport, and silence."""

import contextlib
import re
import time
from array import array

import cv2
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from codesign_ros.nodes.images.loading import loader
from codesign_ros.nodes.interface.messages import ns_to_time
from codesign_ros.pixels.raw import RAW
from codesign_ros.runtime.messages import DropReason, Stamp, Status

pytest_plugins = ("support.ros",)

BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
TO_CAM = ("-r", "image_raw:=/cam/image_raw")
# Bytes of a row for each column, and rows for each row of the picture, where they are not one.
COLUMN_BYTES = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "8UC3": 3, "8UC4": 4}
COLUMN_BYTES |= dict.fromkeys(("yuv422", "yuv422_yuy2", "yuyv", "uyvy"), 2)
ROWS = {"nv12": 1.5, "nv21": 1.5, "nv24": 3}

# A best-effort image of which nothing was heard for so long is lost [s].
_RESENT_AFTER_S = 5.0


class Driver:
    """A camera's driver, or somebody else who publishes, as a participant of its own: of one type
    alone can a participant have a topic."""

    def __init__(self, robot, kind, topic, profile=RELIABLE):
        self.robot = robot
        self._context = Context()
        rclpy.init(
            context=self._context,
            domain_id=robot.observer.node.context.get_domain_id(),
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self.node = rclpy.create_node("driver", namespace="/cam", context=self._context)
        self._kind = kind
        self._reliable = profile.reliability is ReliabilityPolicy.RELIABLE
        self._images = self.node.create_publisher(kind, topic, profile)
        self._last_ns = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()

    def leave(self):
        if self._context.ok():
            self.node.destroy_node()
            self._context.try_shutdown()

    @property
    def is_heard(self):
        return self._images.get_subscription_count() > 0

    def wait_for_the_head(self):
        """Wait until the head, which takes any, listens as the driver sends."""
        reliable = str(self._reliable)

        def listens():
            values = self.robot.values("head")
            return (
                self.is_heard
                and values.get("images") == self._images.topic_name
                and values.get("images_reliable") == reliable
            )

        self.robot.wait(listens, "the head to listen")

    def answer_to(self, **fields):
        """Send an image and return its result; if best effort, again while DDS loses it."""
        sent = []

        def answers():
            is_late = sent and time.monotonic() > sent[-1][1] + _RESENT_AFTER_S
            if not sent or (is_late and not self._reliable):
                sent.append((self.send(**fields), time.monotonic()))
            return [each for each in self.robot.results if each.stamp in [s for s, _ in sent]]

        self.robot.wait(lambda: len(answers()) > 0, "the frame's answer")
        assert len({each.sequence for each in answers()}) == len(answers()) <= len(sent)
        return answers()[0]

    def send(self, **fields):
        """Send an image and return its stamp."""
        now_ns = self.node.get_clock().now().nanoseconds
        self._last_ns = max(now_ns, self._last_ns + 1)
        stamp = Stamp(self._last_ns, "front")
        header = Header(stamp=ns_to_time(stamp.stamp_ns), frame_id=stamp.frame_id)
        self._images.publish(self._kind(header=header, **fields))
        return stamp


def raw(encoding, height=48, width=64, padding=0):
    """Fields of a raw image of noise."""
    name = encoding.removesuffix("16").removesuffix("8")
    each = COLUMN_BYTES.get(encoding, COLUMN_BYTES.get(name, 1))
    step = width * each * (2 if encoding.endswith("16") else 1) + padding
    rows = round(height * ROWS.get(encoding, 1))
    data = np.random.default_rng(1).integers(0, 256, rows * step, dtype=np.uint8)
    return {
        "encoding": encoding, "height": height, "width": width, "step": step,
        "data": array("B", data.tobytes()),
    }  # fmt: skip


def compressed(picture, suffix=".jpg", form="bgr8; jpeg compressed bgr8", behind=b""):
    data = cv2.imencode(suffix, picture)[1].tobytes() + behind
    return {"format": form, "data": array("B", data)}


@pytest.fixture(scope="module")
def listening(module_site, node_bundle):
    """A head that takes raw or compressed images of /cam, whoever comes."""
    robot = module_site.robot(
        arguments={"head": TO_CAM},
        head={
            "bundle": str(node_bundle.path),
            "profile_s": 0.0,
            "image_transport": "auto",
            "image_reliability": "auto",
        },
    )
    robot.start("head")
    robot.wait(lambda: "active" in robot.message("head"), "the head to be active")
    return robot


@pytest.fixture
def driver(listening):
    with contextlib.ExitStack() as leaving:

        def start(kind, topic, profile):
            driver = leaving.enter_context(Driver(listening, kind, topic, profile))
            driver.wait_for_the_head()
            return driver

        yield start


@pytest.mark.parametrize("profile", [BEST_EFFORT, RELIABLE], ids=["best effort", "reliable"])
def test_every_encoding_is_answered(driver, profile):
    camera = driver(Image, "/cam/image_raw", profile)
    for encoding in RAW:
        for padding in (0, 8):
            answer = camera.answer_to(**raw(encoding, padding=padding))
            assert answer.status is Status.OK, (encoding, answer.reason)
    for encoding, words in (
        ("16UC1", "is depth"), ("32FC1", "is depth"), ("h264", "'h264' is not supported"),
    ):  # fmt: skip
        answer = camera.answer_to(**{**raw("mono16"), "encoding": encoding})
        assert answer.drop_reason is DropReason.UNREADABLE
        assert words in answer.reason


@pytest.mark.parametrize("topic", ["/cam/image_raw/compressed", "/cam/image_raw"])
@pytest.mark.parametrize("profile", [BEST_EFFORT, RELIABLE], ids=["best effort", "reliable"])
def test_every_format_is_answered(driver, pictures, topic, profile):
    """Some drivers publish compressed images under the name that others give to raw ones."""
    camera = driver(CompressedImage, topic, profile)
    grey = pictures[0][..., 0]
    for fields in (
        compressed(pictures[0]), compressed(grey), compressed(pictures[0], ".png", "png"),
        compressed(pictures[0], behind=b"\0\0SEFH"), compressed(pictures[0], ".png", behind=b"x"),
    ):  # fmt: skip
        answer = camera.answer_to(**fields)
        assert answer.status is Status.OK, answer.reason
    depth = compressed(grey.astype(np.uint16), ".png", "16UC1; png compressed ")
    within = {"format": "16UC1; compressedDepth", "data": array("B", bytes(12)) + depth["data"]}
    for fields, words in (
        (depth, "is depth"),
        ({**depth, "format": "h264", "data": array("B", b"\0\0\0\1\x67")}, "(format 'h264')"),
        (within, "(format '16UC1; compressedDepth')"),
        (compressed(pictures[0]) | {"data": compressed(pictures[0])["data"][:-20]}, "cut off"),
    ):  # fmt: skip
        answer = camera.answer_to(**fields)
        assert answer.drop_reason is DropReason.UNREADABLE
        assert words in answer.reason


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_colours_are_turned_back_as_by_image_transport(pictures, suffix):
    """A compressed picture has the channels' order that its format says, and is sent on as it is
    only where that is its own."""
    bgr = pictures[0]
    rgb = cv2.imdecode(cv2.imencode(suffix, bgr)[1], cv2.IMREAD_COLOR)[..., ::-1]
    kind = "jpeg" if suffix == ".jpg" else "png"
    for form, is_turned in (
        (f"rgb8; {kind} compressed rgb8", True), (f"bgr8; {kind} compressed rgb8", True),
        (f"bgra8; {kind}", False), (f"rgb8; {kind} compressed bgr8", False), ("", False),
        (f"rgb8; {kind} compressed ", False), ("bgr16; h264 compressed", False),
        (f"bgr8; {kind} compressed bgr8", False), (kind, False), ("rgb8", False),
        (f"mono8; {kind} compressed mono8", False), (f"{kind}; rgb8", False),
    ):  # fmt: skip
        fields = compressed(bgr, suffix, form)
        load, held_bytes, data = loader(CompressedImage(**fields))
        assert np.array_equal(load(), rgb[..., ::-1] if is_turned else rgb), form
        assert load().flags.c_contiguous
        assert held_bytes == len(fields["data"])
        assert data == (None if is_turned else fields["data"].tobytes()), form


def test_large_images_of_a_reliable_driver_arrive(driver):
    """More than any buffer of DDS holds by default: pieces get lost, and are sent again."""
    camera = driver(Image, "/cam/image_raw", RELIABLE)
    for _ in range(3):
        answer = camera.answer_to(**raw("rgb8", 1080, 1920))
        assert answer.status is Status.OK, answer.reason


def test_the_transport_changes_with_the_driver(listening, driver, pictures):
    camera = driver(Image, "/cam/image_raw", RELIABLE)
    assert camera.answer_to(**raw("rgb8")).status is Status.OK
    camera.leave()
    camera = driver(Image, "/cam/image_raw", BEST_EFFORT)
    assert camera.answer_to(**raw("rgb8")).status is Status.OK
    camera.leave()
    listening.wait_for_message("head", "nobody publishes")
    camera = driver(CompressedImage, "/cam/image_raw/compressed", BEST_EFFORT)
    assert camera.answer_to(**compressed(pictures[0])).status is Status.OK
    listening.wait_for_state("head", "active")


def test_where_images_cannot_be_read_those_beside_them_are_taken(listening, driver):
    """As of drivers that send H.264 in CompressedImage."""
    packets = {"format": "h264", "data": array("B", b"\0\0\0\1\x67")}
    camera = driver(CompressedImage, "/cam/image_raw/compressed", RELIABLE)
    sent = []
    with Driver(listening, Image, "/cam/image_raw", RELIABLE) as beside:

        def is_read():
            camera.send(**packets)
            sent.append(beside.send(**raw("rgb8")))
            time.sleep(0.05)
            return any(r.status is Status.OK and r.stamp in sent for r in listening.results)

        listening.wait(is_read, "images that can be read")
        beside.wait_for_the_head()
    # Where these end, the others are all there is: said by the frames that are dropped.
    camera.wait_for_the_head()
    assert camera.answer_to(**packets).drop_reason is DropReason.UNREADABLE
    lines = [line for line in listening.logs().splitlines() if "cannot be read (" in line]
    assert len(lines) == 1, lines
    assert "images on /cam/image_raw/compressed cannot be read (" in lines[0]
    assert lines[0].endswith("): those on /cam/image_raw are taken")


def test_a_head_that_is_configured_anew_goes_on_listening(listening, driver):
    camera = driver(Image, "/cam/image_raw", RELIABLE)
    assert camera.answer_to(**raw("rgb8")).status is Status.OK
    for step in ("deactivate", "cleanup", "configure", "activate"):
        listening.observer.change_state(listening.name("head"), step)
    assert camera.answer_to(**raw("rgb8")).status is Status.OK


def test_where_a_topic_is_silent_those_beside_it_are_taken(listening, driver):
    """As of compressed_image_transport, which advertises what it cannot compress too."""
    silent = driver(CompressedImage, "/cam/image_raw/compressed", RELIABLE)
    sent = []
    with Driver(listening, Image, "/cam/image_raw", RELIABLE) as beside:

        def is_answered():
            sent.append(beside.send(**raw("rgb8")))
            time.sleep(0.05)
            return any(r.status is Status.OK and r.stamp in sent for r in listening.results)

        listening.wait(is_answered, "the images beside the silent topic")
        beside.wait_for_the_head()
        # Who was heard and pauses keeps the head.
        listening.wait_for_message("head", "publishes /cam/image_raw, and has stopped sending")
        assert "no images come on /cam/image_raw/compressed" in listening.message("head")
    listening.wait_for_message("head", "publishes /cam/image_raw/compressed, but nothing arrives")
    silent.leave()
    lines = [line for line in listening.logs().splitlines() if "no images come on" in line]
    assert len(lines) == 1, lines
    assert lines[0].endswith(
        "no images come on /cam/image_raw/compressed: those on /cam/image_raw are taken"
    )


def test_where_all_topics_are_silent_the_best_is_waited_for(listening, driver, pictures):
    """As of a camera that waits for its trigger."""
    camera = driver(CompressedImage, "/cam/image_raw/compressed", RELIABLE)
    with Driver(listening, Image, "/cam/image_raw", RELIABLE) as beside:
        both = (
            "/cam/driver publishes /cam/image_raw/compressed and /cam/driver publishes "
            "/cam/image_raw, but nothing arrives: does it send"
        )
        listening.wait_for_message("head", both)
        # Both are listened to now.
        listening.wait(lambda: beside.is_heard, "a listener beside")
        beside.send(**raw("rgb8"))
        assert camera.answer_to(**compressed(pictures[0])).status is Status.OK
        listening.wait(lambda: not beside.is_heard, "the end of listening beside")
        assert listening.values("head")["images"] == "/cam/image_raw/compressed"


def head(site, bundle, **parameters):
    robot = site.robot(
        arguments={"head": TO_CAM},
        head={"bundle": str(bundle.path), "profile_s": 0.0, **parameters},
    )
    robot.start("head")
    return robot


def test_why_no_frame_comes(site, node_bundle, pictures):
    """From nobody to a driver that fits, one mistake after another."""
    robot = head(site, node_bundle, image_transport="raw", image_reliability="reliable")
    robot.wait_for_message("head", "nobody publishes /cam/image_raw, nor images anywhere else")
    with Driver(robot, Image, "/camera/color/image_raw"):
        robot.wait_for_message("head", "images are on /camera/color/image_raw: name one")
    with Driver(robot, CompressedImage, "/cam/image_raw/compressedDepth"):
        time.sleep(3.0)  # the nodes' diagnostics come every second
        assert "nor images anywhere else" in robot.message("head")
    with Driver(robot, CompressedImage, "/cam/image_raw/compressed"):
        robot.wait_for_message("head", "there is /cam/image_raw/compressed: set image_transport to")
    with Driver(robot, String, "/cam/image_raw"):
        robot.wait_for_message("head", "/cam/image_raw as std_msgs/msg/String, not as sensor_msgs/")
    with Driver(robot, Image, "/cam/image_raw", BEST_EFFORT):
        robot.wait_for_message(
            "head",
            "/cam/driver publishes /cam/image_raw, with a quality of service that does not fit",
        )
    with Driver(robot, Image, "/cam/image_raw") as camera:
        robot.wait_for_message("head", "/cam/driver publishes /cam/image_raw, but nothing arrives")
        with Driver(robot, CompressedImage, "/cam/image_raw/compressed"):
            robot.wait_for_message("head", "if not, there is /cam/image_raw/compressed: set image_")
        assert camera.answer_to(**raw("bayer_rggb8")).status is Status.OK
        robot.wait_for_message("head", "publishes /cam/image_raw, and has stopped sending")
        assert robot.values("head")["images"] == "/cam/image_raw"
    robot.wait_for_message("head", "nobody publishes /cam/image_raw")


def test_lost_images_are_told_from_a_silent_driver(site, node_bundle):
    """One that sends best effort 24 times what Fast DDS's shared memory holds, small ones before
    and after."""
    robot = head(site, node_bundle, image_transport="auto", image_reliability="auto")
    with Driver(robot, Image, "/cam/image_raw", BEST_EFFORT) as camera:
        camera.wait_for_the_head()
        assert camera.answer_to(**raw("rgb8")).status is Status.OK
        large = raw("rgb16", 1080, 1920)
        lost = "/cam/driver publishes /cam/image_raw, but DDS loses its images on their way: best"

        def is_said():
            camera.send(**large)
            # Where the driver is slow, as on a busy machine, a part of them arrives.
            return lost in robot.message("head") or "frames got lost" in robot.message("head")

        robot.wait(is_said, "the head to say that images get lost")
        assert "config/large_images.xml" in robot.message("head")

        def is_counted():
            for fields in (large, raw("rgb8"), raw("rgb8")):
                camera.send(**fields)
                time.sleep(0.05)
            said = re.search(r"(\d+) of the last (\d+) frames got lost", robot.message("head"))
            return said is not None and int(said[1]) < int(said[2])

        # Some arrive now: there is no silence, but a part is missing.
        robot.wait(is_counted, "the head to say that some images get lost")
        assert "reached the head: best effort, images above" in robot.message("head")

        def is_over():
            camera.send(**raw("rgb8"))
            return robot.message("head") == "active"

        robot.wait(is_over, "the end of the loss")
        # A pause is no period: silence after the next image is said as soon as any other.
        assert camera.answer_to(**raw("rgb8")).status is Status.OK
        robot.wait_for_message("head", "publishes /cam/image_raw, and has stopped sending")
        said_s = re.search(r"no frame for (\d+) s", robot.message("head"))[1]
        assert int(said_s) < 5


def test_another_type_under_the_name(site, node_bundle):
    robot = head(site, node_bundle)
    with Driver(robot, Image, "/cam/image_raw"):
        robot.wait_for_message("head", "but there is /cam/image_raw: set image_transport to raw")
    with Driver(robot, Image, "/cam/image_raw/compressed"):
        robot.wait_for_message("head", "as sensor_msgs/msg/Image, not as")


@pytest.mark.parametrize("transport", ["compressed", "raw"])
@pytest.mark.parametrize("name", ["image_raw", "image_raw/compressed"])
def test_the_standard_remapping_moves_our_own_camera(
    site, node_bundle, picture_folder, transport, name
):
    arguments = ("-r", f"{name}:=/cam/image")
    robot = site.robot(
        arguments=dict.fromkeys(("camera", "head"), arguments),
        camera={"source": str(picture_folder), "loop": True, "image_transport": transport},
        head={"bundle": str(node_bundle.path), "profile_s": 0.0, "image_transport": transport},
    )  # fmt: skip
    robot.start("head", "camera")
    robot.wait(lambda: len(robot.results) > 3, "results")
    topic = {
        ("image_raw", "compressed"): "/cam/image/compressed",
        ("image_raw", "raw"): "/cam/image",
        ("image_raw/compressed", "compressed"): "/cam/image",
        ("image_raw/compressed", "raw"): "/robot/image_raw",
    }[name, transport]
    robot.wait(lambda: robot.values("head").get("images") == topic, f"images of {topic}")
