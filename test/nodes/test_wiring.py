"""How nodes are wired: what can be overridden, what callbacks may raise, what is let go of."""

import importlib.util
import os
import signal
import sys
import threading
import time

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import ListParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.node import NodeNameNonExistentError
from rclpy.signals import SignalHandlerOptions

from codesign_ros.msg import Plan as PlanMsg
from codesign_ros.nodes import process
from codesign_ros.nodes.base import CodesignNode
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.vision_messages import vision
from codesign_ros.nodes.loop import Loop, make_executor
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.runtime.device import Device, Role
from codesign_ros.srv import CommitPlan
from codesign_ros.types.errors import CodesignError
from support.fake_device import fake_devices
from support.planner import profile

pytest_plugins = ("support.ros",)

# Only a defect makes a test wait so long, on a busy machine too [s].
PATIENCE_S = 90.0
HAS_EVENTS = importlib.util.find_spec("rclpy.experimental.events_executor") is not None
# Topics that rclpy makes in every node, and that of a lifecycle node.
_NOT_OURS = ("/rosout", "/parameter_events", "/transition_event")
POLICIES = ("history", "depth", "reliability", "durability")
# What each node sends and hears.
DIAGNOSTICS = ("/diagnostics.publisher",)
DEVICE = (
    *DIAGNOSTICS,
    "/codesign/devices.publisher",
    "/codesign/heartbeat.publisher",
    "/codesign/device_versions.publisher",
    "/codesign/planner_version.subscription",
    "/codesign/presence.subscription",
    "/robot/presence.publisher",
    "/robot/presence.subscription",
)
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
        "/robot/overlay/compressed.publisher",
        *(["/robot/detections.publisher"] if vision else []),
    ),
    "tail": (*DEVICE, "/robot/embedding.subscription", "/robot/result/remote.publisher"),
    "planner": (
        *DIAGNOSTICS,
        "/codesign/plan.publisher",
        "/codesign/devices.subscription",
        "/codesign/heartbeat.subscription",
        "/codesign/device_versions.subscription",
        "/codesign/planner_version.publisher",
        "/codesign/presence.publisher",
        "/codesign/presence.subscription",
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
        # So that it listens to results too.
        camera={"source": str(picture_folder), "pacing": "window"},
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


def test_who_comes_late_hears_one_plan_a_robot(site, node_bundle):
    robot = site.robot("/one", planner={"bundle": str(node_bundle.path)})
    robot.start("planner")
    heads = [head_of(node_bundle, name) for name in ("/one", "/two")]
    with fake_devices(site.domain, *heads):
        names = {head.robot for head in heads}
        robot.wait(
            lambda: {f"plan {name}" for name in names} <= robot.values("planner").keys(),
            "a plan for each robot",
        )
        # Plans of one robot take no other's place, however many there are.
        for number in range(20):
            last = 0.5 * number
            robot.observer.set_parameter("/codesign/planner", "lambda_1", last)

        def are_newest():
            values = robot.values("planner")
            return all(f"set to {last}" in values.get(f"plan {name}", "") for name in names)

        robot.wait(are_newest, "the last plan of each robot")
        heard = []
        robot.observer.node.listen(PlanMsg, "/codesign/plan", heard.append, qos.state(depth=16))
        robot.wait(lambda: heard, "a plan")
        # What was kept comes before what is new.
        robot.observer.set_parameter("/codesign/planner", "lambda_1", 11.5)
        robot.wait(lambda: {plan.robot for plan in heard if plan.lambda_1 == 11.5} == names, "news")
        kept = [plan for plan in heard if plan.lambda_1 != 11.5]
        assert {plan.robot for plan in kept} == names
        assert len(kept) == len(names)
        assert {plan.lambda_1 for plan in kept} == {last}
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


def wait_until(condition):
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_s, "waited in vain"
        time.sleep(0.005)


@pytest.fixture(params=["events", "wait set"])
def running(request, ros, monkeypatch):
    """What runs nodes of this process with either kind of executor, until the test ends."""
    if request.param == "wait set":
        monkeypatch.setitem(sys.modules, "rclpy.experimental.events_executor", None)
    elif not HAS_EVENTS:
        pytest.skip("this rclpy has no events executor")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    executor = make_executor()
    # The events executor took them.
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert isinstance(executor, SingleThreadedExecutor) is (request.param == "wait set")
    ended = []
    loop = Loop(executor, rclpy.get_default_context(), ended.append)
    nodes = []

    def run(*given):
        nodes.extend(given)
        loop.start(given)
        for node in given:
            node.chores.start()
        return loop

    yield run
    loop.stop(nodes, PATIENCE_S)
    for node in nodes:
        node.destroy_node()
    assert not ended


def test_what_callbacks_raise(running):
    node = WiredNode("wired")
    running(node)
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
    wait_until(lambda: publisher.get_subscription_count() and client.service_is_ready())

    def ask():
        future = client.call_async(CommitPlan.Request())
        wait_until(future.done)
        return future.result().ok, future.result().message

    def tell():
        count = len(calls)
        publisher.publish(PlanMsg())
        wait_until(lambda: len(calls) > count)

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
    wait_until(lambda: node.failure == defect)

    node.failure = None
    node.every(0.01, lambda: work("chore"))
    wait_until(lambda: node.failure == defect)
    assert calls[-1] == ("chore",)


def test_frames_wait_for_no_service(running):
    """While a service is at work, messages are heard, chores done, and entities made."""
    node = WiredNode("busy")
    running(node)
    goes_on, heard, chores = threading.Event(), [], []
    node.serve(CommitPlan, "slow", lambda *_: goes_on.wait(PATIENCE_S))
    node.every(0.01, lambda: chores.append(1))
    client = node.client(CommitPlan, "slow")
    wait_until(client.service_is_ready)
    future = client.call_async(CommitPlan.Request())
    node.listen(PlanMsg, "frames", heard.append, qos.result())
    publisher = node.advertise(PlanMsg, "frames", qos.result())
    wait_until(publisher.get_subscription_count)
    count = len(chores)
    publisher.publish(PlanMsg())
    wait_until(lambda: heard and len(chores) > count)
    assert not future.done()
    goes_on.set()
    wait_until(future.done)
    assert future.result().ok


class Slow(CodesignNode):
    """Takes as long for its transitions as it is told to."""

    def __init__(self, goes_on):
        super().__init__("slow", ())
        self.goes_on = goes_on

    def configure(self):
        self.advertise(PlanMsg, "frames", qos.result())
        self.goes_on.wait(PATIENCE_S)


def test_transitions_are_made_beside_the_callbacks(running):
    """`ros2 lifecycle` of one node takes its time; the other node of the process hears meanwhile,
    and the transition is answered when it is over."""
    goes_on, heard = threading.Event(), []
    slow, other = Slow(goes_on), WiredNode("other")
    running(slow, other)
    other.listen(PlanMsg, "news", heard.append, qos.result())
    publisher = other.advertise(PlanMsg, "news", qos.result())
    change = other.client(ChangeState, "slow/change_state")
    state = other.client(GetState, "slow/get_state")
    wait_until(
        lambda: (
            publisher.get_subscription_count()
            and change.service_is_ready()
            and state.service_is_ready()
        )
    )
    configure = Transition(id=Transition.TRANSITION_CONFIGURE)
    done = change.call_async(ChangeState.Request(transition=configure))
    wait_until(lambda: "frames" in slow.listeners())
    publisher.publish(PlanMsg())
    asked = state.call_async(GetState.Request())
    wait_until(lambda: heard and asked.done())
    assert asked.result().current_state.label == "configuring"
    assert not done.done()
    goes_on.set()
    wait_until(done.done)
    assert done.result().success
    assert slow.state_label == "inactive"


def raises(node, transition):
    """As rclpy does before its pull request 1319, instead of refusing what the state forbids."""
    raise rclpy_implementation.RCLError(f"Transition {transition} is not registered.")


def test_a_transition_that_the_state_does_not_allow_ends_no_node(running, monkeypatch):
    monkeypatch.setattr(LifecycleNode, "_LifecycleNodeMixin__change_state", raises)
    node, other = Slow(threading.Event()), WiredNode("other")
    running(node, other)
    change = other.client(ChangeState, "slow/change_state")
    wait_until(change.service_is_ready)
    activate = Transition(id=Transition.TRANSITION_ACTIVATE)
    done = change.call_async(ChangeState.Request(transition=activate))
    wait_until(done.done)
    assert not done.result().success
    assert node.failure is None


def test_a_manager_that_is_quicker_than_autostart_ends_no_node(running):
    """Its `activate` comes while the node configures itself, so that the node's own is refused."""
    goes_on = threading.Event()
    slow = Slow(goes_on)
    running(slow)
    starting = threading.Thread(target=process._start, args=([slow], process.Interruption()))
    starting.start()
    wait_until(lambda: "frames" in slow.listeners())
    activated = slow.change(slow.trigger_activate)
    goes_on.set()
    starting.join(PATIENCE_S)
    assert activated.result() is TransitionCallbackReturn.SUCCESS
    assert slow.state_label == "active"
    assert not slow.done.is_set()


def test_topics_come_and_go_while_messages_arrive(running):
    """Entities with event handlers are destroyed under a running executor, again and again."""
    node = WiredNode("restless")
    running(node)
    heard = []
    publisher = node.advertise(PlanMsg, "news", qos.state())
    node.keep()
    node.advertise(PlanMsg, "lasting", qos.state(), lasts=True)
    node.every(0.001, lambda: publisher.publish(PlanMsg()))
    for _ in range(40):
        node.listen(PlanMsg, "news", heard.append, qos.state())
        node.advertise(PlanMsg, "other", qos.state())
        count = len(heard)
        wait_until(lambda count=count: len(heard) > count)
        node.disconnect()
    assert node.listeners().keys() == {"news", "lasting"}
    assert node.failure is None


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


@pytest.mark.parametrize("executor", ["events", "wait set"])
def test_process_by_either_executor(site, tmp_path, monkeypatch, executor, node_bundle):
    """A process where rclpy has no events executor starts, answers and ends like any other."""
    if executor == "wait set":
        hidden = "import sys\nsys.modules['rclpy.experimental.events_executor'] = None\n"
        (tmp_path / "sitecustomize.py").write_text(hidden)
        path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
        monkeypatch.setitem(site.environment, "PYTHONPATH", os.pathsep.join(path))
    robot = site.robot(head={"bundle": str(node_bundle.path), "profile_s": 0.0})
    robot.start("head")
    robot.wait_for_state("head", "active")
    for transition, state in (("deactivate", "inactive"), ("activate", "active")):
        robot.observer.change_state(robot.name("head"), transition)
        robot.wait_for_state("head", state)
    robot.observer.set_parameter(robot.name("head"), "queue_depth", 5)
    assert not robot.call(CommitPlan, "head/commit_plan", epoch=7).ok
