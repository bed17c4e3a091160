"""One robot that is served while somebody in its DDS domain writes what he likes, in any name.

He has no node of the robot's names, and cannot take messages away; against more there is SROS 2.
"""

import itertools
import re
from array import array
from dataclasses import replace
from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from codesign_ros.data.sources import open_source
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.msg import DeviceProfile, Embedding, Heartbeat, Presence, TailAnswer
from codesign_ros.msg import Tensor as TensorMsg
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.device_messages import device_from_msg, device_to_msg
from codesign_ros.runtime.messages import Status

pytest_plugins = ("support.ros",)

NODES = ("planner", "tail", "head", "camera")
LAST = 2**32 - 1
# So many rounds of each attack, with a frame of the robot between two of them.
ROUNDS = 4


class Stranger:
    """Somebody in the domain: a node of another name with a publisher on every topic, and ears."""

    def __init__(self, domain):
        self._context = Context()
        rclpy.init(
            context=self._context,
            domain_id=domain,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self.node = Node("stranger", context=self._context, enable_rosout=False)
        topics = {
            DeviceProfile: "/codesign/devices",
            Heartbeat: "/codesign/heartbeat",
            Embedding: "/robot/embedding",
            TailAnswer: "/robot/result/remote",
        }
        self._publishers = {
            kind: [self.node.create_publisher(kind, topic, profile(kind))]
            for kind, topic in topics.items()
        }
        self._publishers[Presence] = [
            self.node.create_publisher(Presence, topic, qos.heartbeat())
            for topic in ("/codesign/presence", "/robot/presence")
        ]
        self.numbers = itertools.count()

    def say(self, *messages):
        for msg in messages:
            for publisher in self._publishers[type(msg)]:
                publisher.publish(msg)

    @property
    def is_heard(self):
        publishers = itertools.chain(*self._publishers.values())
        return all(publisher.get_subscription_count() > 0 for publisher in publishers)

    def close(self):
        self.node.destroy_node()
        self._context.try_shutdown()


def profile(kind):
    return {
        DeviceProfile: qos.state(depth=1000),
        Heartbeat: qos.heartbeat(depth=1000),
        Embedding: qos.embedding(),
        TailAnswer: qos.result(),
    }[kind]


class Victims:
    """The robot's head and tail as they announced themselves: what everybody hears."""

    def __init__(self, robot):
        self.of = {}
        robot.observer.node.create_subscription(
            DeviceProfile, "/codesign/devices", self._take, qos.state(depth=100)
        )

    def _take(self, msg):
        # The first of each: those of their own.
        node = msg.heartbeat.node
        if msg.state == "active" and len(self.of) < 2 and node not in self.of:
            self.of[node] = device_from_msg(msg)

    def announcement(self, whose, **changes):
        device = self.of[f"/robot/{whose}"]
        return device_to_msg(replace(device, **changes), rclpy.clock.Clock().now().to_msg())

    def beat(self, whose, **changes):
        return self.announcement(whose, **changes).heartbeat

    def session(self, whose):
        return self.of[f"/robot/{whose}"].session


@pytest.fixture(scope="module")
def robot(module_site, node_bundle, picture_folder):
    """A slow robot whose frames the server finishes, with its camera playing all the time."""
    common = {"bundle": str(node_bundle.path), "profile_s": 0.05}
    robot = module_site.robot(
        camera={
            "source": str(picture_folder), "loop": True, "autostart": False,
            "pacing": "window", "window": 2, "window_timeout_s": 120.0,
        },
        head={
            **common, "emulation.slowdown": 200.0, "image_reliability": "reliable",
            "deadline_s": 20.0,
        },
        tail=common,
        planner={
            "bundle": common["bundle"], "codecs": ["raw"], "frame_codecs": ["raw"],
            "correct": False,
        },
    )  # fmt: skip
    robot.start(*NODES)
    robot.wait_for_plan("with the server", lambda plan: plan.served_by == "/robot/tail")
    robot.observer.change_state(robot.name("camera"), "configure")
    robot.wait_for_listeners("head", "result", 2)
    robot.observer.change_state(robot.name("camera"), "activate")
    robot.wait(lambda: robot.results, "a first result")
    return robot


@pytest.fixture(scope="module")
def victims(robot):
    victims = Victims(robot)
    robot.wait(lambda: len(victims.of) == 2, "head and tail to be heard")
    return victims


@pytest.fixture(scope="module")
def stranger(robot, module_site):
    stranger = Stranger(module_site.domain)
    robot.wait(lambda: stranger.is_heard, "the stranger to be heard")
    yield stranger
    stranger.close()


@pytest.fixture(scope="module")
def labels(node_bundle, picture_folder):
    return [
        p.answer.label for p in evaluate(open_source(str(picture_folder)), node_bundle).predictions
    ]


# What he does


def long_strings(stranger, victims):
    text = "x" * 10_000_000
    stranger.say(
        victims.announcement("tail", power_mode=text),
        victims.announcement("head", throttled=text),
        victims.beat("tail", throttled=text),
        Presence(node="/robot/head", role=1, session=2**63 - 1, process=text),
        Embedding(session=victims.session("head"), model_id=text),
        TailAnswer(session=victims.session("head"), label=text, reason=text),
    )


def foreign_names(stranger, victims):
    for name in (
        "/other/tail",
        "/robot/a/b/tail",
        "/tail",
        "tail",
        "/robot//tail",
        "",
        "/röbot/tail",
    ):
        msg = victims.announcement("tail")
        msg.heartbeat.node = name
        stranger.say(msg, msg.heartbeat)
        stranger.say(Presence(node=name, role=2, session=2**63 - 1))
        stranger.say(TailAnswer(session=victims.session("head"), served_by=name))


def epochs(stranger, victims):
    for epoch in (LAST, 2**31, 2**31 - 1, 0):
        for node in ("head", "tail"):
            stranger.say(victims.beat(node, epoch=epoch), victims.announcement(node, epoch=epoch))
        stranger.say(
            Embedding(session=victims.session("head"), epoch=epoch, oldest_epoch=epoch),
            TailAnswer(session=victims.session("head"), epoch=epoch, served_by="/robot/tail"),
        )


def goodbyes(stranger, victims):
    for state in ("inactive", "unconfigured", "finalized"):
        stranger.say(*(victims.announcement(node, state=state) for node in ("tail", "head")))


def absences(stranger, victims):
    for state in ("inactive", "active"):
        stranger.say(*(victims.announcement(node, state=state) for node in ("tail", "head")))


def goodbyes_to_the_head(stranger, victims):
    stranger.say(
        TailAnswer(session=victims.session("head"), served_by="/robot/tail", status=3),
        TailAnswer(session=victims.session("head"), served_by="/nobody/tail", status=3),
    )


def fake_heads(stranger, victims):
    for number in range(200):
        robot = f"/fake{number}"
        msg = victims.announcement("head", node=f"{robot}/head", robot=robot, epoch=LAST)
        stranger.say(msg, msg.heartbeat)
        stranger.say(Presence(node=f"{robot}/head", role=1, session=2**63 - 1))


def fake_servers(stranger, victims):
    """Each would be the best that the robot has."""
    times = victims.of["/robot/tail"].profile
    fast = replace(times, half_s=dict.fromkeys(times.half_s, 1e-6))
    for number in range(50):
        node = f"/robot/edge{number}/tail"
        msg = victims.announcement("tail", node=node, profile=fast)
        stranger.say(msg, msg.heartbeat)


def presences(stranger, victims):
    for role, name in ((1, "/robot/head"), (2, "/robot/tail"), (3, "/codesign/planner")):
        for node in (name, f"{name}_2"):
            stranger.say(Presence(node=node, role=role, session=2**63 - 1, process="other:1"))


def broken_embeddings(stranger, victims):
    session, model_id = victims.session("head"), victims.of["/robot/head"].model_id
    for tensors in (
        [],
        [TensorMsg()],
        [TensorMsg(name="x", dtype="O", shape=[2**31], codec="pickle", data=bytes(100))],
        [TensorMsg(name="x", dtype="float32", shape=[LAST] * 9, codec="raw", data=bytes(9))] * 64,
    ):
        for kind, epoch in ((0, 1), (0, LAST), (1, 0), (9, 1)):
            number = next(stranger.numbers)
            stranger.say(
                Embedding(
                    kind=kind, session=session, sequence=2**40 + number, epoch=epoch,
                    model_id=model_id, cut=3, tensors=tensors,
                )
            )  # fmt: skip


def broken_answers(stranger, victims):
    session = victims.session("head")
    for sequence in range(40):
        stranger.say(
            TailAnswer(session=session, sequence=sequence, served_by="/robot/tail", label="wrong"),
            TailAnswer(session=session, sequence=sequence, status=1, reason="no", epoch=LAST),
            TailAnswer(session=session, sequence=sequence, status=77, served_by="/robot/tail"),
            TailAnswer(
                session=session, sequence=sequence, served_by="/robot/tail", label="wrong",
                score=float("nan"), class_names=["a"], class_scores=array("f", [float("inf")]),
            ),
            TailAnswer(session=session + 1, sequence=sequence, served_by="/robot/tail"),
        )  # fmt: skip


ATTACKS = (
    long_strings, foreign_names, epochs, goodbyes, absences, goodbyes_to_the_head, fake_heads,
    fake_servers, presences, broken_embeddings, broken_answers,
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_robot_is_served_whatever_a_stranger_says(robot, stranger, victims, labels, attack):
    first = len(robot.results)
    for _ in range(ROUNDS):
        attack(stranger, victims)
        enough = len(robot.results) + 1
        robot.wait(lambda enough=enough: len(robot.results) >= enough, "one more result")
    before = len(robot.results)

    def is_served():
        return [r for r in robot.results[before:] if r.finished_by == "server"][3:]

    robot.wait(is_served, f"frames by the server after {attack.__name__}")
    assert robot.plan.served_by == "/robot/tail"
    for number, result in enumerate(robot.results[first:], first):
        assert (result.sequence, result.status, result.reason) == (number, Status.OK, "")
        assert result.label == labels[number % len(labels)]


def test_goodbyes_of_others_change_no_plan(robot, stranger, victims):
    plans = len(robot.plans)
    for _ in range(ROUNDS):
        goodbyes(stranger, victims)
        enough = len(robot.results) + 1
        robot.wait(lambda enough=enough: len(robot.results) >= enough, "one more result")
    robot.wait(
        lambda: (
            "did not say itself"
            in robot.values("planner").get("refused messages /codesign/devices", "")
        ),
        "the planner to refuse them",
    )
    assert not [plan for plan in robot.plans[plans:] if not plan.served_by]


def test_a_newcomer_has_its_plan_beside_two_hundred_made_up_heads(
    module_site, robot, stranger, victims, node_bundle
):
    for _ in range(ROUNDS):
        fake_heads(stranger, victims)
    other = module_site.robot("/other", head={"bundle": str(node_bundle.path), "profile_s": 0.05})
    other.start("head")
    for _ in range(ROUNDS):
        fake_heads(stranger, victims)
        seen = len(robot.results)
        robot.wait(lambda seen=seen: other.plan or len(robot.results) > seen, "time to pass")
    other.wait_for_plan("for the newcomer", lambda plan: plan.robot == "/other")
    log = robot.processes.log("planner").read_text().splitlines()
    made_up = [line for line in log if "/fake" in line or "/robot/edge" in line]
    assert [line for line in made_up if "ignored a message" not in line] == []


def test_ten_thousand_made_up_devices_do_not_stay(robot, stranger, victims):
    before_bytes, first = memory_bytes(robot), len(robot.results)
    msg = victims.announcement("head", epoch=LAST)
    for number in range(10_000):
        msg.robot = f"/device{number}"
        msg.heartbeat.node = f"/device{number}/head"
        stranger.say(msg, msg.heartbeat)
    robot.wait(lambda: len(robot.results) > first + 2, "results meanwhile")
    assert robot.observer.solve().ok
    robot.observer.diagnostics.clear()

    def are_forgotten():
        values = robot.values("planner")
        return values and "devices not in the graph" not in values

    robot.wait(are_forgotten, "them to be forgotten")
    assert not [key for key in robot.values("planner") if re.search(r"/device\d", key)]
    # What DDS keeps of the last ones, and 256 of them.
    assert memory_bytes(robot) - before_bytes < 200_000_000


def memory_bytes(robot):
    """Memory that the planner's process has."""
    status = Path(f"/proc/{robot.processes.pid('planner')}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return 1024 * int(line.split()[1])


def test_floods_change_no_plan(robot, stranger, victims):
    """Heartbeats and presences as fast as they can be written, until 20,000 were not even read."""
    plans, first = len(robot.plans), len(robot.results)
    beats = [victims.beat("head", node=f"/fake{number}/head") for number in range(200)]
    # In the tail's name, by another start of it.
    beats += [victims.beat("tail", session=number + 1) for number in range(200)]
    presences = [
        Presence(node=f"/codesign/planner{number}", role=3, session=2**63 - 1)
        for number in range(200)
    ]
    left_out = "heartbeats left out"
    robot.observer.diagnostics.clear()

    def is_enough():
        stranger.say(*beats, *presences)
        return int(robot.values("planner").get(left_out, 0)) > 20_000

    robot.wait(is_enough, "the planner to leave messages out")
    served = len(robot.results)
    robot.wait(
        lambda: len([r for r in robot.results[served:] if r.finished_by == "server"]) > 3,
        "frames by the server",
    )
    assert robot.plans[plans:] == []
    assert {result.status for result in robot.results[first:]} == {Status.OK}


def test_no_frame_was_lost(robot):
    robot.observer.change_state(robot.name("camera"), "deactivate")
    robot.wait_for_state("camera", "inactive")
    sent = int(robot.values("camera")["frames"])
    robot.wait(lambda: len(robot.results) >= sent, f"the results of {sent} frames")
    assert [result.sequence for result in robot.results] == list(range(sent))
    robot.observer.diagnostics.clear()
    robot.wait(lambda: "results" in robot.values("head"), "diagnostics")
    values = robot.values("head")
    assert {values[name] for name in ("dropped", "unaccounted", "in_flight")} == {"0"}
