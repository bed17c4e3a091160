"""How nodes use Fast DDS: the package's settings, the user's own where there are some."""

from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from codesign_ros.nodes.interface.transport import DECIDED, prepare
from codesign_ros.resources import resource_path

pytest_plugins = ("support.ros",)

PROFILE = resource_path("config") / "fastdds.xml"


@pytest.mark.parametrize(
    ("distribution", "name"),
    [
        (None, "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("humble", "FASTRTPS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_settings_of_the_package(distribution, name):
    environment = {"ROS_DISTRO": distribution} if distribution else {}
    before = set(environment)
    prepare(environment, PROFILE)
    assert environment[name] == str(PROFILE)
    assert set(environment) - before == {name}


@pytest.mark.parametrize("name", DECIDED)
def test_what_the_user_decided_stays(name):
    environment = {name: "theirs"}
    prepare(environment, PROFILE)
    assert environment == {name: "theirs"}


def test_profile_is_every_writer_s():
    space = {"d": "http://www.eprosima.com"}
    (writer,) = ElementTree.parse(PROFILE).getroot().iterfind(".//d:data_writer", space)
    assert writer.get("is_default_profile") == "true"
    assert writer.findtext(".//d:disable_heartbeat_piggyback", namespaces=space) == "true"


def test_large_raw_images_arrive(site, tmp_path):
    """1080p, best effort: twelve times Fast DDS's own shared-memory segment."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    cv2.imwrite(str(folder / "0.png"), picture)
    camera = {"source": str(folder), "loop": True, "pacing": "rate", "rate_hz": 5.0}
    robot = site.robot(camera={**camera, "image_transport": "raw"})
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    heard = []
    robot.observer.node.listen(Image, "image_raw", heard.append, best_effort)
    robot.start("camera")
    robot.wait(lambda: len(heard) > 3, "large raw images")
    # OpenCV writes BGR.
    assert heard[0].data.tobytes() == picture[..., ::-1].tobytes()
