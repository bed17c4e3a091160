"""The model of a running system: takes news one by one, gives a snapshot at any time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

from codesign_ros.overview.counts import CountHistory
from codesign_ros.overview.snapshot import NodeState, RobotState, ServerState, Snapshot
from codesign_ros.overview.waits import Known, role_of, we_wait_for, what_it_waits_for
from codesign_ros.runtime.device import Device, Heartbeat
from codesign_ros.runtime.messages import Result, Status
from codesign_ros.runtime.news import News, NodeStatus
from codesign_ros.types.plan import Plan

# A node of which nothing was heard for so long is forgotten [s].
_FORGET_S = 60.0
# Results of which the response time is shown.
_RESULTS = 30
_OUTCOMES = ("server", "robot", "fallback", "dropped")


class System:
    """What was heard of all robots. Times are of one steady clock [s]; not thread safe."""

    def __init__(self) -> None:
        self._heard_s: dict[str, float] = {}
        self._devices: dict[str, Device] = {}
        self._beats: dict[str, Heartbeat] = {}
        self._statuses: dict[str, NodeStatus] = {}
        self._counts: dict[str, CountHistory] = {}
        self._plans: dict[str, dict[int, Plan]] = {}
        self._responses: dict[str, deque[float]] = {}
        self._found: tuple[str, ...] = ()

    def hear(self, news: News) -> None:
        """Take in one message."""
        what = news.what
        if isinstance(what, Device):
            # It may be as old as its node: no sign of life by itself.
            self._devices[what.node] = what
        elif isinstance(what, Heartbeat):
            self._beats[what.node] = what
            self._heard_s[what.node] = news.heard_s
        elif isinstance(what, NodeStatus):
            self._statuses[what.node] = what
            self._heard_s[what.node] = news.heard_s
            history = self._counts.setdefault(what.node, CountHistory())
            # A simulated clock that nobody publishes stands at 0.
            history.add(news.stamp_ns / 1e9 if news.stamp_ns else news.heard_s, what.values)
        elif isinstance(what, Plan):
            # The last two: the head may still follow the one before.
            plans = self._plans.setdefault(what.robot, {})
            plans.pop(what.epoch, None)
            plans[what.epoch] = what
            for epoch in list(plans)[:-2]:
                del plans[epoch]
        elif isinstance(what, Result):
            self._result(news.topic.rpartition("/")[0], what)

    def find(self, nodes: Sequence[str]) -> None:
        """Note which nodes of the package discovery has found."""
        self._found = tuple(nodes)

    @property
    def hears_somebody(self) -> bool:
        """Whether any node was heard."""
        return bool(self._heard_s)

    @property
    def knows_rates(self) -> bool:
        """Whether each node that was heard, or only found, has told its counts twice."""
        names = {*self._heard_s, *self._found}
        return bool(names) and all(n in self._counts and self._counts[n].spans for n in names)

    def snapshot(self, now_s: float, listening_since_s: float, domain: str) -> Snapshot:
        """All that is known now.

        Args:
            now_s: the time [s].
            listening_since_s: since when we listen [s].
            domain: the DDS domain, for words.
        """
        self._forget(now_s)
        names = sorted({*self._heard_s, *self._found})
        nodes = [self._node(name, now_s) for name in names]
        heads = [name for name in names if role_of(name) == "head"]
        tails = [name for name in names if role_of(name) == "tail"]
        return Snapshot(
            waits_for=we_wait_for(names, self._heard_s, now_s - listening_since_s, domain),
            robots=tuple(self._robot(head) for head in heads),
            servers=tuple(self._server(tail) for tail in tails),
            nodes=tuple(nodes),
        )

    def _result(self, robot: str, result: Result) -> None:
        if result.status is Status.OK:
            self._responses.setdefault(robot, deque(maxlen=_RESULTS)).append(result.response_s)

    def _forget(self, now_s: float) -> None:
        gone = [name for name, heard_s in self._heard_s.items() if now_s - heard_s > _FORGET_S]
        for name in gone:
            for known in (self._heard_s, self._devices, self._beats, self._statuses, self._counts):
                known.pop(name, None)

    def _node(self, name: str, now_s: float) -> NodeState:
        status, heard_s = self._statuses.get(name), self._heard_s.get(name)
        silent_s = None if heard_s is None else now_s - heard_s
        device = self._devices.get(name)
        robot = device.robot if device else name.rpartition("/")[0]
        known = Known(
            status=status,
            counts=self._counts.get(name, CountHistory()),
            silent_s=silent_s,
            plan=self._newest_plan(robot),
        )
        return NodeState(
            node=name,
            level=status.level.name if status else "",
            message=status.message if status else "",
            silent_s=silent_s,
            waits_for=what_it_waits_for(name, known),
        )

    def _newest_plan(self, robot: str) -> Plan | None:
        plans = self._plans.get(robot)
        return list(plans.values())[-1] if plans else None

    def _robot(self, head: str) -> RobotState:
        robot = head.rpartition("/")[0]
        beat, counts = self._beats.get(head), self._counts.get(head, CountHistory())
        epoch = beat.epoch if beat else counts.last("epoch")
        plan = self._plans.get(robot, {}).get(epoch if epoch is not None else -1)
        status = self._statuses.get(head)
        finished_by = {name: counts.last(name) or 0 for name in _OUTCOMES}
        frames, in_flight = counts.last("frames"), counts.last("in_flight")
        told = frames is not None and in_flight is not None
        running = beat.running if beat else None
        measured = running is not None and running.frames > 0 and running.epoch == epoch
        alone = (status.message if status else "").partition("the robot computes alone: ")[2]
        responses = self._responses.get(robot)
        return RobotState(
            robot=robot,
            epoch=epoch,
            cut=plan.cut if plan else counts.last("cut"),
            codec=plan.codec if plan and plan.served_by else "",
            served_by=plan.served_by if plan else "",
            reason=plan.reason if plan else "",
            alone=alone,
            frames_per_s=counts.rate("frames"),
            results_per_s=counts.rate("server", "robot", "fallback"),
            finished_by=finished_by if told else {},
            drops=_by_reason(counts),
            in_flight=in_flight,
            unaccounted=(
                frames - in_flight - sum(finished_by.values())
                if frames is not None and in_flight is not None
                else None
            ),
            predicted_s=plan.latency_s if plan and plan.epoch else None,
            measured_s=running.latency_s if running is not None and measured else None,
            response_s=median(responses) if responses else None,
            link_bps=(beat.link_bps or None) if beat else None,
            link_delay_s=(beat.link_delay_s or None) if beat else None,
        )

    def _server(self, tail: str) -> ServerState:
        beat, counts = self._beats.get(tail), self._counts.get(tail, CountHistory())
        return ServerState(
            node=tail,
            epoch=beat.epoch if beat else counts.last("epoch"),
            embeddings_per_s=counts.rate("embeddings"),
            answers_per_s=counts.rate("answers"),
            refusals=counts.with_prefix("refused."),
            engines_shared_by=counts.last("engines_shared_by"),
            throttled=beat.throttled if beat else "",
        )


def _by_reason(counts: CountHistory) -> dict[str, int]:
    """Frames that a head dropped since its start, by reason in words."""
    dropped = counts.with_prefix("dropped_")
    return {reason.replace("_", " "): count for reason, count in dropped.items() if count}
