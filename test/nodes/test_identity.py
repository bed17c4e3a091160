"""Several nodes in a place for one: no wrong answer, a loud line on all sides, one that serves."""

import itertools
import signal
import threading

import cv2
import pytest
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import open_backend
from codesign_ros.msg import Plan as PlanMsg
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.messages import ns_to_time
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.runtime.answers import classified
from codesign_ros.runtime.messages import Status

pytest_plugins = ("support.ros",)

NODES = ("planner", "tail", "head")
FRAME_PERIOD_S = 0.25


class Feeder:
    """Sends pictures to whatever head is there, all the time, and checks every answer."""

    def __init__(self, robot, bundle, factory, pictures):
        self.robot = robot
        self.sent = {}
        whole = factory.build(EngineKey("head", bundle.last_cut))
        self._labels, self._data = [], []
        for picture in pictures:
            image = letterbox(picture, bundle.input)
            outputs = whole.run({"image": image})
            self._labels.append(classified(*outputs.values(), bundle.classes).label)
            _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            self._data.append(data.tobytes())
        node = robot.observer.node
        self._clock = node.get_clock()
        self._images = node.create_publisher(
            CompressedImage, f"{robot.namespace}/image_raw/compressed", qos.result()
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._feed)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()

    def _feed(self):
        for picture in itertools.cycle(range(len(self._data))):
            if self._stopping.wait(FRAME_PERIOD_S):
                return
            stamp_ns = self._clock.now().nanoseconds
            self.sent[stamp_ns] = picture
            header = Header(stamp=ns_to_time(stamp_ns), frame_id="front")
            self._images.publish(
                CompressedImage(header=header, format="png", data=self._data[picture])
            )

    def wait_until_served(self, what):
        """Wait for frames that were sent from now on and came back from the server."""
        newest = max(self.sent, default=0)

        def is_served():
            late = [r for r in self.robot.results if r.stamp.stamp_ns > newest]
            return sum(r.finished_by == "server" for r in late) >= 5

        self.robot.wait(is_served, f"frames by the server {what}")

    def check(self):
        """Every answer is the right one."""
        results = self.robot.results
        assert results
        for result in results:
            if result.status is Status.OK:
                assert result.label == self._labels[self.sent[result.stamp.stamp_ns]]

    def doubled_after(self, stamp_ns):
        """Frames that have several results, of those sent after one."""
        stamps = [r.stamp.stamp_ns for r in self.robot.results if r.stamp.stamp_ns > stamp_ns]
        return len(stamps) - len(set(stamps))


@pytest.fixture
def pair(site, node_bundle):
    """Twice the same robot, so that each of its nodes can be started twice."""
    common = {"bundle": str(node_bundle.path), "profile_s": 0.05}
    overrides = {
        "head": {
            **common,
            # So slow that the server wins.
            "emulation.slowdown": 200.0,
            "image_reliability": "reliable",
            "deadline_s": 20.0,
        },
        "tail": common,
        "planner": {
            "bundle": common["bundle"],
            "codecs": ["raw"],
            "frame_codecs": ["raw"],
            "correct": False,
        },
    }
    first, second = site.robot(**overrides), site.robot(**overrides)
    first.start(*NODES)
    first.wait_for_plan("with the server", lambda plan: plan.served_by == "/robot/tail")
    first.wait_for_listeners("head", "result", 2)
    return first, second


@pytest.fixture
def feeder(pair, node_bundle, engine_cache, pictures):
    factory = open_backend(node_bundle, cache_dir=engine_cache)
    with Feeder(pair[0], node_bundle, factory, pictures) as feeder:
        feeder.wait_until_served("at first")
        yield feeder
    feeder.check()


def log_of(robot, node):
    path = robot.processes.log(node)
    return path.read_text() if path.exists() else ""


def end(robot, node):
    """End one node as a user does."""
    robot.processes.send(node, signal.SIGINT)
    robot._started.discard(node)


@pytest.mark.parametrize("node", NODES)
def test_of_two_the_one_that_started_last_serves_and_all_say_so(pair, feeder, node):
    first, second = pair
    second.start(node)
    where = "" if node == "planner" else " in /robot"
    line = f"2 {node}s{where}: "
    second.wait(lambda: f"{line}this one (" in log_of(second, node), "the second to say so")
    first.wait(lambda: f"{line}/" in log_of(first, node), "the first to say so")
    if node == "planner":
        for other in ("head", "tail"):
            first.wait(lambda other=other: line in log_of(first, other), f"{other} to say so")
    else:
        said = f"two nodes are named /robot/{node}; the one that started last serves"
        first.wait(lambda: said in log_of(first, "planner"), "the planner to say so")
        first.wait_for_message("planner", said)
    first.wait_for_message(node, line)
    feeder.wait_until_served("with two")
    settled = max(feeder.sent)
    feeder.wait_until_served("with two, some time later")
    assert feeder.doubled_after(settled) == 0

    end(second, node)
    feeder.wait_until_served("after the second has gone")

    def is_alone():
        # Before the two had heard of each other, a tail may have refused what was for the other.
        message = first.message(node)
        return message.startswith("active") and line not in message

    first.wait(is_alone, "the first to be alone")


@pytest.mark.parametrize("node", NODES)
def test_rolling_restarts(pair, feeder, node, request):
    """The new one first, then the old one ends; again and again."""
    old, new = pair
    first = pair[0]
    for _ in range(10 if request.config.getoption("--every-combination") else 2):
        new.start(node)
        new.wait(lambda new=new: "this one (" in log_of(new, node), "the new one to hear the old")
        end(old, node)
        new.wait(
            lambda new=new: "nobody else is in this place" in log_of(new, node),
            "the new one to be alone",
        )
        feeder.wait_until_served("by the new one")
        old, new = new, old
    first.wait_for_state("planner", "active")


def test_a_planner_that_was_killed_is_followed_by_one_that_counts_on(pair, feeder):
    first, _ = pair
    before = first.plan.epoch
    first.kill("planner")
    first.start("planner")
    plan = first.wait_for_plan("by the new planner", lambda plan: plan.epoch > before)
    assert plan.planner > first.plans[0].planner
    feeder.wait_until_served("after the planner's restart")


def test_who_comes_late_hears_the_plans_in_force_and_none_else(pair):
    first, _ = pair
    for number in range(1, 4):
        before = first.plan.epoch
        first.observer.set_parameter("/codesign/planner", "lambda_1", 0.1 * number)
        first.wait_for_plan("of a higher epoch", lambda plan, e=before: plan.epoch > e)
    heard = []
    first.observer.node.listen(PlanMsg, "/codesign/plan", heard.append, qos.state(depth=100))
    first.wait(lambda: heard, "a plan")
    # What was kept comes before what is new.
    first.observer.set_parameter("/codesign/planner", "lambda_1", 0.7)
    newest = first.wait_for_plan("of the last change", lambda plan: plan.lambda_1 == 0.7)
    first.wait(lambda: heard[-1].epoch == newest.epoch, "the news")
    in_force = first.plans[-2]
    assert [plan.epoch for plan in heard] == [in_force.epoch, newest.epoch]
