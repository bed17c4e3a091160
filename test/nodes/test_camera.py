"""A camera process: pacing, transports, ground truth, and sources that fail."""

from importlib.util import find_spec

import numpy as np
import pytest
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

from codesign_ros.data.bag_writer import write_mine_bag
from codesign_ros.data.sources import open_source
from codesign_ros.msg import GroundTruth, InferenceResult
from codesign_ros.nodes.interface.messages import ground_truth_from_msg, time_to_ns
from codesign_ros.pixels.decode import to_rgb

pytest_plugins = ("support.ros",)

TOPICS = {"compressed": "image_raw/compressed", "raw": "image_raw"}
KINDS = {"compressed": CompressedImage, "raw": Image}


class Viewer:
    """Hears what a camera process publishes, and answers frames when told to."""

    def __init__(self, robot, transport, live):
        self.robot = robot
        if live:  # its frames are not sent again
            self.images = []
            robot.observer.node.create_subscription(
                KINDS[transport],
                f"{robot.namespace}/{TOPICS[transport]}",
                self.images.append,
                qos_profile_sensor_data,
            )
        else:
            self.images = robot.listen(KINDS[transport], TOPICS[transport])
        self.truths = robot.listen(GroundTruth, "ground_truth")
        for topic in (TOPICS[transport], "ground_truth"):
            robot.wait_for_listeners("camera", topic, 1)
        self._results = robot.observer.node.create_publisher(
            InferenceResult, f"{robot.namespace}/result", 10
        )

    def wait_for(self, count):
        self.robot.wait(lambda: len(self.images) >= count, f"{count} images")

    def wait_for_end(self):
        """Wait until the camera has played everything, and all of it is here."""
        self.robot.wait(lambda: self.robot.values("camera").get("finished") == "True", "the end")
        count = int(self.robot.values("camera")["frames"])
        self.wait_for(count)
        return count

    def answer(self, image):
        self._results.publish(InferenceResult(header=image.header))

    @property
    def stamps_ns(self):
        return [time_to_ns(image.header.stamp) for image in self.images]


@pytest.fixture
def start(site):
    def start(*, live=False, **parameters):
        transport = parameters.get("image_transport", "compressed")
        # Activated last, so that the viewer hears every frame.
        robot = site.robot(camera={"autostart": False, **parameters})
        robot.start("camera")
        robot.observer.change_state(robot.name("camera"), "configure")
        viewer = Viewer(robot, transport, live)
        robot.observer.change_state(robot.name("camera"), "activate")
        return viewer

    return start


@pytest.fixture(scope="session")
def mine_bag(tmp_path_factory):
    """Six frames, 50 ms apart."""
    path = tmp_path_factory.mktemp("bags") / "mine"
    write_mine_bag(path, seed=4, frames=6, fps=20.0)
    return path


def test_pictures_as_they_are(start, picture_folder):
    viewer = start(source=str(picture_folder), pacing="rate", rate_hz=200.0, frame_id="front")
    assert viewer.wait_for_end() == 12
    files = sorted(picture_folder.iterdir())
    for image, file in zip(viewer.images, files, strict=True):
        assert image.format == "png"
        assert image.data.tobytes() == file.read_bytes()
        assert image.header.frame_id == "front"


def test_raw_images_hold_the_same_pixels(start, picture_folder, pictures):
    viewer = start(
        source=str(picture_folder), pacing="rate", rate_hz=200.0, image_transport="raw", frames=5
    )
    assert viewer.wait_for_end() == 5
    for image, picture in zip(viewer.images, pictures[:5], strict=True):
        assert (image.encoding, image.height, image.width) == ("rgb8", 96, 144)
        assert image.step == 3 * 144
        np.testing.assert_array_equal(
            np.frombuffer(image.data, np.uint8).reshape(picture.shape), picture
        )


def test_truth_has_the_stamp_of_its_frame(start, mine_bag):
    viewer = start(source=str(mine_bag), pacing="rate", rate_hz=200.0)
    assert viewer.wait_for_end() == 6
    viewer.robot.wait(lambda: len(viewer.truths) == 6, "the ground truth")
    frames = list(open_source(str(mine_bag)))
    for image, truth, frame in zip(viewer.images, viewer.truths, frames, strict=True):
        assert image.data.tobytes() == frame.data
        assert truth.header == image.header
        assert ground_truth_from_msg(truth) == frame.truth


def test_mine_as_jpeg(start):
    viewer = start(source="mine:3", frames=2, pacing="rate", rate_hz=30.0)
    assert viewer.wait_for_end() == 2
    for image, frame in zip(viewer.images, open_source("mine:3", frames=2), strict=True):
        assert image.format == "jpeg"
        sent = to_rgb(image.data.tobytes(), "jpeg")
        truly = to_rgb(frame.data, frame.encoding, height=400, width=640, step=frame.step)
        assert np.abs(sent.astype(int) - truly).mean() < 10


@pytest.mark.parametrize("pacing", ["rate", "stamps"])
def test_frames_do_not_come_before_their_time(start, mine_bag, pacing):
    # Recorded at 20 Hz. When the machine is busy a frame is late, and none is ever early.
    viewer = start(source=str(mine_bag), pacing=pacing, rate_hz=10.0)
    assert viewer.wait_for_end() == 6
    period_ns = {"rate": 100_000_000, "stamps": 50_000_000}[pacing]
    stamps_ns = viewer.stamps_ns
    assert stamps_ns == sorted(stamps_ns)
    tolerance_ns = 20_000_000  # the first frame itself may be late
    for number, stamp_ns in enumerate(stamps_ns):
        assert stamp_ns - stamps_ns[0] >= number * period_ns - tolerance_ns


def test_what_a_slow_listener_misses_is_counted(start, picture_folder):
    """Faster than frames can be sent, and too large for any buffer to hold more than a few."""
    viewer = start(
        source="mine:3", frames=60, pacing="rate", rate_hz=1000.0, image_transport="raw",
    )  # fmt: skip
    camera = viewer.robot

    def are_here_or_counted():
        values = camera.values("camera")
        overwritten = int(values.get("overwritten", "0"))
        return values.get("finished") == "True" and len(viewer.images) + overwritten >= 60

    # On a machine that does nothing else it misses none.
    camera.wait(are_here_or_counted, "60 images, here or counted")


def test_frames_that_a_listener_may_have_missed_are_counted(site, node_bundle, picture_folder):
    robot = site.robot(
        camera={"source": str(picture_folder), "loop": True, "pacing": "rate", "rate_hz": 50.0},
        head={
            "bundle": str(node_bundle.path), "profile_s": 0.0, "image_reliability": "reliable",
        },
    )  # fmt: skip
    robot.start("head", "camera")
    robot.wait(lambda: len(robot.results) > 3, "results")
    assert robot.values("camera").get("overwritten", "0") == "0"
    with robot.frozen("head"):
        robot.wait_for_message("camera", "a listener is too slow")
        assert int(robot.values("camera")["overwritten"]) > 0


def test_window_waits_for_results(start, picture_folder):
    viewer = start(
        source=str(picture_folder), pacing="window", window=3, window_timeout_s=600.0, loop=True
    )
    robot = viewer.robot
    viewer.wait_for(3)
    for answered in range(2):
        # No more than three without a result, and one more for each.
        robot.observer.diagnostics.clear()
        robot.wait(lambda: "frames" in robot.values("camera"), "diagnostics")
        assert int(robot.values("camera")["frames"]) == len(viewer.images) == 3 + answered
        viewer.answer(viewer.images[answered])
        viewer.wait_for(4 + answered)
    # A result of no frame of ours, or a second one, moves nothing.
    viewer.answer(viewer.images[0])
    robot.observer.diagnostics.clear()
    robot.wait(lambda: "frames" in robot.values("camera"), "diagnostics")
    assert len(viewer.images) == 5


def test_window_goes_on_without_a_result(start, picture_folder):
    viewer = start(source=str(picture_folder), pacing="window", window=1, window_timeout_s=0.1)
    assert viewer.wait_for_end() == 12
    assert int(viewer.robot.values("camera")["unanswered"]) == 11


def test_loop_and_start_again(start, picture_folder):
    viewer = start(source=str(picture_folder), pacing="rate", rate_hz=500.0, loop=True)
    viewer.wait_for(30)
    first = viewer.images[0].data
    assert viewer.images[12].data == first == viewer.images[24].data
    robot = viewer.robot
    robot.observer.change_state(robot.name("camera"), "deactivate")
    robot.wait_for_state("camera", "inactive")
    before = int(robot.values("camera")["frames"])
    viewer.wait_for(before)
    robot.observer.change_state(robot.name("camera"), "activate")
    viewer.wait_for(before + 1)
    assert viewer.images[before].data == first  # from the beginning


def test_transport_is_fixed_while_it_plays(start, picture_folder):
    viewer = start(source=str(picture_folder), pacing="rate", rate_hz=100.0, loop=True)
    with pytest.raises(Exception, match="read-only"):
        viewer.robot.observer.set_parameter("/robot/camera", "image_transport", "raw")
    viewer.wait_for(len(viewer.images) + 3)


# Sources that fail, and what the one line on standard error says.


def broken_bag(mine_bag, tmp_path):
    """A copy of a bag that is cut off in the middle."""
    copy = tmp_path / "cut_off"
    copy.mkdir()
    for file in mine_bag.iterdir():
        data = file.read_bytes()
        (copy / file.name).write_bytes(data[: len(data) // 2] if ".mcap" in file.name else data)
    return copy


def empty_folder(mine_bag, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def not_a_video(mine_bag, tmp_path):
    file = tmp_path / "film.mp4"
    file.write_bytes(b"no video " * 100)
    return file


def missing(mine_bag, tmp_path):
    return tmp_path / "nothing"


SOURCES = {
    missing: "source {source} does not exist",
    empty_folder: "folder {source} has no images",
    not_a_video: "{source} is neither a bag nor a video",
    broken_bag: "{source}",
}


@pytest.mark.parametrize("make", SOURCES)
def test_source_that_cannot_be_opened(site, mine_bag, tmp_path, make):
    source = make(mine_bag, tmp_path)
    robot = site.robot(camera={"source": str(source)})
    robot.start("camera")
    line = robot.failed("camera")
    assert SOURCES[make].format(source=source) in line


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("/dev/video77", "camera /dev/video77 does not exist"),
        ("/dev/null", "/dev/null is no camera"),
        ("mine:seven", "source 'mine:seven': the seed must be a whole number"),
        ("csi:left", "source 'csi:left': the sensor must be a whole number"),
        ("gstreamer:", "source 'gstreamer:' has no pipeline"),
    ],
)
def test_source_that_makes_no_sense(site, source, line):
    robot = site.robot(camera={"source": source})
    robot.start("camera")
    assert line in robot.failed("camera")


def test_a_picture_that_is_none_costs_one_frame(site, picture_folder, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, file in enumerate(sorted(picture_folder.iterdir())[:4]):
        data = file.read_bytes()
        (folder / file.name).write_bytes(b"no picture" if number == 2 else data)
    robot = site.robot(camera={"source": str(folder), "pacing": "rate", "rate_hz": 20.0})
    images = robot.listen(CompressedImage, "image_raw/compressed")
    robot.start("camera")
    robot.wait(lambda: len(images) == 4, "all pictures")
    assert [bytes(image.data) == b"no picture" for image in images] == [False, False, True, False]


# Cameras through GStreamer; the source itself is tested in test_gstreamer.

gst = pytest.mark.skipif(
    find_spec("gi") is None, reason="PyGObject is not installed (apt: python3-gi)"
)
TEST_CAMERA = "gstreamer:videotestsrc is-live=true ! video/x-raw,width=33,height=21,framerate=50/1"


@pytest.mark.skipif(find_spec("gi") is not None, reason="PyGObject is installed")
def test_csi_camera_without_pygobject(site):
    robot = site.robot(camera={"source": "csi"})
    robot.start("camera")
    assert "cameras through GStreamer need PyGObject: apt install" in robot.failed("camera")


@gst
def test_gstreamer_frames_raw(start):
    viewer = start(live=True, source=TEST_CAMERA, image_transport="raw")
    viewer.wait_for(3)
    image = viewer.images[0]
    assert (image.encoding, image.height, image.width, image.step) == ("rgb8", 21, 33, 100)
    assert len(image.data) == 2100


@gst
def test_gstreamer_jpegs_pass_through(start):
    source = f"{TEST_CAMERA} ! jpegenc ! appsink name=frames"
    viewer = start(live=True, source=source, frames=50)
    viewer.wait_for(1)
    robot = viewer.robot
    robot.wait(lambda: robot.values("camera").get("finished") == "True", "the end")
    assert robot.values("camera")["frames"] == "50"
    assert to_rgb(viewer.images[0].data.tobytes(), "jpeg").shape == (21, 33, 3)


@gst
def test_gstreamer_camera_stops_and_starts_again(start):
    viewer = start(live=True, source=TEST_CAMERA, loop=True)
    robot = viewer.robot
    viewer.wait_for(2)
    robot.observer.change_state(robot.name("camera"), "deactivate")
    robot.wait_for_state("camera", "inactive")
    assert robot.values("camera")["finished"] == "False"
    robot.observer.change_state(robot.name("camera"), "activate")
    newest = len(viewer.images)
    viewer.wait_for(newest + 10)


@gst
def test_gstreamer_camera_that_sends_nothing_can_be_stopped(start):
    source = "gstreamer:appsrc ! video/x-raw,format=RGB,width=8,height=8"
    viewer = start(live=True, source=source, loop=True)
    robot = viewer.robot
    robot.observer.change_state(robot.name("camera"), "deactivate")
    robot.wait_for_state("camera", "inactive")
    assert robot.values("camera")["finished"] == "False"


@gst
def test_gstreamer_camera_that_is_lost(site):
    source = f"{TEST_CAMERA} ! identity error-after=5"
    robot = site.robot(camera={"source": source})
    robot.start("camera")
    line = robot.failed("camera")
    assert f"camera {source}: identity" in line
    assert "Failed after iterations as requested" in line
