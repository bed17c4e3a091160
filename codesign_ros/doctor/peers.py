"""What is heard of the nodes, here and on the other machine."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from codesign_ros.doctor.finding import Finding, fail, ok, warn
from codesign_ros.runtime.device import Device, Heartbeat
from codesign_ros.runtime.messages import Result
from codesign_ros.runtime.news import Graph, Level, News, NodeStatus, SaidVersion, Unreadable
from codesign_ros.types.errors import listed
from codesign_ros.types.plan import Plan

_T = TypeVar("_T")

ROLES = ("camera", "head", "tail", "planner")

# What each role says again and again: the topic, and what comes on it.
_DIAGNOSTICS = "/diagnostics"
_NAMELESS = "_NODE_NAMESPACE_UNKNOWN_/_NODE_NAME_UNKNOWN_"
_ANNOUNCEMENTS = "/codesign/devices"
_OWN = "codesign_ros/"
# Stamps of two machines that are further apart than this confuse whoever reads logs and bags [s].
_MOST_APART_S = 1.0
# A frame that is older than this, or from the future, was not stamped by the robot's clock [s].
_STRANGE_AGE_S = 10.0


@dataclass(frozen=True)
class Heard:
    """What a listener heard in some time.

    Attributes:
        seconds: how long it listened [s].
        graph: who was there at the end.
        news: in order of arrival.
    """

    seconds: float
    graph: Graph
    news: Sequence[News]

    def of(self, kind: type[_T]) -> Iterator[tuple[News, _T]]:
        """The news of one kind."""
        return ((each, each.what) for each in self.news if isinstance(each.what, kind))

    @property
    def devices(self) -> dict[str, Device]:
        """The last announcement of each head and tail."""
        return {each.node: each for _, each in self.of(Device)}

    @property
    def statuses(self) -> dict[str, NodeStatus]:
        """What each node said last on /diagnostics."""
        return {each.node: each for _, each in self.of(NodeStatus)}

    @property
    def publishers(self) -> dict[str, list[str]]:
        """Who publishes on each topic of this package and on /diagnostics."""
        found: dict[str, list[str]] = {}
        for each in self.graph.endpoints:
            if each.publishes:
                found.setdefault(each.topic, []).append(each.node)
        return found

    def nodes_by_role(self) -> dict[str, list[str]]:
        """Full names of the package's nodes in the graph, by ``ROLES``."""
        publishers = self.publishers
        ours = {
            endpoint.node for endpoint in self.graph.endpoints if endpoint.message.startswith(_OWN)
        } | set(publishers.get(_DIAGNOSTICS, ()))
        return {
            role: sorted(node for node in ours if node.rpartition("/")[2] == role) for role in ROLES
        }


def discovery(heard: Heard, expected: Sequence[str] = ()) -> Finding:
    """Whether other nodes are found.

    Args:
        heard: what was heard.
        expected: of ``ROLES``, those without which it is a failure.
    """
    check = "discovery"
    nodes = heard.nodes_by_role()
    there = [node for role in ROLES for node in nodes[role]]
    missing = [role for role in ROLES if not nodes[role]]
    words = f"{listed(there)} found" if there else "no node of this package found"
    if missing and there:
        words += f", no {', no '.join(missing)}"
    words += f" within {heard.seconds:.0f} s"
    change = (
        "start it; the same ROS_DOMAIN_ID and RMW on both machines; where multicast does not pass, "
        "ROS_STATIC_PEERS (docs/two_machines.md, Discovery)"
    )
    if set(missing) & set(expected):
        return fail(check, words, change)
    return warn(check, words, change) if missing else ok(check, words)


def messages_arrive(heard: Heard) -> Finding:
    """Whether messages come from every node that is found: discovery alone may pass a firewall."""
    check = "messages"
    sources = {each.node for _, each in heard.of(Heartbeat)}
    sources |= set(heard.statuses) | set(heard.devices)
    found = [node for nodes in heard.nodes_by_role().values() for node in nodes]
    silent = sorted(set(found) - sources)
    if silent:
        return fail(
            check,
            f"{listed(silent)} found, but nothing that they send arrives here",
            "let the firewall pass UDP ports 7400 + 250 x domain and up, both ways "
            "(docs/two_machines.md, Firewalls); one MTU and one user on the way; is it frozen?",
        )
    return ok(check, f"something came from each of {len(found)} nodes" if found else "none to hear")


def unreadable(heard: Heard) -> Finding:
    """Whether what comes makes sense."""
    whys = [f"{news.topic}: {what.why}" for news, what in heard.of(Unreadable)]
    if whys:
        return warn(
            "content",
            f"{len(whys)} messages make no sense; the first: {whys[0]}",
            "install the same version of codesign_ros on both machines",
        )
    return ok("content", "every message that came makes sense")


def names(heard: Heard) -> Finding:
    """Whether each node is there once: two of one name answer for each other."""
    twice: list[str] = []
    nameless = 0
    for topic, nodes in heard.publishers.items():
        if topic in (_ANNOUNCEMENTS, _DIAGNOSTICS):
            counts = Counter(nodes)
            # What rcl calls a node of which it knows its publisher alone.
            nameless = max(nameless, counts.pop(_NAMELESS, 0))
            twice += [node for node, count in counts.items() if count > 1]
    if nameless:
        return warn(
            "names",
            f"{nameless} nodes are announced, and what they say of themselves does not arrive",
            "start containers of one host with --ipc=host beside --net=host, or all nodes with "
            "FASTDDS_BUILTIN_TRANSPORTS=UDPv4 (docs/two_machines.md, Containers)",
        )
    planners = sorted(set(heard.publishers.get("/codesign/plan", ())))
    change = "end one of them, or give each robot its own namespace (robot:=/miner2)"
    if twice:
        return fail(
            "names", f"more than one node is called {', '.join(sorted(set(twice)))}", change
        )
    if len(planners) > 1:
        return fail("names", f"several planners lead: {', '.join(planners)}", "end all but one")
    return ok("names", "every node is there once")


def versions(heard: Heard) -> Finding:
    """Whether all nodes are of this machine's version of the package, by what they say."""
    check, own = "node versions", heard.graph.own_version
    said = {each.node: each for _, each in heard.of(SaidVersion)}
    if own is None or not said:
        return ok(check, "no node says its version")
    nodes: dict[tuple[str, str], list[str]] = {}
    for node, each in sorted(said.items()):
        nodes.setdefault((each.release, each.interface), []).append(node)
    ours = own.release, own.interface
    like_us = ["this machine", *nodes.pop(ours, [])]
    others = [
        f"{', '.join(names)} of {release} ({interface})"
        for (release, interface), names in nodes.items()
    ]
    words = f"{', '.join(like_us)} of codesign_ros {own.release} ({own.interface})"
    if any(interface != own.interface for _, interface in nodes):
        return fail(
            check,
            f"{words}, {', '.join(others)}: they do not understand each other",
            "install the same version of codesign_ros on both machines and build it anew",
        )
    return ok(check, ", ".join([words, *others]))


def definitions(heard: Heard) -> Finding:
    """Whether all have the same definitions of this package's messages, hence versions of it."""
    check = "definitions"
    own = heard.graph.own_hashes or {}
    known = [
        each
        for each in heard.graph.endpoints
        if each.message.startswith(_OWN) and each.type_hash and own.get(each.message)
    ]
    others = sorted({each.node for each in known if each.type_hash != own[each.message]})
    if others:
        types = sorted({each.message for each in known if each.type_hash != own[each.message]})
        return fail(
            check,
            f"{', '.join(others)} have other definitions of {', '.join(types)} than this machine",
            "install the same version of codesign_ros on both machines and build it anew",
        )
    if not known:
        return ok(check, "no other machine's messages to compare with")
    return ok(check, f"{len({each.node for each in known})} nodes have this machine's messages")


def topics(heard: Heard) -> Finding:
    """Whether publishers and subscriptions fit each other."""
    if not heard.graph.mismatches:
        return ok("topics", "every listener can hear every sender of its topic")
    first = heard.graph.mismatches[0]
    more = len(heard.graph.mismatches) - 1
    return fail(
        "topics",
        f"{first.subscription} cannot hear {first.publisher} on {first.topic}: {first.why}"
        + (f" (and {more} more)" if more else ""),
        "image_reliability or qos_overrides of one of the two (docs/ros_interface.md)",
    )


def bundles(heard: Heard, own_model_id: str, is_named: bool = False) -> Finding:
    """Whether head, tail, plan and this machine have the same network.

    Args:
        heard: what was heard.
        own_model_id: of the bundle here; empty = there is none.
        is_named: the user said that this bundle is the one.
    """
    check = "bundles"
    change = "start head, tail and planner with the same bundle (parameter bundle)"
    by_robot: dict[str, dict[str, list[str]]] = {}
    for node, device in heard.devices.items():
        if device.model_id and device.state != "finalized":
            by_robot.setdefault(device.robot, {}).setdefault(device.model_id, []).append(node)
    for plan in {plan.robot: plan for _, plan in heard.of(Plan)}.values():
        if plan.robot in by_robot and plan.model_id:
            by_robot[plan.robot].setdefault(plan.model_id, []).append(f"plan {plan.epoch}")
    for models in by_robot.values():
        if len(models) > 1:
            words = "; ".join(f"{', '.join(nodes)}: {model}" for model, nodes in models.items())
            return fail(check, f"different networks: {words}", change)
    ids = sorted({model for models in by_robot.values() for model in models})
    if not ids:
        return ok(check, "no head or tail to compare with")
    if own_model_id and own_model_id not in ids:
        words = f"the nodes run network {', '.join(ids)}, the bundle here is {own_model_id}"
        return (
            fail(check, words, change) if is_named else warn(check, words, f"{change}, or --bundle")
        )
    return ok(check, f"network {', '.join(ids)} everywhere")


def clocks(heard: Heard) -> Finding:
    """How far the clocks of the nodes' machines are off this one's, by what they stamp."""
    check = "clocks"
    offsets: dict[str, list[float]] = {}
    for news in heard.news:
        if news.stamp_ns and isinstance(news.what, (Heartbeat, NodeStatus)):
            offset_s = (news.stamp_ns - news.clock_ns) / 1e9
            offsets.setdefault(news.what.node, []).append(offset_s)
    if not offsets:
        return ok(check, "no stamps to compare with")
    # The largest: what came with the least delay.
    off = {node: max(values) for node, values in offsets.items()}
    ages_s = [r.response_s for _, r in heard.of(Result)]
    if ages_s and math.isnan(median(ages_s)):
        return warn(
            check,
            "frames have stamps that cannot be right by their head's clock, so response_s is not "
            "known",
            "stamp frames on the robot, and leave use_sim_time out where nobody publishes /clock",
        )
    if ages_s and not -1.0 <= median(ages_s) <= _STRANGE_AGE_S:
        return warn(
            check,
            f"frames have stamps {median(ages_s):.0f} s off their robot's clock, so response_s is "
            "wrong",
            "stamp frames on the robot: play recordings with camera_node, set the camera's clock",
        )
    far = {node: value for node, value in off.items() if abs(value) > _MOST_APART_S}
    if far:
        words = ", ".join(
            f"{node} {abs(value):.1f} s {'ahead of' if value > 0 else 'behind'} this machine"
            for node, value in sorted(far.items())
        )
        return warn(
            check,
            words,
            "run chrony or systemd-timesyncd on both machines; only logs and bags suffer",
        )
    return ok(check, f"{len(off)} nodes within {max(abs(value) for value in off.values()):.2f} s")


def statuses(heard: Heard) -> Finding:
    """Whether every node says that it is well."""
    check, change = "nodes", "see docs/troubleshooting.md for that line"
    worst = sorted(heard.statuses.values(), key=lambda status: -status.level)
    bad = [f"{each.node}: {each.message}" for each in worst if each.level is not Level.OK]
    if not bad:
        return ok(check, f"{len(worst)} say that they are well" if worst else "none to ask")
    make = fail if worst[0].level is not Level.WARN else warn
    return make(check, "; ".join(bad), change)
