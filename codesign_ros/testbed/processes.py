"""The nodes as ordinary processes, for machines without the `ros2` command."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from codesign_ros.nodes.process import ENDS_WITH_INPUT
from codesign_ros.types.errors import CodesignError

# What a node may take to end after SIGINT before it is killed [s].
STOP_TIMEOUT_S = 5.0
# What writing down where it hangs may take [s].
_ABORT_TIMEOUT_S = 2.0
NODES = {
    "planner": "/codesign/planner",
    "tail": "{robot}/tail",
    "head": "{robot}/head",
    "camera": "{robot}/camera",
    "edge_server": "/edge_server",
}
# Nodes that one program runs together.
TOGETHER = {"robot": ("head", "camera")}


class NodeProcesses:
    """Starts nodes with a parameter file and stops them; where it is killed they end by themselves.

    Args:
        robot: namespace of head, tail and camera.
        params: parameter file that all nodes read.
        overrides: parameters by node (``head``, or a full name) that go before the file.
        directory: where logs and the overrides are written.
        environment: environment of the processes.
        place: given a node and the command that runs it, what runs it elsewhere; None = here.
    """

    def __init__(
        self,
        robot: str,
        params: Path,
        overrides: Mapping[str, Mapping[str, Any]],
        directory: Path,
        environment: Mapping[str, str],
        place: Callable[[str, list[str]], list[str]] | None = None,
    ) -> None:
        self._robot = robot
        self._params = params
        self._directory = directory
        self._environment = dict(environment)
        self._place = place or (lambda node, command: command)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._overrides = directory / "overrides.yaml"
        # Copies, for values that several nodes share would become aliases, which rcl cannot read.
        content = {
            self.name(node): {"ros__parameters": deepcopy(dict(values))}
            for node, values in overrides.items()
        }
        self._overrides.write_text(yaml.safe_dump(content))

    def name(self, node: str) -> str:
        """Fully qualified name of a node."""
        node = TOGETHER.get(node, (node,))[0]
        return NODES.get(node, node).format(robot=self._robot)

    def start(self, node: str) -> None:
        """Start one of ``NODES`` or of ``TOGETHER``; its output goes to a log file."""
        namespace = self.name(node).rpartition("/")[0] or "/"
        program = node if node == "edge_server" else f"{node}_node"
        command = [str(executable(program)), "--ros-args"]
        command += ["--params-file", str(self._params), "--params-file", str(self._overrides)]
        command += ["-r", f"__ns:={namespace}"]
        if node in self._processes:  # which has ended
            _close_input(self._processes[node])
        with self.log(node).open("wb") as log:
            self._processes[node] = subprocess.Popen(
                self._place(node, command),
                stdout=log,
                stderr=subprocess.STDOUT,
                # A pipe whose only other end is here, and that ends with us.
                stdin=subprocess.PIPE,
                env={**self._environment, ENDS_WITH_INPUT: "1"},
                # A Ctrl-C at the terminal reaches us alone; we end them in order.
                start_new_session=True,
            )

    def log(self, node: str) -> Path:
        """Log file of a node."""
        return self._directory / f"{node}.log"

    def ended(self) -> dict[str, int]:
        """Exit status of the nodes that have ended; negative = number of the signal."""
        codes = {node: process.poll() for node, process in self._processes.items()}
        return {node: code for node, code in codes.items() if code is not None}

    def pid(self, node: str) -> int:
        """Process id of a node."""
        return self._processes[node].pid

    def explain(self, node: str) -> str:
        """Why a node ended: its own line if it printed one."""
        code = self._processes[node].poll()
        lines = self.log(node).read_text(errors="replace").splitlines()
        errors = [line.partition("error: ")[2] for line in lines if line.startswith("error: ")]
        if errors:
            return f"{node}: {errors[-1]}"
        cause = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        return f"{node} ended with {cause}; its log is {self.log(node)}"

    def check(self) -> None:
        """Raise CodesignError if a node has ended by itself."""
        for node in self.ended():
            raise CodesignError(self.explain(node))

    def send(self, node: str, number: signal.Signals) -> None:
        """Send a signal to a node; one that ends it is waited for, and it may be started again."""
        process = self._processes[node]
        process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
            process.wait(STOP_TIMEOUT_S)
            _close_input(process)
            del self._processes[node]

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Interrupt all nodes, wait, and kill what is left.

        By SIGABRT first: with ``PYTHONFAULTHANDLER`` set it leaves in the log where a node hangs.
        """
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        give_up_s = time.monotonic() + timeout_s
        for process in self._processes.values():
            try:
                process.wait(max(0.0, give_up_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_ABORT_TIMEOUT_S)
                process.kill()
                process.wait()
            _close_input(process)


def _close_input(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def executable(name: str) -> Path:
    """One of the package's programs, those that `ros2 run codesign_ros` starts.

    Raises:
        CodesignError: it is neither beside the running program nor on the PATH.
    """
    beside = Path(sys.argv[0]).resolve().parent / name
    if beside.is_file():
        return beside
    found = shutil.which(name)
    if found is None:
        raise CodesignError(
            f"program {name} is not installed; use `make demo`, or build the package with colcon "
            "and start `ros2 run codesign_ros codesign demo`"
        )
    return Path(found)


def private_environment() -> dict[str, str]:
    """Return this process's environment, with DDS kept on this machine and in a domain of its own.

    A domain that the user has set is kept. Both names of the localhost switch are set: the first
    is Humble's, the second that of Iron and later.
    """
    environment = dict(os.environ)
    environment.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    if "ROS_AUTOMATIC_DISCOVERY_RANGE" not in environment:
        if environment.get("ROS_DISTRO") == "humble":
            environment["ROS_LOCALHOST_ONLY"] = "1"
        else:
            environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    return environment
