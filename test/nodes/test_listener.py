"""The node that only listens, beside real nodes; what `codesign top` and `doctor` make of it."""

import contextlib
import json

import pytest

from codesign_ros.cli.main import main
from codesign_ros.msg import InferenceResult
from codesign_ros.nodes.watching.listener import Listener
from codesign_ros.runtime.device import Device, Heartbeat
from codesign_ros.runtime.messages import Result
from codesign_ros.runtime.news import NodeStatus, SaidVersion, Unreadable
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

pytest_plugins = ["support.ros"]

NODES = ("camera", "head", "tail", "planner")


@pytest.fixture(scope="module")
def robot(module_site, node_bundle, picture_folder):
    bundle = {"bundle": str(node_bundle.path), "profile_s": 0.2}
    robot = module_site.robot(
        head=bundle,
        tail=bundle,
        planner={"bundle": str(node_bundle.path)},
        camera={"source": str(picture_folder), "loop": True, "pacing": "rate", "rate_hz": 5.0},
    )
    robot.start("planner", "tail", "head", "camera")
    robot.wait(lambda: len(robot.results) > 3, "results")
    return robot


@pytest.fixture
def domain(robot, module_site, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(module_site.domain))


def test_everything_is_heard_and_everybody_found(robot, domain):
    kinds = {Device, Heartbeat, NodeStatus, Plan, Result, SaidVersion}
    heard = []
    with contextlib.closing(Listener("test_listener")) as listener:

        def all_there():
            listener.follow_results()
            heard.extend(listener.news())
            nodes = set(listener.graph().nodes)
            return kinds <= {type(news.what) for news in heard} and nodes >= {
                robot.name(node) for node in NODES
            }

        robot.wait(all_there, "everything to be heard")
        graph = listener.graph()
    assert not graph.mismatches
    versions = {news.what.node: news.what for news in heard if isinstance(news.what, SaidVersion)}
    assert versions[robot.name("tail")].interface == graph.own_version.interface
    assert graph.middleware
    devices = {each.node for each in graph.endpoints if each.topic == "/codesign/devices"}
    assert robot.name("head") in devices
    assert all(
        each.type_hash == graph.own_hashes[each.message]
        for each in graph.endpoints
        if each.message in graph.own_hashes and each.type_hash
    )


def test_a_message_that_is_refused_is_news_and_no_line_in_the_log(robot, domain, capfd):
    """Before it is read, for its length, as a foreign version's may be; and for what it says."""
    topic = f"{robot.namespace}/forged"
    forged = robot.observer.node.create_publisher(InferenceResult, topic, 10)
    too_long, unknown = InferenceResult(reason="x" * 5000), InferenceResult(status=99)
    with contextlib.closing(Listener("test_listener")) as listener:
        whys = []

        def both_refused():
            listener.follow_results()
            for msg in (too_long, unknown):
                forged.publish(msg)
            whys.extend(
                news.what.why
                for news in listener.news()
                if isinstance(news.what, Unreadable) and news.topic == topic
            )
            return all(any(text in why for why in whys) for text in ("at most", "unknown status"))

        robot.wait(both_refused, "both to be refused")
    robot.observer.node.destroy_publisher(forged)
    assert "ignored a message" not in capfd.readouterr().err


def test_a_domain_that_is_none(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "robot")
    with pytest.raises(CodesignError, match="ROS_DOMAIN_ID is 'robot', which is no domain"):
        Listener("test_listener")


def test_top_looks_once(robot, domain, capfd):
    seen = {}

    def shows_all():
        # A look is short, and a busy machine may not find all nodes in one, or none (status 1).
        status = main(["top", "--once", "--json"])
        seen.update(json.loads(capfd.readouterr().out))
        assert status == (0 if seen["nodes"] else 1)
        return {node["node"] for node in seen["nodes"]} == {robot.name(node) for node in NODES}

    robot.wait(shows_all, "all nodes in one look")
    (state,) = seen["robots"]
    assert state["robot"] == robot.namespace


def test_the_doctor_finds_all(robot, domain, node_bundle, capfd):
    arguments = ["--bundle", str(node_bundle.path), "--expect", *NODES]
    main(["doctor", "--json", "--seconds", "5", *arguments])
    checks = {each["check"]: each for each in json.loads(capfd.readouterr().out)["checks"]}
    assert robot.name("tail") in checks["node versions"]["found"]
    for name in (
        "discovery",
        "messages",
        "names",
        "node versions",
        "definitions",
        "topics",
        "bundles",
        "clocks",
    ):
        assert checks[name]["verdict"] == "OK", checks[name]
