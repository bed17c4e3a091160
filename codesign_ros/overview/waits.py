"""What each node waits for, and what whoever looks on waits for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from codesign_ros.overview.counts import CountHistory
from codesign_ros.runtime.news import Level, NodeStatus
from codesign_ros.types.plan import Plan

# Diagnostics come every second [s].
_SILENT_S = 3.0

_NEXT_TRANSITION = {"unconfigured": "configure", "inactive": "activate"}


@dataclass(frozen=True)
class Known:
    """What is known of a node; ``plan`` is the newest of its robot."""

    status: NodeStatus | None
    counts: CountHistory
    silent_s: float | None
    plan: Plan | None


def role_of(node: str) -> str:
    """The last part of its name: head, tail, camera, planner."""
    return node.rpartition("/")[2]


def what_it_waits_for(node: str, known: Known) -> str:
    """One line; empty where it works."""
    if known.silent_s is None:
        return "being heard: it was found, but nothing it sends arrives (codesign doctor)"
    if known.silent_s > _SILENT_S:
        return f"a sign of life: nothing was heard for {known.silent_s:.0f} s"
    status = known.status
    if status is None:
        return ""
    if transition := _NEXT_TRANSITION.get(status.message.partition(":")[0]):
        if state := status.values.get("on the way to", ""):
            return f"itself: it is on the way to {state}"
        why = status.message.partition(": ")[2]
        return f"transition {transition}" + (f"; the last failed: {why}" if why else "")
    if building := status.values.get("building", ""):
        return f"an engine: {building}"
    find = {"camera": _camera, "head": _head, "tail": _tail, "planner": _planner}.get(role_of(node))
    return find(known, status) if find else ""


def _camera(known: Known, status: NodeStatus) -> str:
    if status.values.get("finished") == "True":
        return "nothing more: its source is at its end"
    if known.counts.rate("frames") != 0:
        return ""
    listeners = [name for name in status.values if name.startswith("listeners image")]
    if listeners and not any(known.counts.last(name) for name in listeners):
        return "somebody who takes its frames"
    unanswered = known.counts.last("unanswered")
    return f"results of {unanswered} frames" if unanswered else "its source"


def _head(known: Known, status: NodeStatus) -> str:
    counts = known.counts
    if status.values.get("enabled") == "False":
        return "service enable: it is paused"
    alone = status.message.partition("the robot computes alone: ")[2]
    if alone:
        return f"the server: {alone}"
    if counts.rate("frames") == 0 and counts.rate("server", "robot", "fallback") == 0:
        in_flight = counts.last("in_flight")
        if in_flight:
            return f"the answers of {in_flight} frames"
        # It says itself why it has none.
        _, _, why = status.message.partition("no frame for ")
        return f"frames, for {why}" if why else "frames"
    return "a plan" if counts.last("epoch") == 0 else ""


def _tail(known: Known, status: NodeStatus) -> str:
    counts, plan = known.counts, known.plan
    if plan is None:
        return "a plan"
    if not plan.served_by:
        return f"a plan that uses it: epoch {plan.epoch} keeps all on the robot"
    if plan.served_by != status.node:
        return f"a plan that uses it: epoch {plan.epoch} is served by {plan.served_by}"
    return "embeddings" if counts.rate("embeddings") == 0 else ""


def _planner(known: Known, status: NodeStatus) -> str:
    devices = [name for name in status.values if name.startswith("device ")]
    if not any(role_of(name) == "head" for name in devices):
        return "the announcement of a head"
    building = [name for name in status.values if name.startswith("building ")]
    if building:
        return f"engines: {status.values[building[0]]}"
    return status.message if status.level is not Level.OK else ""


def we_wait_for(
    names: Collection[str], heard_s: Mapping[str, float], listening_s: float, domain: str
) -> str:
    """What is missing of a system; empty where there is one of everything.

    Args:
        names: nodes that were heard or found.
        heard_s: those that were heard.
        listening_s: for how long we have listened [s].
        domain: the DDS domain.
    """
    if not names:
        return (
            f"any node: in domain {domain} nothing was heard for {listening_s:.0f} s; same "
            "ROS_DOMAIN_ID? `codesign doctor` looks for the cause"
        )
    if not heard_s:
        return "messages: nodes were found, but nothing they send arrives (codesign doctor)"
    roles = {role_of(name) for name in names}
    missing = [role for role in ("camera", "head", "tail", "planner") if role not in roles]
    return f"a {', a '.join(missing)}" if missing else ""
