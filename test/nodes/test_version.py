"""Another version of the package on the other side is named, on both sides."""

import time

from std_msgs.msg import String

from codesign_ros.nodes.border.version import DEVICES_TOPIC, PLANNER_TOPIC, our_version
from codesign_ros.nodes.interface import qos

pytest_plugins = ["support.ros"]

OLD = "codesign_ros 0.0.9 interface 0123abcd node "


def says(robot, topic, text):
    publisher = robot.observer.node.create_publisher(String, topic, qos.state())
    publisher.publish(String(data=text))
    return publisher


def test_nodes_of_one_version_say_nothing_and_of_another_are_named(site, node_bundle):
    common = {"bundle": str(node_bundle.path), "profile_s": 0.0}
    robot = site.robot(tail=common, planner={"bundle": str(node_bundle.path), "mode": "measured"})
    robot.start("tail", "planner")
    robot.wait_for_state("tail", "active")
    robot.wait(lambda: "device /robot/tail" in robot.values("planner"), "the planner to hear it")
    assert "codesign_ros" not in robot.message("planner") + robot.message("tail")
    ours = our_version()
    keep = [
        says(robot, DEVICES_TOPIC, f"{OLD}/robot/head"),
        says(robot, PLANNER_TOPIC, f"{OLD}/codesign/other"),
        says(robot, PLANNER_TOPIC, "x" * 1_000_000),
        says(robot, PLANNER_TOPIC, f"{OLD}/\x1b[2J"),
    ]
    there = f"is of codesign_ros 0.0.9 (0123abcd), this node of {ours.release} ({ours.interface})"
    robot.wait_for_message("planner", f"/robot/head {there}")
    robot.wait_for_message("tail", f"/codesign/other {there}")
    assert keep
    assert "\x1b" not in robot.logs()


def test_who_leaves_or_is_updated_is_not_named_any_more():
    class Node:
        def advertise(self, *_):
            return self

        publish = listen = every = lambda self, *_: None

        def get_fully_qualified_name(self):
            return "/robot/tail"

        def get_logger(self):
            return self

        def error(self, line):
            said.append(line)

    from codesign_ros.nodes.border.version import Versions

    said = []
    versions = Versions(Node(), DEVICES_TOPIC, PLANNER_TOPIC)
    now_s = time.monotonic()
    for name in ("/a/b", "/a/c", "/a/b"):
        versions.hear(String(data=OLD + name), now_s)
    assert len(said) == len(versions.mismatches(now_s)) == 2
    ours = our_version()
    updated = f"codesign_ros {ours.release} interface {ours.interface} node /a/b"
    versions.hear(String(data=updated), now_s)
    assert len(versions.mismatches(now_s)) == 1
    assert versions.mismatches(now_s + 60) == []
    for number in range(1000):
        versions.hear(String(data=f"{OLD}/fake{number}/head"), now_s)
    assert len(versions.mismatches(now_s)) <= 16
    assert len(said) < 20
