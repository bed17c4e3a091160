"""How nodes are wired: what can be overridden, what callbacks may raise, what is let go of."""

import pytest
import rclpy
from rcl_interfaces.srv import ListParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import NodeNameNonExistentError
from rclpy.signals import SignalHandlerOptions

from codesign_ros.msg import Plan as PlanMsg
from codesign_ros.nodes.base import CodesignNode
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.vision_messages import vision
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.runtime.device import Device, Role
from codesign_ros.srv import CommitPlan
from codesign_ros.types import CodesignError
from support.fake_device import fake_devices
from support.planner import profile

pytest_plugins = ("support.ros",)

# Topics that rclpy makes in every node, and that of a lifecycle node.
_NOT_OURS = ("/rosout", "/parameter_events", "/transition_event")
POLICIES = ("history", "depth", "reliability", "durability")
# What each node sends and hears.
DIAGNOSTICS = ("/diagnostics.publisher",)
DEVICE = (*DIAGNOSTICS, "/codesign/devices.publisher", "/codesign/heartbeat.publisher")
ENDPOINTS = {
    "camera": (
        *DIAGNOSTICS,
        "/robot/image_raw/compressed.publisher",
        "/robot/ground_truth.publisher",
        "/robot/result.subscription",
    ),
    "head": (
        *DEVICE,
        "/robot/image_raw/compressed.subscription",
        "/robot/embedding.publisher",
        "/robot/result/remote.subscription",
        "/robot/result.publisher",
        "/robot/overlay.publisher",
        *(["/robot/detections.publisher"] if vision else []),
    ),
    "tail": (*DEVICE, "/robot/embedding.subscription", "/robot/result/remote.publisher"),
    "planner": (
        *DIAGNOSTICS,
        "/codesign/plan.publisher",
        "/codesign/devices.subscription",
        "/codesign/heartbeat.subscription",
    ),
}


def endpoints_in_graph(node, name):
    """Publishers and subscriptions of a node as others see them, e.g. /result.publisher."""
    namespace, _, name = name.rpartition("/")
    try:
        published = node.get_publisher_names_and_types_by_node(name, namespace)
        heard = node.get_subscriber_names_and_types_by_node(name, namespace)
    except NodeNameNonExistentError:
        return set()
    return {
        f"{topic}.{kind}"
        for kind, topics in (("publisher", published), ("subscription", heard))
        for topic, _ in topics
        if not topic.endswith(_NOT_OURS)
    }


def test_every_topic_of_every_node_can_be_overridden(site, node_bundle, picture_folder):
    bundle = {"bundle": str(node_bundle.path), "profile_s": 0.05}
    robot = site.robot(
        camera={"source": str(picture_folder), "pacing": "rate"},
        head=bundle,
        tail=bundle,
        planner={"bundle": str(node_bundle.path)},
    )
    robot.start(*ENDPOINTS)
    for node, endpoints in ENDPOINTS.items():
        name = robot.name(node)
        robot.wait_for_state(node, "active")
        robot.wait(
            lambda name=name, endpoints=endpoints: (
                endpoints_in_graph(robot.observer.node, name) >= set(endpoints)
            ),
            f"the topics of {node}",
        )
        # None but those, so that a new topic is looked at here too.
        assert endpoints_in_graph(robot.observer.node, name) == set(endpoints)
        declared = robot.call(ListParameters, f"{name}/list_parameters").result.names
        for endpoint in endpoints:
            for policy in POLICIES:
                assert f"qos_overrides.{endpoint}.{policy}" in declared
    for topic in ("/codesign/plan", "/diagnostics", "/robot/result", "/robot/ground_truth"):
        for policy in POLICIES:
            parameter = f"qos_overrides.{topic}.subscription.{policy}"
            assert robot.observer.node.has_parameter(parameter)


def head_of(bundle, robot):
    return Device(
        robot=robot,
        node=f"{robot}/head",
        role=Role.HEAD,
        state="active",
        model_id=bundle.model_id,
        profile=profile(bundle, 0.1, "head"),
    )


@pytest.mark.parametrize(("depth", "kept"), [(None, 2), (1, 1)])
def test_depth_of_plans_takes_effect(site, node_bundle, depth, kept):
    """Who comes late hears as many of the plans in force as the planner was told to keep."""
    override = {"qos_overrides./codesign/plan.publisher.depth": depth} if depth else {}
    robot = site.robot("/one", planner={"bundle": str(node_bundle.path), **override})
    robot.start("planner")
    heads = [head_of(node_bundle, name) for name in ("/one", "/two")]
    with fake_devices(site.domain, *heads):
        names = {head.robot for head in heads}
        robot.wait(
            lambda: {f"plan {name}" for name in names} <= robot.values("planner").keys(),
            "a plan for each robot",
        )
        heard = []
        robot.observer.node.listen(PlanMsg, "/codesign/plan", heard.append, qos.state(depth=16))
        robot.wait(lambda: heard, "a plan")
        # What was kept comes before what is new.
        robot.observer.set_parameter("/codesign/planner", "lambda_1", 0.5)
        robot.wait(lambda: {plan.robot for plan in heard if plan.lambda_1 == 0.5} == names, "news")
        assert len({plan.robot for plan in heard if plan.lambda_1 != 0.5}) == kept
    robot.wait(lambda: "device /two/head" not in robot.values("planner"), "their leave")


@pytest.fixture
def ros(site):
    """ROS in this process, with one parameter that is wrong."""
    rclpy.init(
        args=["--ros-args", "-p", "qos_overrides./second.subscription.reliability:=maybe"],
        domain_id=site.domain,
        signal_handler_options=SignalHandlerOptions.NO,
    )
    yield
    rclpy.shutdown()


def spin_until(executor, condition):
    for _ in range(1000):
        if condition():
            return
        executor.spin_once(timeout_sec=0.05)
    pytest.fail("waited in vain")


@pytest.mark.usefixtures("ros")
def test_what_callbacks_raise():
    node = WiredNode("wired")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    calls, errors = [], []

    def work(*given):
        calls.append(given)
        if errors:
            raise errors[-1]

    node.listen(PlanMsg, "news", work, qos.state())
    node.serve(CommitPlan, "commit", work)
    publisher = node.advertise(PlanMsg, "news", qos.state())
    client = node.client(CommitPlan, "commit")
    assert node.client(CommitPlan, "commit") is client
    spin_until(executor, lambda: publisher.get_subscription_count() and client.service_is_ready())

    def ask():
        future = client.call_async(CommitPlan.Request())
        spin_until(executor, future.done)
        return future.result().ok, future.result().message

    def tell():
        count = len(calls)
        publisher.publish(PlanMsg())
        spin_until(executor, lambda: len(calls) > count)

    assert ask() == (True, "")
    tell()
    errors.append(CodesignError("not like that"))
    assert ask() == (False, "not like that")
    tell()
    assert node.failure is None
    defect = "unexpected ValueError: nobody thought of this"
    errors.append(ValueError("nobody thought of this"))
    assert ask() == (False, defect)
    assert node.failure is None
    tell()
    assert node.failure == defect

    node.failure = None
    node.every(0.01, lambda: work("timer"))
    spin_until(executor, lambda: node.failure == defect)
    assert calls[-1] == ("timer",)
    executor.shutdown()
    node.destroy_node()


class Careless(CodesignNode):
    """Gets half of what it needs, and then finds that the rest cannot be had."""

    def configure(self):
        self.advertise(PlanMsg, "first", qos.result())
        self.listen(PlanMsg, "second", print, qos.result())


@pytest.mark.usefixtures("ros")
def test_a_failed_configure_leaves_no_topics():
    node = Careless("careless", ())
    node.trigger_configure()
    assert node.failure.startswith("topic second, parameters qos_overrides.*: ")
    assert "`maybe`" in node.failure
    assert node.state_label == "unconfigured"
    assert node.listeners().keys() == {"/diagnostics"}
    node.destroy_node()
