"""One process with a tail for each of two robots, on the same engines, over real DDS."""

import signal
import subprocess
from dataclasses import replace

import pytest
import yaml
from rclpy.qos import QoSProfile, ReliabilityPolicy

from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import open_backend
from codesign_ros.msg import Embedding as EmbeddingMsg
from codesign_ros.msg import TailAnswer
from codesign_ros.nodes.interface.messages import (
    embedding_to_msg,
    plan_to_msg,
    tail_answer_from_msg,
)
from codesign_ros.nodes.observer import Observer
from codesign_ros.nodes.together.edge_server import namespaces
from codesign_ros.pixels.letterbox import letterbox
from codesign_ros.resources import resource_path
from codesign_ros.runtime.messages import Embedding, Stamp, TailStatus
from codesign_ros.runtime.stages.head import HeadStage
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.srv import CommitPlan, PreparePlan
from codesign_ros.testbed.processes import executable
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

pytest_plugins = ("support.ros",)

ROBOTS = ("/miner1", "/miner2")
CUT = 3
# As many embeddings as a listener that is busy keeps, or fewer.
AT_ONCE = 3
# Only a defect makes a test wait so long, on a busy machine too [s].
PATIENCE_S = 90.0


@pytest.mark.parametrize(
    ("robots", "says"),
    [
        ([""], "'' is not the namespace of a robot; give some, e.g. robots:="),
        (["miner1", "/"], "'/' is not the namespace"),
        (["miner 1"], "'miner 1' is not the namespace"),
        (["1miner"], "'1miner' is not the namespace"),
        (["miner1/"], "'miner1/' is not the namespace"),
        (["miner1", "/miner1"], "/miner1 is there twice"),
    ],
)
def test_robots_that_are_none(robots, says):
    with pytest.raises(CodesignError, match=says):
        namespaces(robots)


def test_a_server_s_name_that_cannot_be_part_of_a_namespace(start, node_bundle):
    server = start(parameters(node_bundle), ["-p", "server:=edge-1"])
    assert server.process.wait(PATIENCE_S) == 1
    (line,) = (line for line in server.log.splitlines() if line.startswith("error: "))
    assert line == (
        "error: parameter server: 'edge-1' cannot be part of a namespace; give a name, e.g. edge1"
    )


def test_a_tail_of_several_lies_in_its_server_s_namespace(site):
    """The parameter alone says nothing to the head, which sends to a namespace."""
    line = site.run_node("tail", "-r", "__ns:=/miner1", "-p", "server:=edge1")
    assert line == (
        "error: parameter server is 'edge1', but this tail lies in /miner1: put it into "
        "ROBOT/edge1 (-r __ns:=/miner1/edge1), or leave server empty"
    )


def test_robots_have_their_slash_or_not():
    assert namespaces(["miner1", "/mine/miner2"]) == ["/miner1", "/mine/miner2"]


class Server:
    """An edge server's process, and an observer.

    Args:
        directory: for log and parameters.
        site: gives the domain.
        params: what its parameter file has.
        arguments: more arguments of the process.
    """

    def __init__(self, directory, site, params, arguments=()):
        directory.mkdir(exist_ok=True)
        self.log_path = directory / "edge_server.log"
        file = directory / "params.yaml"
        file.write_text(yaml.safe_dump(params))
        given = resource_path("config") / "split_inference.yaml"
        command = [str(executable("edge_server")), "--ros-args", "--params-file", str(given)]
        command += ["--params-file", str(file), *arguments]
        self.observer = Observer(ROBOTS[0], site.domain)
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=site.environment,
                start_new_session=True,
            )

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait(self, condition, what):
        def holds():
            assert self.process.poll() is None, self.log
            return condition()

        try:
            self.observer.wait_until(holds, what, PATIENCE_S)
        except CodesignError as error:
            pytest.fail(f"{error}\n{self.observer.diagnostics}\n{self.log}")

    def message(self, robot):
        return self.observer.messages.get(f"{robot}/tail", "")

    def wait_for_state(self, robot, state):
        self.wait(lambda: self.message(robot) == state, f"{robot}/tail to be {state}")

    def values(self, robot):
        """Values from diagnostics that are younger than the call."""
        name = f"{robot}/tail"
        self.observer.diagnostics.pop(name, None)
        self.wait(lambda: name in self.observer.diagnostics, "diagnostics")
        return self.observer.diagnostics[name]

    def end(self, number=signal.SIGINT):
        """Send a signal; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.observer.close()


@pytest.fixture
def start(site, tmp_path):
    servers = []

    def start(params, arguments=()):
        directory = tmp_path / f"server{len(servers)}"
        servers.append(Server(directory, site, params, arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def parameters(bundle, robots=ROBOTS, **by_robot):
    """A parameter file's content; ``by_robot`` is what one robot's tail has beside."""
    tail = {"bundle": str(bundle.path), "profile_s": 0.0}
    content = {"/**/tail": {"ros__parameters": tail}}
    content["/**/edge_server"] = {"ros__parameters": {"robots": list(robots)}}
    for robot, values in by_robot.items():
        content[f"/{robot}/tail"] = {"ros__parameters": values}
    return content


class Peer:
    """Plays planner and head for one robot's tail.

    Its sequence numbers and its plan's epoch are its own, so that no answer can be another's.
    """

    def __init__(self, server, robot, bundle, engine_cache, pictures, number):
        self.server, self.robot, self.bundle = server, robot, bundle
        factory = open_backend(bundle, cache_dir=engine_cache)
        self.plan = Plan(cut=CUT, codec="raw", epoch=10 + number, model_id=bundle.model_id)
        self._head = HeadStage(bundle, self.plan, factory.build(EngineKey("head", CUT)))
        self._tail = TailStage(bundle, self.plan, factory.build(EngineKey("tail", CUT)))
        self._pictures = pictures[number:]
        self._sequence = 1000 * number
        self.answers, self.goodbyes = [], []
        reliable = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        node = server.observer.node
        node.create_subscription(TailAnswer, f"{robot}/result/remote", self._take, reliable)
        self._embeddings = node.create_publisher(EmbeddingMsg, f"{robot}/embedding", reliable)
        server.wait(self._embeddings.get_subscription_count, f"a listener to {robot}/embedding")
        key = "listeners result/remote"
        server.wait(lambda: int(server.values(robot).get(key, 0)) > 0, f"{robot}: {key}")

    def _take(self, msg):
        is_goodbye = msg.status == TailStatus.LEAVING
        (self.goodbyes if is_goodbye else self.answers).append(msg)

    def call(self, kind, name, **request):
        name = f"{self.robot}/tail/{name}"
        return self.server.observer.call(kind, name, kind.Request(**request), PATIENCE_S)

    def use_plan(self):
        answer = self.call(PreparePlan, "prepare_plan", plan=plan_to_msg(self.plan))
        assert answer.ok, answer.message
        assert self.call(CommitPlan, "commit_plan", epoch=self.plan.epoch).ok

    def send(self, count):
        """Send so many embeddings; return what is expected for each, by sequence."""
        expected = {}
        for picture in range(count):
            image = letterbox(self._pictures[picture % len(self._pictures)], self.bundle.input)
            encoded = self._head.run(image).encoded
            embedding = Embedding(
                stamp=Stamp(picture, "camera"),
                sequence=self._sequence,
                epoch=self.plan.epoch,
                oldest_epoch=self.plan.epoch,
                model_id=self.bundle.model_id,
                cut=CUT,
                tensors=encoded,
            )
            expected[self._sequence] = self._tail.run(self._tail.decode(encoded))
            self._sequence += 1
            self._embeddings.publish(embedding_to_msg(embedding))
        return expected

    def check(self, expected):
        """Wait for the answers; each is there once, is right, and is in order."""
        self.server.wait(lambda: len(self.answers) >= len(expected), f"answers for {self.robot}")
        answers = [tail_answer_from_msg(msg) for msg in self.answers]
        self.answers.clear()
        assert [answer.sequence for answer in answers] == list(expected)
        for answer in answers:
            assert (answer.status, answer.epoch) == (TailStatus.OK, self.plan.epoch), answer.reason
            assert answer.served_by == f"{self.robot}/tail"
            scores = expected[answer.sequence].class_scores
            assert answer.class_scores == pytest.approx(scores, abs=1e-5)


@pytest.fixture
def server(start, node_bundle):
    # As `ros2 launch` and `ros2 run ... -r __ns:=` do: the names of the process are not its tails'.
    renamed = ("-r", "__node:=edge_server", "-r", "__ns:=/codesign")
    server = start(parameters(node_bundle), renamed)
    for robot in ROBOTS:
        server.wait_for_state(robot, "active")
    return server


@pytest.fixture
def peers(server, node_bundle, engine_cache, pictures):
    return [
        Peer(server, robot, node_bundle, engine_cache, pictures, number)
        for number, robot in enumerate(ROBOTS)
    ]


def check_clean(server):
    text = server.log.lower()
    for word in ("traceback", "exception", "terminate called", "core dumped", "error: "):
        assert word not in text, server.log


def test_two_robots_on_one_server(server, peers):
    for peer in peers:
        peer.use_plan()
    # The same half for both: one engine, used by both tails.
    for robot in ROBOTS:
        values = server.values(robot)
        assert (values["engines"], values["engines_shared_by"]) == ("1", "2")
    for _ in range(3):
        expected = [peer.send(AT_ONCE) for peer in peers]
        for peer, answers in zip(peers, expected, strict=True):
            peer.check(answers)

    # One goes, and the other goes on with the engine that both had.
    server.observer.change_state("/miner1/tail", "deactivate")
    server.wait_for_state("/miner1", "inactive")
    server.observer.change_state("/miner1/tail", "cleanup")
    server.wait_for_state("/miner1", "unconfigured")
    peers[0].send(AT_ONCE)
    peers[1].check(peers[1].send(AT_ONCE))
    values = server.values("/miner2")
    assert (values["engines"], values["engines_shared_by"]) == ("1", "1")
    assert peers[0].answers == []
    assert peers[0].goodbyes

    # And comes back.
    server.observer.change_state("/miner1/tail", "configure")
    server.wait_for_state("/miner1", "inactive")
    server.observer.change_state("/miner1/tail", "activate")
    server.wait_for_state("/miner1", "active")
    peers[0].plan = replace(peers[0].plan, epoch=50)
    peers[0].use_plan()
    peers[0].check(peers[0].send(AT_ONCE))
    values = server.values("/miner1")
    assert (values["engines"], values["engines_shared_by"]) == ("1", "2")

    # The end, while frames are under way.
    for peer in peers:
        peer.send(AT_ONCE)
    assert server.end() == 0, server.log
    check_clean(server)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it(server, number):
    assert server.end(number) == 0, server.log
    check_clean(server)


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        ({"bundle": "/nowhere/at.all"}, "there is no bundle at /nowhere/at.all"),
        ({"queue_depth": 0}, "queue_depth"),
    ],
    ids=["shows when configured", "shows at once"],
)
def test_one_tail_that_cannot_start_takes_none_down(
    start, node_bundle, engine_cache, pictures, mistake, says
):
    server = start(parameters(node_bundle, miner1=mistake))
    server.wait_for_state("/miner2", "active")
    peer = Peer(server, "/miner2", node_bundle, engine_cache, pictures, 1)
    peer.use_plan()
    peer.check(peer.send(AT_ONCE))
    lines = [line for line in server.log.splitlines() if "/miner1/tail: " in line]
    assert len(lines) == 1, server.log
    assert says in lines[0]
    assert server.end() == 0, server.log
    assert "traceback" not in server.log.lower()


def test_no_tail_that_can_start(start, node_bundle):
    server = start(parameters(node_bundle, miner1={"bundle": "/no/1"}, miner2={"bundle": "/no/2"}))
    assert server.process.wait(PATIENCE_S) == 1
    errors = [line for line in server.log.splitlines() if line.startswith("error: ")]
    assert errors == [
        "error: /miner1/tail: there is no bundle at /no/1",
        "error: /miner2/tail: there is no bundle at /no/2",
    ]
    assert "traceback" not in server.log.lower()


@pytest.mark.parametrize(
    ("robots", "says"),
    [
        (None, "'' is not the namespace of a robot"),
        ([], "robots"),
        ([1, 2], "robots"),
        (["miner1", "miner1"], "/miner1 is there twice"),
    ],
    ids=["none given", "empty", "numbers", "twice"],
)
def test_robots_that_cannot_be(start, node_bundle, robots, says):
    params = parameters(node_bundle, robots or ())
    if robots is None:
        del params["/**/edge_server"]
    server = start(params)
    assert server.process.wait(PATIENCE_S) == 1
    (line,) = (line for line in server.log.splitlines() if line.startswith("error: "))
    assert says in line
    assert "traceback" not in server.log.lower()
