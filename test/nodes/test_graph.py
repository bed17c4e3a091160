"""The graph of a running system: senders fit their listeners, viewers and managers find theirs."""

import importlib
import json
import re

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

from codesign_ros.nodes.interface import qos
from codesign_ros.resources import resource_path

pytest_plugins = ("support.ros",)

NODES = ("planner", "tail", "head", "camera")
# What people's own tools take part in beside: a listener to each of these.
WATCHED = ((Image, "overlay"), (CompressedImage, "overlay/compressed"))


@pytest.fixture(scope="module", params=["compressed", "raw"])
def system(request, another_site, node_bundle, picture_folder):
    """All four nodes at work, under one transport and then under the other, each in a domain."""
    with another_site() as site:
        yield started(site, request.param, node_bundle, picture_folder)


def started(site, transport, node_bundle, picture_folder):
    """All four nodes, once they answer frames."""
    bundle = {"bundle": str(node_bundle.path), "profile_s": 0.05}
    images = {"image_transport": transport}
    robot = site.robot(
        f"/{transport}",
        camera={"source": str(picture_folder), "loop": True, **images},
        head={**bundle, **images},
        tail=bundle,
        planner={"bundle": bundle["bundle"]},
    )
    robot.start(*NODES)
    for kind, topic in WATCHED:
        robot.listen(kind, topic)
    for node in NODES:
        robot.wait_for_state(node, "active")
    robot.wait(lambda: robot.results, "results")
    return robot


def every_pair(node):
    """(topic, sender, listener) of every pair in the graph."""
    for topic, _ in node.get_topic_names_and_types():
        for sender in node.get_publishers_info_by_topic(topic):
            for listener in node.get_subscriptions_info_by_topic(topic):
                yield topic, sender, listener


def misfits(node):
    """What `ros2 doctor` complains of: pairs that do not hear each other, or of other types."""
    found = []
    for topic, sender, listener in every_pair(node):
        fits, why = qos_check_compatible(sender.qos_profile, listener.qos_profile)
        if fits != QoSCompatibility.OK or sender.topic_type != listener.topic_type:
            pair = f"{sender.node_name} -> {listener.node_name}"
            found.append(f"{topic}, {pair}: {why} {sender.topic_type} {listener.topic_type}")
    return found


def test_who_sends_fits_who_listens(system):
    node, own = system.observer.node, system.namespace
    ways = {
        (own, "result", "head", "observer"),
        (own, "result", "head", "camera"),
        (own, "embedding", "head", "tail"),
        (own, "result/remote", "tail", "head"),
        (own, "overlay", "head", "observer"),
        (own, "overlay/compressed", "head", "observer"),
        ("/codesign", "plan", "planner", "observer"),
        ("/codesign", "devices", "head", "planner"),
        ("/codesign", "heartbeat", "tail", "planner"),
    }  # fmt: skip

    def are_there():
        pairs = {(t, s.node_name, e.node_name) for t, s, e in every_pair(node)}
        images = any(t.startswith(f"{own}/image_raw") and e == "head" for t, _, e in pairs)
        return images and pairs >= {(f"{a}/{b}", *ends) for a, b, *ends in ways}

    system.wait(are_there, "every pair")
    assert not misfits(node)
    # One that does not fit is found.
    late = QoSProfile(depth=1, reliability=qos.RELIABLE, durability=qos.TRANSIENT_LOCAL)
    listener = node.listen(Image, f"{own}/overlay", print, late)
    system.wait(lambda: misfits(node), "the pair that does not fit")
    assert all("overlay, head -> observer" in line for line in misfits(node))
    node.withdraw([listener])
    system.wait(lambda: not misfits(node), "the listener to leave")


def texts(content, key):
    """All values of a key in nested JSON."""
    if isinstance(content, dict):
        for name, value in content.items():
            if name == key:
                yield value
            yield from texts(value, key)
    elif isinstance(content, list):
        for each in content:
            yield from texts(each, key)


def panels_of(layout):
    """Names of the panels that a layout shows."""
    if isinstance(layout, str):
        return [layout]
    return [*panels_of(layout["first"]), *panels_of(layout["second"])]


def test_the_layout_for_foxglove_shows_what_is_there(system):
    """Its topics are published, and its paths are fields of their messages."""
    layout = json.loads((resource_path("config") / "foxglove_layout.json").read_text())
    panels = layout["configById"]
    assert sorted(panels_of(layout["layout"])) == sorted(panels)
    paths = [path for key in ("value", "topicPath", "topicToRender") for path in texts(panels, key)]
    pictures = list(texts(panels, "imageTopic"))
    assert len(paths) > 8
    assert pictures

    def types():
        names = dict(system.observer.node.get_topic_names_and_types())
        return {name.replace(system.namespace, "/robot", 1): kinds for name, kinds in names.items()}

    for path in paths + pictures:
        plain = re.sub(r"\{[^}]*\}", "", path)
        topic, *fields = plain.split(".")
        system.wait(lambda topic=topic: topic in types(), topic)
        (kind,) = types()[topic]
        if path in pictures:
            assert kind == "sensor_msgs/msg/CompressedImage"
        names = [*fields, *re.findall(r"\{(\w+)==", path)]
        package, _, name = kind.split("/")
        known = getattr(importlib.import_module(f"{package}.msg"), name)
        for field in names:
            assert field in known.get_fields_and_field_types(), path


def test_services_as_others_call_them(system):
    found = dict(system.observer.node.get_service_names_and_types())
    assert found[f"{system.namespace}/head/enable"] == ["std_srvs/srv/SetBool"]
    assert system.call(SetBool, "head/enable", data=True).success


def test_a_manager_of_lifecycle_nodes(site, node_bundle, picture_folder):
    """As nav2_lifecycle_manager does it: a transition of all nodes in order before the next one,
    down in the reverse order, each state asked for."""
    common = {"autostart": False}
    bundle = {"bundle": str(node_bundle.path), "profile_s": 0.05, **common}
    robot = site.robot(
        camera={"source": str(picture_folder), "loop": True, **common},
        head=bundle,
        tail=bundle,
        planner={"bundle": bundle["bundle"], **common},
    )
    robot.start(*NODES)

    def change(node, transition, state):
        name = robot.name(node)
        wanted = Transition(id=transition)
        assert robot.call(ChangeState, f"{name}/change_state", transition=wanted).success
        assert robot.call(GetState, f"{name}/get_state").current_state.id == state

    for node in NODES:
        change(node, Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE)
    for node in NODES:
        change(node, Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE)
    robot.wait(lambda: robot.results, "results")
    for transition, state in (
        (Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE),
        (Transition.TRANSITION_CLEANUP, State.PRIMARY_STATE_UNCONFIGURED),
        (Transition.TRANSITION_UNCONFIGURED_SHUTDOWN, State.PRIMARY_STATE_FINALIZED),
    ):
        for node in reversed(NODES):
            change(node, transition, state)
