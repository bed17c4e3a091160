"""The real nodes on a test bed, and what they reach there under one policy after another."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from codesign_ros.bundle import Bundle
from codesign_ros.nodes.observer import Observer
from codesign_ros.resources import default_bundle, resource_path
from codesign_ros.runtime.messages import Result, Status
from codesign_ros.testbed.accuracy import accuracy_of
from codesign_ros.testbed.bed import SIDES, Bed
from codesign_ros.testbed.choosing import PLAN_TIMEOUT_S, choose
from codesign_ros.testbed.measurement import Measurement, Seen, measurement
from codesign_ros.testbed.processes import NodeProcesses
from codesign_ros.testbed.setup import PLANNER, ROBOT, Setup, host_of
from codesign_ros.types.plan import Plan

# Nodes measure themselves first, under their quota, and export the network: minutes on a small one.
START_TIMEOUT_S = 600.0
# Without a frame for so long something is stuck.
FRAME_TIMEOUT_S = 30.0


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
        self._bundle = Bundle.open(setup.bundle or default_bundle())
        self._is_playing = False
        self._observers: dict[str, Observer] = {}
        self._processes: dict[str, NodeProcesses] = {}
        self._bed = Bed(name, setup.link, setup.cores)
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
        """What was seen so far of the first robot."""
        return self._observers[ROBOT]

    @property
    def processes(self) -> NodeProcesses:
        """The nodes of the first robot and of the server, to be hurt."""
        return self._processes[ROBOT]

    @property
    def plan(self) -> Plan:
        """The first robot's plan in force."""
        return self.observer.plans[-1][1]

    def close(self) -> None:
        """Stop the nodes and remove the bed."""
        for processes in self._processes.values():
            processes.stop()
        for observer in self._observers.values():
            observer.close()
        self._within.__exit__(None, None, None)
        self._bed.close()

    def set_policy(self, policy: str, timeout_s: float = PLAN_TIMEOUT_S) -> None:
        """Let another policy choose, and wait for its plan for each robot.

        Raises:
            CodesignError: the planner does not know it, or it cannot choose here.
        """
        choose(policy, self._observers, self._wait, timeout_s)

    def set_planner(self, values: Mapping[str, Any]) -> None:
        """Set parameters of the planner that are not as they should be.

        Raises:
            CodesignError: it refuses one.
        """
        for name, value in values.items():
            if self._planner.get(name) != value:
                self.observer.set_parameter(PLANNER, name, value)
                self._planner[name] = value

    def play(self, rate_hz: float | None = None) -> None:
        """Let cameras play, at a rate or as fast as results come, from the recording's start."""
        if self._is_playing:
            self.pause()
        for robot in self._observers:
            camera = f"{robot}/camera"
            if rate_hz is not None:
                self.observer.set_parameter(camera, "rate_hz", rate_hz)
            self.observer.set_parameter(camera, "pacing", "rate" if rate_hz else "window")
            self.observer.change_state(camera, "activate")
        self._is_playing = True

    def pause(self) -> None:
        """Let cameras stop."""
        for robot in self._observers:
            self.observer.change_state(f"{robot}/camera", "deactivate")
        self._is_playing = False

    def watch(self, seconds: float, policy: str, rate_hz: float | None = None) -> Measurement:
        """Measure what the nodes do for a while, from now on.

        Args:
            seconds: how long [s].
            policy: whose plans are in force, for the report.
            rate_hz: each camera's rate; None = as fast as results come.
        """
        bed, observers = self._bed, self._observers.values()
        cpu_s = {side: bed.cpu_s(side) for side in SIDES}
        sent = {side: bed.sent_bytes(side) for side in SIDES}
        start_s = time.monotonic()
        seen = [(len(o.results), len(o.plans)) for o in observers]
        self.wait(seconds)
        end_s = time.monotonic()
        # The last plan before is the one in force at the start.
        robots = [
            Seen(
                [result for _, result in observer.results[results:]],
                [plan for _, plan in observer.plans[plans - 1 :]],
            )
            for observer, (results, plans) in zip(observers, seen, strict=True)
        ]
        return measurement(
            policy,
            rate_hz,
            end_s - start_s,
            robots,
            {side: bed.cpu_s(side) - before for side, before in cpu_s.items()},
            {side: bed.sent_bytes(side) - before for side, before in sent.items()},
            self._accuracy([robot.results for robot in robots]),
        )

    def wait(self, seconds: float) -> None:
        """Let time pass [s]; a node that ends meanwhile raises."""
        give_up_s = time.monotonic() + seconds
        while (left_s := give_up_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.2))
            self.check()

    def wait_for_frames(self, frames: int, timeout_s: float = FRAME_TIMEOUT_S) -> None:
        """Wait until so many more frames of each robot were answered."""
        goals = {robot: len(o.results) + frames for robot, o in self._observers.items()}
        self._wait(
            lambda: all(len(self._observers[r].results) >= goal for r, goal in goals.items()),
            f"{frames} frames",
            timeout_s,
        )

    def wait_for_plans(self, frames: int) -> None:
        """Wait until so many frames of each robot were answered under its plan in force."""
        for observer in self._observers.values():
            self._wait_for_epoch(observer, observer.plans[-1][1].epoch, frames)

    def wait_for_server(self, frames: int, timeout_s: float = FRAME_TIMEOUT_S) -> None:
        """Wait until so many more frames in a row were answered by the server."""
        seen = len(self.observer.results)

        def served() -> bool:
            newest = [result for _, result in self.observer.results[seen:]][-frames:]
            return len(newest) == frames and all(r.finished_by == "server" for r in newest)

        self._wait(served, f"{frames} frames in a row by the server", timeout_s)

    def wait_for_epoch(self, epoch: int, frames: int) -> None:
        """Wait until so many frames were answered under a plan at least as new."""
        self._wait_for_epoch(self.observer, epoch, frames)

    def _wait_for_epoch(self, observer: Observer, epoch: int, frames: int) -> None:
        seen = len(observer.results)

        def answered() -> bool:
            late = observer.results[seen:]
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
        self._tell(f"nodes start and measure themselves; logs in {self._directory}")
        for robot, nodes in self._setup.nodes.items():
            directory = self._directory / robot.strip("/")
            directory.mkdir()
            self._observers[robot] = Observer(robot)
            processes = self._processes[robot] = NodeProcesses(
                robot,
                resource_path("config") / "split_inference.yaml",
                self._setup.overrides(),
                directory,
                environment,
                partial(self._place, robot),
            )
            for node in nodes:
                processes.start(node)
        observers = self._observers.values()
        self._wait(
            lambda: all(o.plans and o.plans[-1][1].server_available for o in observers),
            "heads and tails to register",
            START_TIMEOUT_S,
        )
        self._wait(self._are_links_measured, "the link's rate", PLAN_TIMEOUT_S)
        for robot in self._observers:
            self.observer.change_state(f"{robot}/camera", "configure")
        self._wait(
            lambda: all(o.knows("result") for o in observers),
            "the heads' results to be heard",
            PLAN_TIMEOUT_S,
        )

    def _place(self, robot: str, node: str, command: list[str]) -> list[str]:
        host = host_of(robot, node)
        cache = self._cache / host
        return self._bed.command(host, ["env", f"CODESIGN_CACHE_DIR={cache}", *command])

    def _accuracy(self, results: Sequence[Sequence[Result]]) -> float | None:
        bundle = self._bundle
        of_robots = zip(self._observers.values(), results, strict=True)
        return accuracy_of(bundle.task, bundle.classes, [(o.truths, seen) for o, seen in of_robots])

    def _are_links_measured(self) -> bool:
        diagnostics = self.observer.diagnostics
        heads = (diagnostics.get(f"{robot}/head", {}) for robot in self._observers)
        return all(float(head.get("link_bps", 0)) > 0 for head in heads)

    def check(self) -> None:
        """Raise CodesignError if a node has ended."""
        for processes in self._processes.values():
            processes.check()

    def _wait(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        def checked() -> bool:
            self.check()
            return condition()

        self.observer.wait_until(checked, what, timeout_s)
