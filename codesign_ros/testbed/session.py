"""The real nodes on a test bed, and what they reach there under one policy after another."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codesign_ros.nodes.observer import Observer
from codesign_ros.resources import default_bundle, resource_path
from codesign_ros.runtime.messages import Status
from codesign_ros.testbed.bed import Bed, LinkShape
from codesign_ros.testbed.measurement import Measurement, measurement
from codesign_ros.testbed.processes import NodeProcesses
from codesign_ros.types import Plan

ROBOT = "/robot"
# Where each node runs. The planner sits beside the server, as in the documented layout.
SIDE_OF = {"planner": "server", "tail": "server", "head": "robot", "camera": "robot"}
# Nodes measure themselves first, under their quota, and export the network: minutes on a small one.
START_TIMEOUT_S = 600.0
PLAN_TIMEOUT_S = 60.0
# Without a frame for so long something is stuck.
FRAME_TIMEOUT_S = 30.0
# Frames of the camera that wait for the head, so that the head and not the reader drops them.
_QUEUE_DEPTH = 8


@dataclass(frozen=True)
class Setup:
    """A cell of the matrix: what both sides and the link are, and what is planned for.

    Attributes:
        link: the link, the same both ways.
        robot_cores, server_cores: each side's share of its core.
        precision: of both halves.
        objective: what ours plans for, ``latency`` or ``throughput``.
        window: frames in flight where the camera follows the results.
        source: what the camera plays, in a loop.
        planner: other parameters of the planner.
    """

    link: LinkShape
    robot_cores: float = 0.5
    server_cores: float = 1.0
    precision: str = "fp32"
    objective: str = "throughput"
    window: int = 4
    source: str = ""
    planner: Mapping[str, Any] = field(default_factory=dict)


class Session:
    """Nodes at work on a test bed, until it is closed; a context manager.

    Args:
        setup: the cell.
        name: of the bed.
        cache: where each side keeps its engines and profiles.
        tell: told what goes on, a line at a time.

    Raises:
        CodesignError: no bed can be had, or a node did not start.
    """

    def __init__(
        self, setup: Setup, name: str, cache: Path, tell: Callable[[str], None] = lambda line: None
    ) -> None:
        self._setup = setup
        self._directory = Path(tempfile.mkdtemp(prefix=f"codesign_{name}_"))
        self._tell = tell
        self._cache = cache
        self._planner = dict(setup.planner)
        self._is_playing = False
        self._observer: Observer | None = None
        self._processes: NodeProcesses | None = None
        self._bed = Bed(
            name, setup.link, {"robot": setup.robot_cores, "server": setup.server_cores}
        )
        self._within = self._bed.within("robot")
        self._within.__enter__()
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def bed(self) -> Bed:
        """The two sides and their link."""
        return self._bed

    @property
    def observer(self) -> Observer:
        """What was seen so far."""
        assert self._observer is not None
        return self._observer

    @property
    def processes(self) -> NodeProcesses:
        """The nodes, to be hurt."""
        assert self._processes is not None
        return self._processes

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self.observer.plans[-1][1]

    def close(self) -> None:
        """Stop the nodes and remove the bed."""
        if self._processes is not None:
            self._processes.stop()
        if self._observer is not None:
            self._observer.close()
        self._within.__exit__(None, None, None)
        self._bed.close()

    def set_policy(self, policy: str) -> None:
        """Let another policy choose, and wait for its plan.

        Raises:
            CodesignError: the planner does not know it, or it cannot choose here.
        """
        planner, observer = self._node("planner"), self.observer
        seen = len(observer.plans)
        observer.set_parameter(planner, "policy", policy)
        told = f"policy set to {policy}"
        self._wait(
            lambda: any(told in plan.reason for _, plan in observer.plans[seen:]),
            f"the plan of policy {policy}",
            PLAN_TIMEOUT_S,
        )

    def set_planner(self, values: Mapping[str, Any]) -> None:
        """Set parameters of the planner that are not as they should be.

        Raises:
            CodesignError: it refuses one.
        """
        for name, value in values.items():
            if self._planner.get(name) != value:
                self.observer.set_parameter(self._node("planner"), name, value)
                self._planner[name] = value

    def play(self, rate_hz: float | None = None) -> None:
        """Let the camera play, at a rate or as fast as results come, from the recording's start."""
        camera = self._node("camera")
        if self._is_playing:
            self.observer.change_state(camera, "deactivate")
        if rate_hz is not None:
            self.observer.set_parameter(camera, "rate_hz", rate_hz)
        self.observer.set_parameter(camera, "pacing", "rate" if rate_hz else "window")
        self.observer.change_state(camera, "activate")
        self._is_playing = True

    def pause(self) -> None:
        """Let the camera stop."""
        self.observer.change_state(self._node("camera"), "deactivate")
        self._is_playing = False

    def watch(self, seconds: float, policy: str, rate_hz: float | None = None) -> Measurement:
        """Measure what the nodes do for a while, from now on.

        Args:
            seconds: how long [s].
            policy: whose plan is in force, for the report.
            rate_hz: the camera's rate; None = as fast as results come.
        """
        bed, observer = self._bed, self.observer
        cpu_s = {side: bed.cpu_s(side) for side in ("robot", "server")}
        sent = {side: bed.sent_bytes(side) for side in ("robot", "server")}
        start_s, results, plans = time.monotonic(), len(observer.results), len(observer.plans)
        first_plan = self.plan
        self.wait(seconds)
        end_s = time.monotonic()
        return measurement(
            policy,
            rate_hz,
            end_s - start_s,
            observer.results[results:],
            [first_plan, *(plan for _, plan in observer.plans[plans:])],
            {side: bed.cpu_s(side) - before for side, before in cpu_s.items()},
            {side: bed.sent_bytes(side) - before for side, before in sent.items()},
        )

    def wait(self, seconds: float) -> None:
        """Let time pass [s]; a node that ends meanwhile raises."""
        give_up_s = time.monotonic() + seconds
        while (left_s := give_up_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.2))
            self._check()

    def wait_for_frames(self, frames: int, timeout_s: float = FRAME_TIMEOUT_S) -> None:
        """Wait until so many more frames were answered."""
        seen = len(self.observer.results)
        self._wait(
            lambda: len(self.observer.results) >= seen + frames, f"{frames} frames", timeout_s
        )

    def wait_for_server(self, frames: int, timeout_s: float = FRAME_TIMEOUT_S) -> None:
        """Wait until so many more frames in a row were answered by the server."""
        seen = len(self.observer.results)

        def served() -> bool:
            newest = [result for _, result in self.observer.results[seen:]][-frames:]
            return len(newest) == frames and all(r.finished_by == "server" for r in newest)

        self._wait(served, f"{frames} frames in a row by the server", timeout_s)

    def wait_for_epoch(self, epoch: int, frames: int) -> None:
        """Wait until so many frames were answered under a plan at least as new."""
        seen = len(self.observer.results)

        def answered() -> bool:
            late = self.observer.results[seen:]
            of_plan = [r for _, r in late if r.epoch >= epoch and r.status is Status.OK]
            return len(of_plan) >= frames

        self._wait(answered, f"{frames} frames under epoch {epoch}", FRAME_TIMEOUT_S)

    def _start(self) -> None:
        environment = dict(os.environ)
        environment["ROS_DOMAIN_ID"] = "0"
        environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SUBNET"
        environment["OMP_NUM_THREADS"] = "1"
        # This process has the robot's network, but not its shared memory.
        os.environ.update(environment, FASTDDS_BUILTIN_TRANSPORTS="UDPv4")
        processes = self._processes = NodeProcesses(
            ROBOT,
            resource_path("config") / "split_inference.yaml",
            self._overrides(),
            self._directory,
            environment,
            self._place,
        )
        self._observer = Observer(ROBOT)
        self._tell(f"nodes start and measure themselves; logs in {self._directory}")
        for node in ("planner", "tail", "head", "camera"):
            processes.start(node)
        plans = self._observer.plans
        self._wait(
            lambda: bool(plans) and plans[-1][1].server_available,
            "head and tail to register",
            START_TIMEOUT_S,
        )
        self._wait(self._is_link_measured, "the link's rate", PLAN_TIMEOUT_S)
        self._observer.change_state(self._node("camera"), "configure")
        self._wait(
            lambda: self.observer.knows("result"), "the head's results to be heard", PLAN_TIMEOUT_S
        )

    def _overrides(self) -> dict[str, dict[str, Any]]:
        setup, bundle = self._setup, str(default_bundle())
        source = setup.source or str(resource_path("bags") / "mine_demo")
        return {
            "camera": {
                "autostart": False,
                "source": source,
                "loop": True,
                "window": setup.window,
            },
            "head": {
                "bundle": bundle,
                "precisions": [setup.precision],
                "image_reliability": "reliable",
                "queue_depth": _QUEUE_DEPTH,
            },
            "tail": {"bundle": bundle, "precisions": [setup.precision]},
            "planner": {
                "bundle": bundle,
                "precisions": [setup.precision],
                "objective": setup.objective,
                **setup.planner,
            },
        }

    def _place(self, node: str, command: list[str]) -> list[str]:
        side = SIDE_OF[node]
        cache = self._cache / side
        return self._bed.command(side, ["env", f"CODESIGN_CACHE_DIR={cache}", *command])

    def _node(self, name: str) -> str:
        assert self._processes is not None
        return self._processes.name(name)

    def _is_link_measured(self) -> bool:
        head = self.observer.diagnostics.get(self._node("head"), {})
        return float(head.get("link_bps", 0)) > 0

    def _check(self) -> None:
        assert self._processes is not None
        self._processes.check()

    def _wait(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        def checked() -> bool:
            self._check()
            return condition()

        self.observer.wait_until(checked, what, timeout_s)
