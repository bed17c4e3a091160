"""Which nodes run where, for one robot and for several."""

import pytest
import yaml

from codesign_ros.testbed.bed import LinkShape, processors_of
from codesign_ros.testbed.processes import NodeProcesses
from codesign_ros.testbed.setup import PLANNER, Setup, host_of
from codesign_ros.types.errors import CodesignError

LINK = LinkShape(16e6)


def test_one_robot_has_a_tail_of_its_own():
    setup = Setup(LINK, 0.25)
    assert setup.nodes == {"/robot": ("planner", "tail", "head", "camera")}
    assert setup.cores == {"robot": 0.25, "server": 1.0}
    assert set(setup.overrides()) == {"/robot/camera", "/robot/head", "/robot/tail", PLANNER}


def test_several_robots_share_an_edge_server():
    setup = Setup(LINK, 0.25, robots=3, planner={"shared": "server and link"}, device="x86-core")
    assert list(setup.nodes) == ["/robot", "/robot2", "/robot3"]
    assert setup.nodes["/robot"] == ("planner", "edge_server", "head", "camera")
    assert setup.nodes["/robot3"] == ("head", "camera")
    assert setup.cores == {"robot": 0.25, "robot2": 0.25, "robot3": 0.25, "server": 1.0}
    overrides = setup.overrides()
    assert overrides["/edge_server"] == {"robots": ["/robot", "/robot2", "/robot3"]}
    assert overrides["/robot3/head"]["device"] == overrides["/robot3/tail"]["device"] == "x86-core"
    assert overrides[PLANNER]["shared"] == "server and link"


def test_the_file_of_parameters_repeats_what_nodes_share(tmp_path):
    setup = Setup(LINK, 0.25, robots=2)
    nodes = NodeProcesses("/robot2", tmp_path / "params.yaml", setup.overrides(), tmp_path, {})
    written = (tmp_path / "overrides.yaml").read_text()
    assert yaml.safe_load(written)["/robot2/head"]["ros__parameters"]["precisions"] == ["fp32"]
    assert "&" not in written  # rcl reads no aliases
    assert nodes.name("edge_server") == "/edge_server"
    assert nodes.name("head") == "/robot2/head"


@pytest.mark.parametrize(
    ("robot", "node", "host"),
    [
        ("/robot", "head", "robot"),
        ("/robot", "planner", "server"),
        ("/robot", "edge_server", "server"),
        ("/robot2", "camera", "robot2"),
    ],
)
def test_hosts(robot, node, host):
    assert host_of(robot, node) == host


def test_the_server_has_a_processor_of_its_own():
    cores = {"robot": 0.5, "robot2": 0.5, "server": 1.0}
    assert processors_of(cores, [3, 5]) == {"robot": 3, "robot2": 3, "server": 5}
    assert processors_of(cores, [3, 5, 7]) == {"robot": 3, "robot2": 7, "server": 5}


def test_thirds_fill_a_core():
    cores = {"robot": 1 / 3, "robot2": 1 / 3, "robot3": 1 / 3, "server": 1.0}
    assert set(processors_of(cores, [0, 1]).values()) == {0, 1}


def test_too_few_processors_are_told():
    with pytest.raises(CodesignError, match="do not fit on 1 processor cores"):
        processors_of({"robot": 1.0, "robot2": 0.5, "server": 1.0}, [0, 1])
