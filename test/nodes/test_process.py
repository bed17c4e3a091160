"""The end of a node's process by a signal, which may come at any moment."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from lifecycle_msgs.srv import GetState

from codesign_ros.nodes.process import Interruption
from codesign_ros.resources import default_bundle

pytest_plugins = ("support.ros",)

# Far beyond what it takes, on a busy machine [s].
PATIENCE_S = 60.0


def wait_and_tell(interruption, at_step):
    """Wait, told on the same thread as a handler would be, before a step of the wait.

    Returns:
        How many steps the wait has, and whether it or one more knew of it.
    """
    steps = 0

    def handle(frame, event, argument):
        nonlocal steps
        steps += 1
        if steps == at_step:
            interruption.tell()

    sys.setprofile(handle)
    told = interruption.wait(0.0)
    sys.setprofile(None)
    return steps, told or interruption.wait(0.0)


def test_signal_at_any_step_of_the_wait():
    """A handler runs on the waiting thread itself, between any two of its steps."""
    knew = []

    def wait_at_each_step():
        steps, _ = wait_and_tell(Interruption(), at_step=0)
        for at_step in range(1, steps + 1):
            knew.append(False)
            _, knew[-1] = wait_and_tell(Interruption(), at_step)

    thread = threading.Thread(target=wait_at_each_step, daemon=True)
    thread.start()
    thread.join(30.0)
    assert not thread.is_alive(), f"at step {len(knew)} wait and handler wait for each other"
    assert len(knew) > 3
    assert all(knew)


def test_who_is_told_before_the_wait_knows():
    interruption = Interruption()
    assert not interruption.wait(0.0)
    interruption.tell()
    assert interruption.wait(0.0)
    assert interruption.wait(0.0)  # and goes on to know


# Has the package's import begin and not end.
SLOW_IMPORT = """
import sys, time

class Slow:
    def find_spec(self, name, path, target=None):
        if name == "codesign_ros":
            print("importing", flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Slow())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("program", "status"), [("head_node", 0), ("codesign", 130)])
def test_interrupted_while_it_imports(tmp_path, program, status, number):
    (tmp_path / "sitecustomize.py").write_text(SLOW_IMPORT)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [shutil.which(program)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=pipe,
        stderr=pipe,
        # As a terminal starts it, whoever runs the tests.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(number)
        assert process.stderr.read() == b""
        assert process.wait() == status


def test_interrupted_while_it_builds_engines(site, tmp_path):
    """It ends as it should, long before all are built and timed: no profile was kept."""
    cache_dir = tmp_path / "cache"
    site.environment["CODESIGN_CACHE_DIR"] = str(cache_dir)
    robot = site.robot(head={"bundle": str(default_bundle())})
    robot.start("head")
    state = "unconfigured"
    while state == "unconfigured":
        state = robot.call(GetState, "head/get_state").current_state.label
    assert state == "configuring"
    robot.stop()
    assert not list(cache_dir.glob("*.profile.cache"))


# Starts a planner, says its number, and waits to be killed.
STARTER = """
import pathlib, sys, time
from codesign_ros.resources import resource_path
from codesign_ros.testbed.processes import NodeProcesses, private_environment

params = resource_path("config") / "split_inference.yaml"
nodes = NodeProcesses("/robot", params, {}, pathlib.Path(sys.argv[1]), private_environment())
nodes.start("planner")
print(nodes.pid("planner"), flush=True)
time.sleep(600)
"""


def test_nodes_end_with_whoever_started_them(site, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)],
        env=site.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        number = int(starter.stdout.readline())
        log = tmp_path / "planner.log"
        wait_until(lambda: "active" in log.read_text(), log)
        starter.kill()
    wait_until(lambda: not is_running(number), log)
    assert "error: " not in log.read_text()


def is_running(number):
    """Whether a process does anything; nobody may have asked for the status of one that ended."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def wait_until(holds, log):
    give_up_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up_s, log.read_text()
        time.sleep(0.05)


def test_an_input_that_ends_does_not_end_a_node_that_anybody_else_started(site, tmp_path):
    """As in a script in the background, or under a service manager."""
    with subprocess.Popen(
        [shutil.which("planner_node")],
        env=site.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as node:
        assert any("active" in line for line in node.stderr)
        with pytest.raises(subprocess.TimeoutExpired):
            node.wait(1.0)
        node.terminate()
        assert node.wait(PATIENCE_S) == 0
