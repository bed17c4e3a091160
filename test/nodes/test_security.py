"""The policies for SROS 2 allow each node what it opens, and no more."""

import fnmatch
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest_plugins = ["support.ros"]

POLICIES = Path(__file__).parent.parent.parent / "security" / "policies"
NODES = ("camera", "head", "tail", "planner")
# What depends on parameters, or on packages that are not everywhere.
SOMETIMES = {
    *(f"/robot/{name}" for name in ("image_raw", "image_raw/compressed", "result", "detections")),
    *("/robot/detections/camera_info", "/robot/camera_info"),
    *("/clock", "/parameter_events", "/robot/presence", "/codesign/presence"),
}


def allowed(node):
    """What a node's policy allows: full names by (topics or services, what may be done)."""
    root = ElementTree.parse(POLICIES / f"{node}.xml").getroot()
    (profile,) = root.iter("profile")
    namespace, name = profile.get("ns"), profile.get("node")
    (enclave,) = root.iter("enclave")
    assert enclave.get("path") == f"{namespace}/{name}"
    found = {}
    for group in profile:
        ((action, verdict),) = group.attrib.items()
        assert verdict == "ALLOW"
        found[group.tag, action] = {full(each.text, namespace, name) for each in group}
    return found


def full(name, namespace, node):
    if name.startswith("/"):
        return name
    return f"{namespace}/{node}/{name[2:]}" if name.startswith("~/") else f"{namespace}/{name}"


@pytest.fixture(scope="module")
def robot(module_site, node_bundle, picture_folder):
    common = {"bundle": str(node_bundle.path), "profile_s": 0.0}
    robot = module_site.robot(
        camera={"source": str(picture_folder), "loop": True},
        head=common, tail=common, planner={"bundle": str(node_bundle.path), "mode": "measured"},
    )  # fmt: skip
    robot.start(*NODES)
    for node in NODES:
        robot.wait(lambda node=node: robot.message(node), f"a sign of {node}")
    return robot


@pytest.mark.parametrize("node", NODES)
def test_a_node_opens_what_its_policy_allows(robot, node):
    namespace, _, name = robot.name(node).rpartition("/")
    graph = robot.observer.node
    opened = {
        ("topics", "publish"): graph.get_publisher_names_and_types_by_node,
        ("topics", "subscribe"): graph.get_subscriber_names_and_types_by_node,
        ("services", "reply"): graph.get_service_names_and_types_by_node,
    }
    policy = allowed(node)
    for kind, ask in opened.items():
        names = {each for each, _ in ask(name, namespace)}
        lacking = {n for n in names if not any(fnmatch.fnmatch(n, p) for p in policy[kind])}
        assert not lacking, f"{node}: its policy lacks {kind}"
        if kind[0] == "topics":
            unused = policy[kind] - names - SOMETIMES
            assert not unused, f"{node}: its policy allows what it does not need"
