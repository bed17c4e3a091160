"""Four robots on two edge servers, one of which is killed: every frame has its one right answer."""

import signal
import subprocess

import pytest
import yaml

from codesign_ros.data.sources import open_source
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.nodes.observer import Observer
from codesign_ros.resources import resource_path
from codesign_ros.runtime.messages import Status
from codesign_ros.testbed.processes import executable
from codesign_ros.types.errors import CodesignError

pytest_plugins = ("support.ros",)

ROBOTS = ("/miner1", "/miner2", "/miner3", "/miner4")
SERVERS = ("edge1", "edge2")
# Only a defect makes a test wait so long, on a busy machine too [s].
PATIENCE_S = 120.0


class Fleet:
    """Robots with camera and head in one process each, a planner, and edge servers.

    Args:
        site: gives the domain.
        bundle: the network.
        pictures: folder that the cameras play again and again.
        directory: for logs and parameters.
    """

    def __init__(self, site, bundle, pictures, directory):
        common = {"bundle": str(bundle.path), "profile_s": 0.05}
        nodes = {
            "camera": {
                "autostart": False,
                "source": str(pictures),
                "loop": True,
                "pacing": "window",
                "window": 2,
                "window_timeout_s": 120.0,
            },
            "head": {
                **common,
                # So slow that a server wins even when a busy machine delays what goes to and fro.
                "emulation.slowdown": 100.0,
                "image_reliability": "reliable",
                "deadline_s": 5.0,
            },
            "tail": common,
            "planner": {
                "bundle": common["bundle"],
                "codecs": ["raw"],
                "frame_codecs": ["raw"],
                "correct": False,
            },
            "edge_server": {"robots": list(ROBOTS)},
        }
        content = {f"/**/{node}": {"ros__parameters": each} for node, each in nodes.items()}
        self._params = directory / "params.yaml"
        self._params.write_text(yaml.safe_dump(content))
        self._directory, self._environment = directory, site.environment
        self.processes = {}
        self.observers = {robot: Observer(robot, site.domain) for robot in ROBOTS}

    def start(self, name, program, *arguments):
        given = resource_path("config") / "split_inference.yaml"
        command = [str(executable(program)), "--ros-args", "--params-file", str(given)]
        command += ["--params-file", str(self._params), *arguments]
        with (self._directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def start_server(self, name):
        self.start(name, "edge_server", "-p", f"server:={name}")

    def kill(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.wait(PATIENCE_S)

    def wait(self, condition, what):
        """Wait until all robots fulfil a condition, a function of a robot's observer."""

        def holds():
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} has ended\n{self.logs()}"
            return all(map(condition, self.observers.values()))

        try:
            first = self.observers[ROBOTS[0]]
            first.wait_until(holds, what, PATIENCE_S)
        except CodesignError as error:
            pytest.fail(f"{error}\n{self.logs()}")

    def logs(self):
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')}"
            for path in sorted(self._directory.glob("*.log"))
        )

    def places(self):
        """The server of each robot's newest plan."""
        return {robot: place_of(observer) for robot, observer in self.observers.items()}

    def close(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGINT)
        for process in self.processes.values():
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for observer in self.observers.values():
            observer.close()


def place_of(observer):
    """The server that a robot's newest plan has frames sent to; empty = none."""
    if not observer.plans:
        return ""
    served_by = observer.plans[-1][1].served_by
    return served_by.split("/")[2] if served_by else ""


@pytest.fixture
def fleet(site, node_bundle, picture_folder, tmp_path):
    directory = tmp_path / "fleet"
    directory.mkdir()
    fleet = Fleet(site, node_bundle, picture_folder, directory)
    yield fleet
    fleet.close()


def server_results(observer, server):
    return [r for _, r in list(observer.results) if f"/{server}/" in r.served_by]


def test_all_robots_are_served_while_a_server_is_killed(fleet, node_bundle, picture_folder):
    fleet.start("planner", "planner_node", "-r", "__ns:=/codesign")
    # One after the other, so that the second finds what the first has measured; and before the
    # robots, of which one that comes when there is one server alone may be well enough there.
    for server in SERVERS:
        fleet.start_server(server)
        tails = [f"{robot}/{server}/tail" for robot in ROBOTS]
        fleet.wait(
            lambda o, tails=tails: all(o.messages.get(tail) == "active" for tail in tails), server
        )
    for robot in ROBOTS:
        fleet.start(robot.strip("/"), "robot_node", "-r", f"__ns:={robot}")
    fleet.wait(place_of, "a server for each robot")
    places = fleet.places()
    assert set(places.values()) == set(SERVERS)
    for robot, observer in fleet.observers.items():
        observer.change_state(f"{robot}/camera", "configure", PATIENCE_S)
    # The camera, which waits for results, and two ends that know of each other.
    fleet.wait(
        lambda o: int(o.diagnostics.get(f"{o.node.get_namespace()}/head", {})
                      .get("listeners result", 0)) >= 2 and o.knows("result"),
        "listeners to results",
    )  # fmt: skip
    for robot, observer in fleet.observers.items():
        observer.change_state(f"{robot}/camera", "activate", PATIENCE_S)
    fleet.wait(
        lambda o: len(server_results(o, place_of(o))) >= 5, "answers of each robot's own server"
    )
    plans = {robot: observer.plans[-1][1] for robot, observer in fleet.observers.items()}

    fleet.kill("edge1")
    fleet.wait(lambda o: place_of(o) == "edge2", "all robots on the server that is left")
    enough = {o: len(server_results(o, "edge2")) + 5 for o in fleet.observers.values()}
    fleet.wait(lambda o: len(server_results(o, "edge2")) >= enough[o], "its answers for all")
    for robot, place in places.items():
        since = [p for _, p in fleet.observers[robot].plans if p.epoch > plans[robot].epoch]
        if place == "edge2":
            # It was well where it was, and stays.
            assert {plan.placed_on for plan in since} <= {plans[robot].placed_on}
        else:
            assert since[0].placed_on == f"{robot}/edge2/tail"
            assert "moved from edge1 to edge2" in since[0].reason

    for robot, observer in fleet.observers.items():
        observer.change_state(f"{robot}/camera", "deactivate", PATIENCE_S)
    # Which frame is which its stamp does not say: the camera plays the pictures in order.
    expected = [
        each.answer.label
        for each in evaluate(open_source(str(picture_folder)), node_bundle).predictions
    ]
    for robot, observer in fleet.observers.items():
        name = f"{robot}/camera"
        fleet.wait(lambda _, o=observer, n=name: o.messages.get(n) == "inactive", "its end")
        sent = int(observer.diagnostics[name]["frames"])
        fleet.wait(lambda _, o=observer, n=sent: len(o.results) >= n, f"{sent} results")
        results = [result for _, result in observer.results]
        assert [result.sequence for result in results] == list(range(sent))
        assert {(result.status, result.reason) for result in results} == {(Status.OK, "")}
        assert [r.label for r in results] == [expected[n % len(expected)] for n in range(sent)]
        finished_by = {result.finished_by for result in results}
        assert finished_by <= {"server", "fallback", "robot"}
