"""Nodes and commands where only those libraries are that the requirements of a machine name."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

from codesign_ros.cli import main as command_line
from support.paths import ROOT

FILES = ROOT / "requirements"
# Modules that start on a machine, and commands that end there at once, with nothing to look at.
SERVER = (
    "codesign_ros.nodes.tail_node",
    "codesign_ros.nodes.planner_node",
    "codesign_ros.nodes.together.edge_server",
    "codesign_ros.cli.running.doctor",
)
ROBOT = (
    *SERVER,
    "codesign_ros.nodes.head_node",
    "codesign_ros.nodes.camera_node",
    "codesign_ros.nodes.together.robot_node",
    "codesign_ros.demo.follow",
)
IMPORTS = """
import importlib, sys
lacking, wanted = (words.split(",") for words in sys.argv[1:])
sys.modules.update(dict.fromkeys(lacking))  # None: cannot be imported
for name in wanted:
    importlib.import_module(name)
from codesign_ros.cli.main import main
sys.exit(main(["--help"]))
"""


def named(machine):
    """Modules of the libraries that a file names, and of the files that it includes."""
    lines = (FILES / f"{machine}.txt").read_text().splitlines()
    found = set()
    for line in lines:
        if included := re.match(r"-r (\w+)\.txt", line):
            found |= named(included[1])
        elif library := re.match(r"[\w.-]+", line):
            distribution = re.sub(r"[-_.]+", "-", library[0]).lower()
            found.add(distribution.replace("-", "_"))  # Python 3.10 does not know all modules
            found |= {
                module
                for module, names in packages_distributions().items()
                if distribution in {re.sub(r"[-_.]+", "-", name).lower() for name in names}
            }
    return found


@pytest.mark.parametrize(("machine", "modules"), [("server", SERVER), ("robot", ROBOT)])
def test_what_a_machine_runs_needs_no_more_than_its_file_names(machine, modules):
    lacking = named("training") - named(machine)
    assert "torch" in lacking
    words = [sys.executable, "-c", IMPORTS, ",".join(sorted(lacking)), ",".join(modules)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_file_to_install_is_named():
    assert set(command_line._OF_A_ROBOT) <= named("robot") - named("server")
    code = """
import sys
sys.modules["rosbags"] = None
from codesign_ros.cli.main import main
sys.exit(main(["evaluate", "mine:5", "--frames", "1"]))
"""
    words = [sys.executable, "-c", code]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "requirements/robot.txt" in ran.stderr
