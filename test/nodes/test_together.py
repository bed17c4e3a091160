"""Camera and head in one process: every frame gets its one result, without its way through DDS."""

import pytest
from sensor_msgs.msg import CompressedImage

from codesign_ros.data.sources import open_source
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.runtime.messages import Status

pytest_plugins = ("support.ros",)

TOPIC = "image_raw/compressed"


@pytest.fixture
def start(site, node_bundle, picture_folder):
    def start(**head):
        robot = site.robot(
            camera={"autostart": False, "source": str(picture_folder), "pacing": "window"},
            head={"bundle": str(node_bundle.path), "profile_s": 0.0, **head},
        )
        robot.start("robot")
        robot.wait_for_state("head", "active")
        robot.observer.change_state(robot.name("camera"), "configure")
        robot.wait_for_listeners("head", "result", 2)  # the camera and the observer
        return robot

    return start


def results(robot, count):
    robot.wait(lambda: len(robot.results) >= count, f"{count} results")
    assert [result.sequence for result in robot.results] == list(range(count))
    return robot.results


def test_each_frame_has_its_result_and_none_is_published(start, node_bundle, picture_folder):
    robot = start()
    robot.observer.change_state(robot.name("camera"), "activate")
    found = results(robot, 12)
    alone = evaluate(open_source(str(picture_folder)), node_bundle).predictions
    assert [result.status for result in found] == [Status.OK] * 12
    assert [result.label for result in found] == [each.answer.label for each in alone]
    robot.wait(lambda: robot.values("camera").get("finished") == "True", "the end")
    assert robot.values("camera")[f"listeners {TOPIC}"] == "0"


def test_others_may_listen_to_the_frames_too(start, picture_folder):
    robot = start()
    images = robot.listen(CompressedImage, TOPIC)
    robot.wait_for_listeners("camera", TOPIC, 1)
    robot.observer.change_state(robot.name("camera"), "activate")
    stamps = [result.stamp.stamp_ns for result in results(robot, 12)]
    robot.wait(lambda: len(images) == 12, "every frame")
    sent = [image.header.stamp.sec * 10**9 + image.header.stamp.nanosec for image in images]
    assert sent == stamps
    files = [file.read_bytes() for file in sorted(picture_folder.iterdir())]
    assert [image.data.tobytes() for image in images] == files


def test_a_head_with_another_topic_hears_nothing_of_the_camera(start):
    robot = start(image_transport="raw")
    assert robot.observer.node.count_subscribers(f"{robot.namespace}/image_raw") == 1
    listeners = robot.observer.node.count_subscribers(f"{robot.namespace}/{TOPIC}")
    assert listeners == 0


@pytest.mark.parametrize(
    ("node", "bad", "line"),
    [
        ("camera", {"source": "/no/where"}, "/robot/camera: source /no/where does not exist"),
        ("head", {"bundle": "/no/where"}, "/robot/head: there is no bundle at /no/where"),
    ],
)
def test_where_one_cannot_start_both_end(site, node_bundle, picture_folder, node, bad, line):
    good = {
        "camera": {"source": str(picture_folder)},
        "head": {"bundle": str(node_bundle.path), "profile_s": 0.0},
    }
    robot = site.robot(**{**good, node: {**good[node], **bad}})
    robot.start("robot")
    assert line in robot.failed("robot")
