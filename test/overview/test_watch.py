"""The view itself, its loop with an ear made by hand, and the command around it."""

import json
import os
import subprocess
import sys
from itertools import islice

import pytest
from rich.console import Console

from codesign_ros.cli.main import main
from codesign_ros.cli.running import top
from codesign_ros.overview import watch as watching
from codesign_ros.overview.snapshot import NodeState, RobotState, ServerState, Snapshot
from codesign_ros.overview.view import view
from codesign_ros.runtime.news import Endpoint, Graph, Level, News, NodeStatus
from support.paths import ROOT

SNAPSHOT = Snapshot(
    waits_for="a planner",
    robots=(
        RobotState(
            "/r[1]", epoch=3, cut=2, codec="raw", served_by="/r/tail", predicted_s=0.1,
            measured_s=0.12, finished_by={"server": 3, "dropped": 2}, in_flight=1, unaccounted=4,
            drops={"the robot is busy": 2}, frames_per_s=9.96,
        ),
    ),
    servers=(ServerState("/r/tail", refusals={"busy": 7}),),
    nodes=(NodeState("/r/tail", "WARN", "active; refused 7", 0.4, "embeddings"),),
)  # fmt: skip


class Ear:
    """Hears each node say each time that it counted one frame more."""

    def __init__(self, nodes=("/r/head",)):
        self.nodes = nodes
        self.closed = False
        self._told = 0

    def news(self):
        for node in self.nodes:
            self._told += 1
            status = NodeStatus(node, Level.OK, "active", {"frames": str(self._told)})
            yield News(1e9, 0, self._told * 1_000_000_000, "/diagnostics", status)

    def follow_results(self):
        pass

    def graph(self):
        return Graph(
            endpoints=tuple(Endpoint(node, "/diagnostics", True, "x") for node in self.nodes)
        )

    def close(self):
        self.closed = True


def test_the_view_has_what_is_known():
    console = Console(width=140)
    with console.capture() as shown:
        console.print(view(SNAPSHOT))
    for words in (
        "waits for a planner", "/r[1]", "100 ms", "120 ms", "10.0", "2 the robot is busy",
        "4 unaccounted for", "7 busy", "active; refused 7", "embeddings",
    ):  # fmt: skip
        assert words in shown.get()


def test_an_empty_view():
    console = Console(width=80)
    with console.capture() as shown:
        console.print(view(Snapshot(waits_for="any node")))
    assert shown.get() == "waits for any node\n"


def test_what_is_waited_for_is_said_before_ros_is_started():
    def never():
        raise AssertionError

    assert next(watching.watch(never, "0", 1.0)).waits_for == "ROS 2 to start"


def test_snapshots_come_until_it_is_closed():
    ear = Ear()
    snapshots = watching.watch(lambda: ear, "0", 0.01)
    seen = list(islice(snapshots, 4))
    assert [len(each.robots) for each in seen] == [0, 1, 1, 1]
    assert not ear.closed
    snapshots.close()
    assert ear.closed


def test_one_look_ends_once_rates_are_known():
    ear = Ear()
    snapshot = watching.look_once(lambda: ear, "0")
    assert snapshot.robots[0].frames_per_s is not None
    assert ear.closed


def test_one_look_at_nobody(monkeypatch, capsys):
    monkeypatch.setattr(top, "_listener", lambda: Ear(nodes=()))
    assert main(["top", "--once", "--json"]) == 1
    out = json.loads(capsys.readouterr().out)
    assert (out["robots"], out["waits_for"].partition(":")[0]) == ([], "any node")


def test_one_look_is_one_line_of_json(monkeypatch, capsys):
    monkeypatch.setattr(top, "_listener", Ear)
    assert main(["top", "--once", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["robots"][0]["robot"] == "/r"


def test_ctrl_c_ends_it_as_it_should(monkeypatch, capsys):
    ear = Ear()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(top, "_listener", lambda: ear)
    monkeypatch.setattr(watching.time, "sleep", interrupted)
    assert main(["top"]) == 0
    assert ear.closed
    assert capsys.readouterr().err == ""


PROGRAM = """
import sys
sys.path[:0] = {paths!r}
from codesign_ros.cli.running import top
from codesign_ros.cli.main import main
from overview.test_watch import Ear
top._listener = Ear
sys.exit(main(["top", "--period", "0.1", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_reader_that_goes_ends_it_quietly(arguments):
    program = PROGRAM.format(paths=[str(ROOT), str(ROOT / "test")])
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=writer, stderr=subprocess.PIPE
    ) as process:
        os.close(writer)
        with os.fdopen(reader, "rb") as lines:
            assert b"ROS 2 to start" in lines.readline()
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
