"""Leading head and tail from plan to plan: prepare, commit, and what to do when one refuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from codesign_ros.nodes.interface.messages import plan_to_msg
from codesign_ros.nodes.wiring import WiredNode
from codesign_ros.runtime.planner.policy import looks_at_operations
from codesign_ros.runtime.planner.runtime import Due, PlannerRuntime
from codesign_ros.srv import CommitPlan, PreparePlan
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

# What has nothing to build answers at once. Getting the engines of a plan ready takes a fraction of
# a second when the cache is warm, and a minute on a share of a core that exports and calibrates the
# network first. A device that builds engines ahead has longer for it, as long as it lives: its file
# may be gone, or of another driver.
SERVICE_TIMEOUT_S, READY_TIMEOUT_S = 30.0, 300.0
# Robots that are led at once; one more waits until another has its plan. Those without a plan so
# far have threads of their own: none that never followed a plan keeps one waiting that does.
MOST_ROBOTS = 64
# After a plan that could not be put in force; longer than the time between two heartbeats [s].
RETRY_S = 1.0
_POLL_S = 0.05
# How often it is looked whether devices run the plans in force [s].
_LOOK_S = 0.5


def get_ready(runtime: PlannerRuntime, lock: threading.RLock, mode: str) -> None:
    """Do what takes seconds before the lock is taken, under which heartbeats are heard."""
    with lock:
        devices = runtime.registry.devices
    counted = looks_at_operations(runtime.settings.policy)
    runtime.costs.get_ready(mode, devices, counted)


class _Call(NamedTuple):
    """A service that was asked, of which node's start, and until when it may answer [s]."""

    client: Any
    name: str
    session: int
    give_up_s: float
    future: Any
    answered: threading.Event


class PlanLeader:
    """Solves for robots that need it and puts the plans in force.

    Each robot is led on a thread of its own, one plan after the other, so that none waits for the
    devices of another.

    Args:
        node: the planner.
        runtime: decides for whom to solve, and solves.
        lock: held whenever ``runtime`` is used.
        publish: told of every plan once it is in force.
        serves: whether this planner leads; where another one does, it makes no plan.
    """

    def __init__(
        self,
        node: WiredNode,
        runtime: PlannerRuntime,
        lock: threading.RLock,
        publish: Callable[[Plan], None],
        serves: Callable[[], bool],
    ) -> None:
        # Why a robot has no new plan, one line each.
        self._failures: dict[str, str] = {}
        self._node = node
        self._runtime = runtime
        self._lock = lock
        self._publish = publish
        self._serves = serves
        # One robot is solved for at a time, so that news wait for one solution at most.
        self._solving = threading.Lock()
        self._looked_s = 0.0
        self._stopping = threading.Event()
        # Robots that are being led.
        self._busy: set[str] = set()
        self._threads = ThreadPoolExecutor(MOST_ROBOTS, thread_name_prefix="planner")
        self._first_plans = ThreadPoolExecutor(MOST_ROBOTS, thread_name_prefix="first-plans")

    def wake(self) -> None:
        """Look for robots that need a plan, and lead them."""
        with self._lock:
            if self._stopping.is_set() or not self._serves():
                return
            now_s = time.monotonic()
            if now_s >= self._looked_s + _LOOK_S:
                self._looked_s = now_s
                for robot in self._runtime.strayed(now_s):
                    if robot not in self._busy:
                        self._runtime.request(robot, "it runs another plan", now_s)
            plans = self._runtime.plans
            for due in self._runtime.due(now_s, self._busy):
                self._busy.add(due.robot)
                has_plan = due.robot in plans
                (self._threads if has_plan else self._first_plans).submit(self._lead, due)

    def stop(self) -> None:
        """Stop; the plans in force stay."""
        with self._lock:
            self._stopping.set()
        for threads in (self._threads, self._first_plans):
            threads.shutdown(cancel_futures=True)

    @property
    def failures(self) -> list[str]:
        """Why robots have no new plan, one line each; the lock is held."""
        return list(self._failures.values())

    def _lead(self, due: Due) -> None:
        try:
            try:
                self._lead_to_next_plan(due)
            finally:
                self._order_builds(due.robot)
        except CodesignError as error:
            if self._serves():
                self._note_failure(due.robot, str(error))
        except Exception as error:
            # It must show, and cost this robot a plan, not the planner this robot.
            self._note_failure(due.robot, self._node.defect(error))
        finally:
            with self._lock:
                self._busy.discard(due.robot)

    def _lead_to_next_plan(self, due: Due) -> None:
        runtime, robot = self._runtime, due.robot
        get_ready(runtime, self._lock, runtime.settings.mode)
        with self._solving, self._lock:
            now_s = time.monotonic()
            plan = runtime.next_plan(robot, due.reason, now_s, optional=due.optional)
            head = runtime.registry.head_of(robot)
        if plan is not None and head is not None:
            try:
                self._put_in_force(plan, head.node)
            except CodesignError:
                # A device that is just coming or going, or that is in a later epoch than it has
                # told us of yet.
                with self._lock:
                    runtime.request(robot, due.reason, time.monotonic() + RETRY_S)
                if self._stopping.is_set():
                    return
                raise
        with self._lock:
            self._failures.pop(robot, None)
            if plan is None or not self._serves():
                return
            runtime.adopt(plan, time.monotonic())
        self._publish(plan)

    def _order_builds(self, robot: str) -> None:
        """Ask devices for the engines of other plans, which they build in the background.

        Those of a better one, and those of one that may be needed soon.
        """
        with self._solving, self._lock:
            builds = self._runtime.take_builds(robot, time.monotonic())
            builds += self._runtime.foresee(robot)
        for build in builds:
            request = PreparePlan.Request(
                plan=plan_to_msg(build.plan), build_only=True, session=self._session_of(build.node)
            )
            try:
                self._call(PreparePlan, f"{build.node}/prepare_plan", request, SERVICE_TIMEOUT_S)
            except CodesignError as error:
                with self._lock:
                    self._runtime.not_asked(build)
                if not self._stopping.is_set():
                    self._node.get_logger().warning(f"not asked for an engine: {error}")

    def _note_failure(self, robot: str, why: str) -> None:
        line = f"no new plan for {robot}: {why}"
        with self._lock:
            is_new = self._failures.get(robot) != line
            self._failures[robot] = line
        if is_new:
            self._node.get_logger().error(line)

    def _put_in_force(self, plan: Plan, head: str) -> None:
        """Prepare tail and head, both at once; then commit the head and tell the tail.

        Raises:
            CodesignError: one of them refused or did not answer; the old plan runs on.
        """
        msg = plan_to_msg(plan)
        names = (plan.served_by, head) if plan.served_by else (head,)
        # Where another node of the name takes its place meanwhile, it is not the one that is meant.
        followers = [(node, self._session_of(node)) for node in names]
        prepared = []
        for node, session in followers:
            prepare = PreparePlan.Request(plan=msg, session=session)
            patience_s = self._patience_s(node)
            prepared.append(self._ask(PreparePlan, f"{node}/prepare_plan", prepare, patience_s))
        for call in prepared:
            self._await(call)
        for node, session in reversed(followers):
            commit = CommitPlan.Request(epoch=plan.epoch, planner=plan.planner, session=session)
            self._call(CommitPlan, f"{node}/commit_plan", commit, SERVICE_TIMEOUT_S)

    def _session_of(self, node: str) -> int:
        with self._lock:
            device = self._runtime.registry.announced(node)
        return device.session if device else 0

    def _patience_s(self, node: str) -> float:
        """How long a node may take to get a plan ready [s]."""
        with self._lock:
            device = self._runtime.registry.announced(node)
            if device is None or device.engines is None:
                return READY_TIMEOUT_S
            return max(READY_TIMEOUT_S, self._runtime.settings.build_timeout_s)

    def _call(self, kind: Any, name: str, request: Any, timeout_s: float) -> None:
        self._await(self._ask(kind, name, request, timeout_s))

    def _ask(self, kind: Any, name: str, request: Any, timeout_s: float) -> _Call:
        """Ask a service; its answer is awaited by ``_await``."""
        if not self._serves():
            raise CodesignError("another planner leads")
        client = self._node.client(kind, name)
        give_up_s = time.monotonic() + timeout_s
        while not client.service_is_ready():
            if self._hopeless(name, request.session, give_up_s):
                raise CodesignError(f"service {name} is not there")
            self._stopping.wait(_POLL_S)
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        return _Call(client, name, request.session, give_up_s, future, answered)

    def _await(self, call: _Call) -> None:
        while not call.answered.wait(_POLL_S):
            if self._hopeless(call.name, call.session, call.give_up_s):
                call.client.remove_pending_request(call.future)
                raise CodesignError(f"service {call.name} does not answer")
        answer: Any = call.future.result()
        if not answer.ok:
            raise CodesignError(answer.message)

    def _hopeless(self, service: str, session: int, give_up_s: float) -> bool:
        """Whether waiting for a service makes no sense: time is up, or its node has left."""
        with self._lock:
            device = self._runtime.registry.registered(service.rpartition("/")[0])
        is_there = device is not None and device.session == session
        return not is_there or self._stopping.is_set() or time.monotonic() > give_up_s
