"""What is heard of the nodes, as the doctor judges it."""

import math
from dataclasses import replace

import pytest

from codesign_ros.doctor import peers
from codesign_ros.doctor.finding import Verdict
from codesign_ros.doctor.peers import Heard
from codesign_ros.runtime.device import Device, Heartbeat, Role
from codesign_ros.runtime.messages import Result, Stamp
from codesign_ros.runtime.news import (
    Endpoint,
    Graph,
    Level,
    Mismatch,
    News,
    NodeStatus,
    SaidVersion,
    Unreadable,
)

OK, WARN, FAIL = Verdict
NODES = ("/codesign/planner", "/robot/camera", "/robot/head", "/robot/tail")
DEVICES = "codesign_ros/msg/DeviceProfile"
SECOND_NS = 1_000_000_000


def says(node, topic="/diagnostics", message="diagnostic_msgs/msg/DiagnosticArray", **more):
    return Endpoint(node, topic, True, message, **more)


def status(node, level=Level.OK, message="active"):
    return NodeStatus(node, level, message, {})


def news(what, off_s=0.0):
    """A message that was sent ``off_s`` later than it came, by the two clocks."""
    now_ns = 10**18
    return News(1.0, now_ns, now_ns + int(off_s * SECOND_NS), "/topic", what)


def device(node, model_id="abc"):
    role = Role.HEAD if node.endswith("head") else Role.TAIL
    robot = node.rpartition("/")[0]
    return Device(node=node, robot=robot, role=role, state="active", model_id=model_id)


@pytest.fixture
def sound():
    """All four nodes are there and say that they are well."""
    endpoints = [says(node) for node in NODES]
    endpoints += [
        says(node, "/codesign/devices", DEVICES, type_hash="h1")
        for node in ("/robot/head", "/robot/tail")
    ]
    graph = Graph(nodes=NODES, endpoints=tuple(endpoints), own_hashes={DEVICES: "h1"})
    heard = [news(status(node)) for node in NODES]
    heard += [news(device("/robot/head")), news(device("/robot/tail"))]
    return Heard(3.0, graph, heard)


def test_a_sound_system_has_nothing_to_change(sound):
    findings = [
        peers.discovery(sound, peers.ROLES),
        peers.messages_arrive(sound),
        peers.unreadable(sound),
        peers.names(sound),
        peers.versions(sound),
        peers.definitions(sound),
        peers.topics(sound),
        peers.bundles(sound, "abc"),
        peers.clocks(sound),
        peers.statuses(sound),
    ]
    assert {finding.verdict for finding in findings} == {OK}
    assert not [finding for finding in findings if finding.change]


def without(heard, node):
    endpoints = tuple(each for each in heard.graph.endpoints if each.node != node)
    graph = replace(heard.graph, endpoints=endpoints)
    return replace(heard, graph=graph)


def test_a_node_that_is_not_found(sound):
    alone = without(sound, "/robot/tail")
    assert peers.discovery(alone).verdict is WARN
    assert "no tail" in peers.discovery(alone).found
    assert peers.discovery(alone, ["head"]).verdict is WARN
    assert peers.discovery(alone, ["tail"]).verdict is FAIL
    assert peers.discovery(Heard(3.0, Graph(), [])).verdict is WARN


def test_a_node_of_another_package_is_none_of_ours(sound):
    other = Endpoint("/other/tail", "/x", True, "sensor_msgs/msg/Image")
    alone = without(sound, "/robot/tail")
    graph = replace(alone.graph, endpoints=(*alone.graph.endpoints, other))
    assert peers.discovery(replace(alone, graph=graph), ["tail"]).verdict is FAIL


def test_a_node_that_is_found_and_not_heard(sound):
    silent = [each for each in sound.news if getattr(each.what, "node", "") != "/robot/tail"]
    found = peers.messages_arrive(replace(sound, news=silent))
    assert (found.verdict, "/robot/tail" in found.found) == (FAIL, True)


def test_messages_that_make_no_sense(sound):
    odd = replace(sound, news=[*sound.news, news(Unreadable("that is no time"))])
    assert (peers.unreadable(odd).verdict, "no time" in peers.unreadable(odd).found) == (WARN, True)


def test_two_nodes_of_one_name(sound):
    graph = replace(sound.graph, endpoints=(*sound.graph.endpoints, says("/robot/head")))
    found = peers.names(replace(sound, graph=graph))
    assert (found.verdict, "/robot/head" in found.found) == (FAIL, True)


def test_nodes_of_which_only_publishers_arrive_are_not_one_node_twice(sound):
    unknown = [says("_NODE_NAMESPACE_UNKNOWN_/_NODE_NAME_UNKNOWN_")] * 2
    graph = replace(sound.graph, endpoints=(*sound.graph.endpoints, *unknown))
    found = peers.names(replace(sound, graph=graph))
    assert found.verdict is WARN
    assert found.found.startswith("2 nodes are announced")
    assert "--ipc=host" in found.change


def test_two_planners(sound):
    plans = [
        says(node, "/codesign/plan", "codesign_ros/msg/Plan")
        for node in ("/codesign/planner", "/other/planner")
    ]
    graph = replace(sound.graph, endpoints=(*sound.graph.endpoints, *plans))
    assert peers.names(replace(sound, graph=graph)).verdict is FAIL


def saying(heard, *versions):
    graph = replace(heard.graph, own_version=SaidVersion("/doctor", "0.1.0", "aaaaaaaa"))
    return replace(heard, graph=graph, news=[*heard.news, *map(news, versions)])


def test_nodes_of_another_version_are_named_with_theirs_and_ours(sound):
    head, tail = SaidVersion("/robot/head", "0.1.0", "aaaaaaaa"), "/robot/tail"
    found = peers.versions(saying(sound, head, SaidVersion(tail, "0.0.9", "bbbbbbbb")))
    assert found.verdict is FAIL
    assert found.found == (
        "this machine, /robot/head of codesign_ros 0.1.0 (aaaaaaaa), /robot/tail of 0.0.9 "
        "(bbbbbbbb): they do not understand each other"
    )
    # Another release with the same messages.
    assert peers.versions(saying(sound, head, SaidVersion(tail, "0.2.0", "aaaaaaaa"))).verdict is OK
    # It was updated since.
    old, new = SaidVersion(tail, "0.0.9", "bbbbbbbb"), SaidVersion(tail, "0.1.0", "aaaaaaaa")
    assert peers.versions(saying(sound, old, new)).verdict is OK


def test_another_version_of_the_messages(sound):
    graph = replace(sound.graph, own_hashes={DEVICES: "h2"})
    found = peers.definitions(replace(sound, graph=graph))
    assert found.verdict is FAIL
    assert DEVICES in found.found
    assert "/robot/head, /robot/tail" in found.found


def test_a_ros_that_tells_no_hashes(sound):
    endpoints = tuple(replace(each, type_hash="") for each in sound.graph.endpoints)
    graph = replace(sound.graph, endpoints=endpoints)
    assert peers.definitions(replace(sound, graph=graph)).verdict is OK


def test_quality_of_service_that_does_not_fit(sound):
    mismatch = Mismatch("/robot/image_raw", "/driver", "/robot/head", "reliability")
    found = peers.topics(replace(sound, graph=replace(sound.graph, mismatches=(mismatch,))))
    assert (found.verdict, "/robot/head cannot hear /driver" in found.found) == (FAIL, True)


def test_different_bundles(sound):
    odd = replace(sound, news=[*sound.news, news(device("/robot/tail", "other"))])
    assert peers.bundles(odd, "abc").verdict is FAIL
    # Two robots may have a network each.
    both = [news(device(f"/miner2/{part}", "other")) for part in ("head", "tail")]
    assert peers.bundles(replace(sound, news=[*sound.news, *both]), "abc").verdict is OK


def test_the_bundle_here_is_another(sound):
    assert peers.bundles(sound, "mine").verdict is WARN
    assert peers.bundles(sound, "mine", is_named=True).verdict is FAIL
    assert peers.bundles(sound, "").verdict is OK


@pytest.mark.parametrize(
    ("off_s", "verdict", "word"),
    [(0.0, OK, ""), (-0.3, OK, ""), (-30.0, WARN, "behind"), (3600.0, WARN, "ahead")],
)
def test_clocks(sound, off_s, verdict, word):
    beat = news(Heartbeat("/robot/tail"), off_s)
    others = [each for each in sound.news if getattr(each.what, "node", "") != "/robot/tail"]
    found = peers.clocks(replace(sound, news=[*others, beat]))
    assert (found.verdict, word in found.found) == (verdict, True)


def test_one_message_that_came_late_is_no_clock_that_is_off(sound):
    beats = [news(Heartbeat("/robot/tail"), -2.0), news(Heartbeat("/robot/tail"), -0.01)]
    assert peers.clocks(replace(sound, news=[*sound.news, *beats])).verdict is OK


@pytest.mark.parametrize("response_s", [1.8e9, math.nan])
def test_stamps_that_are_not_of_the_robots_clock(sound, response_s):
    result = Result(Stamp(1), 1, 1, response_s=response_s)
    found = peers.clocks(replace(sound, news=[*sound.news, news(result)]))
    assert (found.verdict, "response_s" in found.found) == (WARN, True)


@pytest.mark.parametrize(("level", "verdict"), [(Level.WARN, WARN), (Level.ERROR, FAIL)])
def test_what_nodes_say_of_themselves(sound, level, verdict):
    ill = news(status("/robot/head", level, "the robot computes alone: nobody listens"))
    found = peers.statuses(replace(sound, news=[*sound.news, ill]))
    assert (found.verdict, "computes alone" in found.found) == (verdict, True)
