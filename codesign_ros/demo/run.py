"""The demo: a bag through four processes, with a changing link and a server that leaves."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from codesign_ros.bundle import Bundle
from codesign_ros.data.chosen import warnings_of
from codesign_ros.data.sources import open_source
from codesign_ros.demo.report import Recording, answers_by_frame, summarise
from codesign_ros.demo.rerun import rerun
from codesign_ros.demo.scenario import Event, Scenario
from codesign_ros.demo.trials import Trials
from codesign_ros.evaluation.replay import ReplayedFrame
from codesign_ros.nodes.observer import Observer
from codesign_ros.runtime.messages import known_responses_s
from codesign_ros.testbed.processes import NodeProcesses, private_environment
from codesign_ros.types import CodesignError

# Start-up: nodes measure themselves (a few seconds) and may export the network first [s].
START_TIMEOUT_S = 120.0
# The head measures the link before the first frame; without it the first plan assumes a rate [s].
LINK_TIMEOUT_S = 15.0
# Nothing arrives for so long: something is stuck [s].
STALL_TIMEOUT_S = 30.0
# Time for the last results, duplicates among them, once all frames have one [s].
SETTLE_S = 0.5


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
        self.trials = Trials(frames)

    @property
    def frames_sent(self) -> int:
        """Frames that the camera says it sent."""
        return int(self._camera().get("frames", 0))

    def start(self) -> None:
        """Start all nodes and wait until a plan with the server in reach is in force."""
        for node in ("planner", "tail", "head", "camera"):
            self._processes.start(node)
        with self._console.status("nodes start and measure themselves (kept for the next time)"):
            self._wait(self._is_planned, "head and tail to register", START_TIMEOUT_S)
            if self._options.scenario.link_bps:
                self._wait(self._is_link_measured, "the link's rate", LINK_TIMEOUT_S)

    def play(self) -> None:
        """Let the camera play to the end."""
        camera = self._processes.name("camera")
        self._observer.change_state(camera, "configure")
        self._wait(self._is_heard, "the first frame's result to be heard", START_TIMEOUT_S)
        self._observer.change_state(camera, "activate")
        events = list(self._options.scenario.events)
        results = self._observer.results
        progressed_s, seen = time.monotonic(), 0
        with _progress(self._console) as progress:
            task = progress.add_task("frames", total=self._frames, detail="")
            while not self._is_finished():
                if len(results) > seen:
                    progressed_s, seen = time.monotonic(), len(results)
                if time.monotonic() - progressed_s > STALL_TIMEOUT_S:
                    self._console.print(f"[red]no result for {STALL_TIMEOUT_S:.0f} s; giving up[/]")
                    return
                progress.update(task, completed=seen, detail=self._detail())
                self._report_ended()
                if policy := self.trials.due(seen):
                    self._try_policy(policy)
                while events and seen >= events[0].at * self._frames:
                    self._do(events.pop(0))
                time.sleep(0.05)
            progress.update(task, completed=len(results), detail=self._detail())
        time.sleep(SETTLE_S)

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

    def _camera(self) -> dict[str, str]:
        return self._observer.diagnostics.get(self._processes.name("camera"), {})

    def _is_planned(self) -> bool:
        plans = self._observer.plans
        return bool(plans) and plans[-1][1].server_available

    def _is_link_measured(self) -> bool:
        head = self._observer.diagnostics.get(self._processes.name("head"), {})
        return float(head.get("link_bps", 0)) > 0

    def _is_heard(self) -> bool:
        """Whether the head knows that camera and observer listen, and the camera of the observer.

        DDS brings results to those listeners alone that the sender knows of.
        """
        head = self._observer.diagnostics.get(self._processes.name("head"), {})
        results, truths = head.get("listeners result"), self._camera().get("listeners ground_truth")
        known = self._observer.knows("result") and self._observer.knows("ground_truth")
        return known and int(results or 0) >= 2 and int(truths or 0) >= 1

    def _is_finished(self) -> bool:
        if self._camera().get("finished") != "True":
            return False
        stamps = {result.stamp.stamp_ns for _, result in list(self._observer.results)}
        return len(stamps) >= self.frames_sent

    def _wait(self, condition: Any, what: str, timeout_s: float) -> None:
        def checked() -> bool:
            self._processes.check()
            return bool(condition())

        self._observer.wait_until(checked, what, timeout_s)

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
