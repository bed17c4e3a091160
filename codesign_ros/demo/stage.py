"""The nodes on which policies are compared, on this machine or on the test bed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codesign_ros.demo.playing import Playing
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.evaluation.compare.arrivals import FAST, RECORDED, Arrivals
from codesign_ros.nodes.observer import Observer
from codesign_ros.resources import resource_path
from codesign_ros.testbed.bed import LinkShape
from codesign_ros.testbed.choosing import choose
from codesign_ros.testbed.processes import NodeProcesses, private_environment
from codesign_ros.testbed.session import Session
from codesign_ros.testbed.setup import ROBOT, Setup
from codesign_ros.types.errors import CodesignError

# Nodes measure themselves first, and may export the network [s].
START_TIMEOUT_S = 600.0
LINK_TIMEOUT_S = 60.0


def pacing_of(arrivals: Arrivals) -> str:
    """The camera's pacing for arrivals of frames.

    Raises:
        CodesignError: it has none such.
    """
    known = {RECORDED: "stamps", FAST: "window", "hz": "rate"}
    if arrivals.kind not in known:
        raise CodesignError(
            "the camera of real nodes has no exponential gaps: give --arrivals recorded, fast, or "
            "a rate as 10hz"
        )
    return known[arrivals.kind]


@dataclass(frozen=True)
class RealRun:
    """What is run.

    Attributes:
        source: what the camera plays.
        topic: its image topic where it has several; may be empty.
        frames: end after so many; 0 = all.
        bundle: folder of the network.
        backend: of both halves.
        arrivals: when frames come.
        link_bps: rate of the uplink, emulated by the head or shaped on the bed [bit/s].
        slowdown: how many times slower than this machine the robot is.
        precisions: that can be chosen.
        planner: parameters of the planner.
    """

    source: str
    topic: str
    frames: int
    bundle: Path
    backend: str
    arrivals: Arrivals
    link_bps: float
    slowdown: float = 1.0
    precisions: tuple[str, ...] = ("fp32",)
    planner: Mapping[str, Any] = field(default_factory=dict)

    @property
    def camera(self) -> dict[str, Any]:
        """Its parameters."""
        path, arrivals = Path(self.source), self.arrivals
        values = {
            "autostart": False,
            "source": str(path.resolve()) if path.exists() else self.source,
            "source_topic": self.topic,
            "frames": self.frames,
            "loop": False,
            "pacing": pacing_of(arrivals),
        }
        if arrivals.kind == FAST:
            values["window"] = arrivals.window
        return values | ({"rate_hz": arrivals.rate_hz} if arrivals.kind == "hz" else {})

    @property
    def head(self) -> dict[str, Any]:
        """Parameters of the head."""
        return {
            **self.tail,
            "image_reliability": "reliable",
            "queue_depth": self.arrivals.queue_depth,
        }

    @property
    def tail(self) -> dict[str, Any]:
        """Parameters of the tail."""
        return {
            "bundle": str(self.bundle.resolve()),
            "backend": self.backend,
            "precisions": list(self.precisions),
        }

    @property
    def planning(self) -> dict[str, Any]:
        """Parameters of the planner."""
        return {
            "bundle": str(self.bundle.resolve()),
            "precisions": list(self.precisions),
            **self.planner,
        }


@dataclass(frozen=True)
class Stage:
    """Nodes at work, their camera configured.

    Attributes:
        observer: hears them.
        playing: steers the camera.
        choose: puts a policy in force.
        check: raises CodesignError where a node has ended.
    """

    observer: Observer
    playing: Playing
    choose: Callable[[str], None]
    check: Callable[[], None]


@contextmanager
def live_nodes(run: RealRun, tell: Callable[[str], None]) -> Iterator[Stage]:
    """Have the four nodes on this machine, the robot's slowness and the uplink's rate emulated.

    Args:
        run: what for.
        tell: told what goes on.

    Raises:
        CodesignError: one did not start.
    """
    environment = private_environment()
    os.environ.update(environment)  # for the observer in this process
    directory = Path(tempfile.mkdtemp(prefix="codesign_compare_"))
    tell(f"nodes start and measure themselves; logs in {directory}")
    overrides = {
        "camera": run.camera,
        "head": {
            **run.head,
            "emulation.link_bps": run.link_bps,
            "emulation.slowdown": run.slowdown,
        },
        "tail": run.tail,
        "planner": run.planning,
    }
    params = resource_path("config") / "split_inference.yaml"
    processes = NodeProcesses(ROBOT, params, overrides, directory, environment)
    observer = Observer(ROBOT)
    try:
        for node in ("planner", "tail", "head", "camera"):
            processes.start(node)
        playing = Playing(observer, ROBOT, processes.check)
        playing.wait(lambda: playing.is_planned, "head and tail to register", START_TIMEOUT_S)
        playing.wait(lambda: playing.is_link_measured, "the link's rate", LINK_TIMEOUT_S)
        playing.configure(pacing_of(run.arrivals))
        observers = {ROBOT: observer}
        yield Stage(
            observer,
            playing,
            lambda policy: choose(policy, observers, playing.wait),
            processes.check,
        )
    finally:
        processes.stop()
        observer.close()


@contextmanager
def bed_nodes(run: RealRun, tell: Callable[[str], None]) -> Iterator[Stage]:
    """Have the nodes on the test bed: the link is shaped, the robot has ``1 / slowdown`` of a core.

    Args:
        run: what for.
        tell: told what goes on.

    Raises:
        CodesignError: no bed can be had, or a node did not start.
    """
    setup = Setup(
        LinkShape(run.link_bps),
        robot_cores=1.0 / run.slowdown,
        bundle=run.bundle,
        planner=run.planning,
        camera=run.camera,
        head=run.head,
        tail=run.tail,
    )
    with Session(setup, "compare", default_cache_dir() / "testbed", tell) as session:
        playing = Playing(session.observer, ROBOT, session.check)
        yield Stage(session.observer, playing, session.set_policy, session.check)
