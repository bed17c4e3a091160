"""How nodes use Fast DDS: the package's settings, the user's own where there are some."""

import subprocess
import sys
import threading
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from codesign_ros.nodes.interface.transport import DECIDED, check_domain, prepare
from codesign_ros.resources import resource_path
from codesign_ros.types.errors import CodesignError

pytest_plugins = ("support.ros",)

PROFILE = resource_path("config") / "fastdds.xml"
LARGE = resource_path("config") / "large_images.xml"


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
    environment = {name: str(LARGE)}
    prepare(environment, PROFILE)
    assert environment == {name: str(LARGE)}


def test_profiles_that_are_not_there(site):
    """Fast DDS would go on without them."""
    site.environment["FASTDDS_DEFAULT_PROFILES_FILE"] = "/no/profiles.xml"
    line = site.run_node("tail")
    assert line == "error: FASTDDS_DEFAULT_PROFILES_FILE=/no/profiles.xml: there is no such file"


def test_profiles_that_are_no_xml(tmp_path):
    file = tmp_path / "profiles.xml"
    file.write_text("<dds")
    with pytest.raises(CodesignError, match=r"PROFILES_FILE=.*profiles\.xml cannot be read: "):
        prepare({"FASTDDS_DEFAULT_PROFILES_FILE": str(file)}, PROFILE)


@pytest.mark.parametrize("reach", ["local", "subnet", "OF"])
def test_a_range_of_discovery_that_is_none(reach):
    with pytest.raises(CodesignError, match=f"DISCOVERY_RANGE is '{reach}'; did you mean"):
        check_domain({"ROS_AUTOMATIC_DISCOVERY_RANGE": reach})
    check_domain({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"})


@pytest.mark.parametrize("domain", ["233", "-1", "lab"])
def test_a_domain_that_is_none(site, domain):
    site.environment["ROS_DOMAIN_ID"] = domain
    assert f"ROS_DOMAIN_ID is '{domain}', which is no domain" in site.run_node("planner")


# Only a defect makes it take so long, on a busy machine too [s].
PATIENCE_S = 90.0
_IMAGES = """
import sys, time, rclpy
from array import array
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node(sys.argv[1])
profile = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
"""
_SENDER = f"""{_IMAGES}
images = node.create_publisher(Image, "/image", profile)
image = Image(width=1920, height=1080, step=5760, encoding="rgb8", data=array("B", bytes(6220800)))
while True:
    images.publish(image)
    time.sleep(0.1)
"""
_TAKER = f"""{_IMAGES}
node.create_subscription(Image, "/image", lambda msg: print(len(msg.data), flush=True), profile)
rclpy.spin(node)
"""


def test_large_images_of_a_best_effort_driver_arrive_with_the_profile_for_it(site):
    """Ten in a row, of a driver that is no node of ours, within the subnet as on a robot."""
    environment = site.environment | {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}
    environment = environment | {"FASTDDS_DEFAULT_PROFILES_FILE": str(LARGE)}
    driver = subprocess.Popen([sys.executable, "-c", _SENDER, "driver"], env=environment)
    taker = subprocess.Popen(
        [sys.executable, "-c", _TAKER, "taker"],
        env=environment | {"FASTDDS_DEFAULT_PROFILES_FILE": str(PROFILE)},
        stdout=subprocess.PIPE,
        text=True,
    )
    watch = threading.Timer(PATIENCE_S, taker.kill)
    watch.start()
    try:
        assert [taker.stdout.readline() for _ in range(10)] == ["6220800\n"] * 10
    finally:
        watch.cancel()
        for process in (driver, taker):
            process.kill()
            process.wait()
        taker.stdout.close()


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
