"""The demo: a bag through four processes, with a changing link and a server that leaves."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from codesign_ros.bundle import Bundle
from codesign_ros.console import alive
from codesign_ros.data.chosen import warnings_of
from codesign_ros.data.sources import open_source
from codesign_ros.demo.playing import STALL_TIMEOUT_S, Playing
from codesign_ros.demo.report import Recording, answers_by_frame, summarise
from codesign_ros.demo.rerun import rerun
from codesign_ros.demo.scenario import Event, Scenario
from codesign_ros.demo.trials import FEWEST_FRAMES, SHARE, Trials
from codesign_ros.evaluation.replay import ReplayedFrame
from codesign_ros.nodes.observer import Observer
from codesign_ros.runtime.messages import known_responses_s
from codesign_ros.testbed.processes import NodeProcesses, private_environment
from codesign_ros.types.errors import CodesignError

# Start-up: nodes export the network and measure themselves the first time, which takes a minute,
# and several where the machine is busy [s].
START_TIMEOUT_S = 600.0
# The head measures the link before the first frame; without it the first plan assumes a rate [s].
LINK_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class DemoOptions:
    """What `codesign demo` was asked for.

    Attributes:
        source: a bag, or anything else that has an end and `open_source` opens.
        bundle: the model bundle.
        params: parameter file of the nodes.
        scenario: what is emulated and what happens.
        planner: parameters of the planner that go before the file and the scenario.
        frames: end after so many frames; 0 = all.
        topic: image topic of a bag that has several; may be empty.
        robot: the robot's namespace.
    """

    source: str
    bundle: Path
    params: Path
    scenario: Scenario
    planner: Mapping[str, Any]
    frames: int = 0
    topic: str = ""
    robot: str = "/robot"


def run_demo(options: DemoOptions, console: Console) -> dict[str, Any]:
    """Play the source through camera, head, tail and planner, and report.

    Returns:
        The report of ``codesign_ros.demo.report.summarise``.

    Raises:
        CodesignError: the source or bundle cannot be used, or a node that is needed ended.
    """
    bundle = Bundle.open(options.bundle)
    source = open_source(options.source, topic=options.topic or None, frames=options.frames)
    if source.frames is None or source.live:
        raise CodesignError(f"source {options.source} has no end; give the demo --frames")
    for warning in warnings_of(source):
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)
    environment = private_environment()
    os.environ.update(environment)  # for the observer in this process
    directory = Path(tempfile.mkdtemp(prefix="codesign_demo_"))
    console.print(
        f"[bold]codesign demo[/]: {options.source} ({source.frames} frames) with {bundle.name}, "
        f"DDS domain {environment['ROS_DOMAIN_ID']}, logs in {directory}"
    )
    console.print(_scene(options.scenario))
    processes = NodeProcesses(
        options.robot, options.params, _overrides(options), directory, environment
    )
    observer = Observer(options.robot)
    try:
        run = _Run(options, source.frames, processes, observer, console)
        run.start()
        run.play()
    finally:
        processes.stop()
        observer.close()
    plans = [plan for _, plan in observer.plans]
    one_process: list[ReplayedFrame] = []
    results = answers_by_frame(observer.results)
    if len(results) == run.frames_sent:
        console.print("the same frames in one process, each under the plan that it had:")
        with _progress(console) as progress:
            task = progress.add_task("evaluating", total=len(results), detail="")
            for prediction in rerun(source, bundle, results, plans):
                one_process.append(prediction)
                progress.update(task, completed=len(one_process))
    return summarise(
        Recording(
            frames=run.frames_sent,
            results=observer.results,
            plans=plans,
            truths=observer.truths,
            task=bundle.task,
            classes=bundle.classes,
            trials=run.trials.summary(observer.results, plans),
            one_process=one_process,
            emulation=options.scenario.emulation,
        )
    )


def _scene(scenario: Scenario) -> str:
    if not scenario.emulation:
        return "nothing is emulated: both halves run on this machine at its own speed"
    return (
        f"[yellow]emulated[/]: robot {scenario.robot_slowdown or 1:g} times slower than this "
        f"machine, server {scenario.server_slowdown or 1:g} times, "
        + (f"uplink {scenario.link_bps / 1e6:g} Mbit/s" if scenario.link_bps else "uplink free")
    )


def _overrides(options: DemoOptions) -> dict[str, dict[str, Any]]:
    scenario, bundle = options.scenario, str(options.bundle.resolve())
    overrides: dict[str, dict[str, Any]] = {
        node: dict(scenario.parameters.get(node, {}))
        for node in ("camera", "head", "tail", "planner")
    }
    source = Path(options.source)
    overrides["camera"] |= {
        "autostart": False,
        "source": str(source.resolve()) if source.exists() else options.source,
        "frames": options.frames,
        "source_topic": options.topic,
    }
    overrides["head"] |= {
        "bundle": bundle,
        "emulation.slowdown": scenario.robot_slowdown,
        "emulation.link_bps": scenario.link_bps,
    }
    overrides["tail"] |= {"bundle": bundle, "emulation.slowdown": scenario.server_slowdown}
    overrides["planner"] |= {"bundle": bundle, **options.planner}
    return overrides


class _Run:
    """One run: start the nodes, let the camera play, do what the script says, wait for the end."""

    def __init__(
        self,
        options: DemoOptions,
        frames: int,
        processes: NodeProcesses,
        observer: Observer,
        console: Console,
    ) -> None:
        self._options = options
        self._frames = frames
        self._processes = processes
        self._observer = observer
        self._console = console
        self._reported: set[str] = set()
        self._playing = Playing(observer, options.robot, processes.check)
        self.trials = Trials(frames)

    @property
    def frames_sent(self) -> int:
        """Frames that the camera says it sent."""
        return self._playing.frames_sent

    def start(self) -> None:
        """Start all nodes and wait until a plan with the server in reach is in force."""
        playing = self._playing
        for node in ("planner", "tail", "head", "camera"):
            self._processes.start(node)
        with alive("nodes start and measure themselves (kept for the next time)"):
            playing.wait(lambda: playing.is_planned, "head and tail to register", START_TIMEOUT_S)
            if self._options.scenario.link_bps:
                playing.wait(lambda: playing.is_link_measured, "the link's rate", LINK_TIMEOUT_S)

    def play(self) -> None:
        """Let the camera play to the end."""
        self._playing.configure()
        self._playing.play()
        events = list(self._options.scenario.events)
        if not self.trials.is_tried:
            least = math.ceil(FEWEST_FRAMES / SHARE)
            self._console.print(
                f"{self._frames} frames are too few to compare policies, which takes {least}"
            )
        with _progress(self._console) as progress:
            task = progress.add_task("frames", total=self._frames, detail="")

            def look(seen: int) -> None:
                progress.update(task, completed=seen, detail=self._detail())
                self._report_ended()
                if policy := self.trials.due(seen):
                    self._try_policy(policy)
                while events and seen >= events[0].at * self._frames:
                    self._do(events.pop(0))

            if not self._playing.to_end(look):
                self._console.print(f"[red]no result for {STALL_TIMEOUT_S:.0f} s; giving up[/]")

    def _try_policy(self, policy: str) -> None:
        """Let another policy choose from now on."""
        self._console.print(f"frame {len(self._observer.results)}: policy {policy} chooses")
        try:
            planner = self._processes.name("planner")
            self._observer.set_parameter(planner, "policy", policy, timeout_s=5.0)
        except CodesignError as error:
            self._console.print(f"[yellow]policy {policy} was not tried: {error}[/]")

    def _do(self, event: Event) -> None:
        self._console.print(f"frame {len(self._observer.results)}: {event.text}")
        try:
            if event.link_bps is not None:
                head = self._processes.name("head")
                self._observer.set_parameter(head, "emulation.link_bps", event.link_bps)
            elif event.tail is not None:
                self._observer.change_state(self._processes.name("tail"), event.tail, timeout_s=5.0)
        except CodesignError as error:
            self._console.print(f"[yellow]this event did not happen: {error}[/]")

    def _report_ended(self) -> None:
        """Say once which node has ended; without head or camera there is nothing to wait for.

        Raises:
            CodesignError: the head or the camera ended.
        """
        for node in self._processes.ended().keys() - self._reported:
            self._reported.add(node)
            line = self._processes.explain(node)
            if node in ("head", "camera"):
                raise CodesignError(line)
            self._console.print(f"[yellow]{line}; the robot goes on[/]")

    def _detail(self) -> str:
        recent = self._observer.results[-30:]
        if len(recent) < 2:
            return ""
        rate = (len(recent) - 1) / max(recent[-1][0] - recent[0][0], 1e-9)
        known_s = known_responses_s(result for _, result in recent)
        response = f"{1e3 * median(known_s):5.0f} ms" if known_s else "   no stamps"
        plan = self._observer.plans[-1][1]
        where = f"cut {plan.cut} {plan.codec}" if plan.served_by else "robot alone"
        return f"{rate:5.1f}/s {response}  epoch {plan.epoch}: {where}"


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}"),
        console=console,
    )
