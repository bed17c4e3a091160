"""Which version of the package other nodes are of: those of another one do not understand us.

Messages of another layout do not come, or come and are refused, and nobody is told why. A text of a
type that never changes says it.
"""

from __future__ import annotations

import functools
import hashlib
import re
import time
from typing import Any, NamedTuple, Protocol
from xml.etree import ElementTree

from std_msgs.msg import String

import codesign_ros.msg
import codesign_ros.srv
from codesign_ros.nodes.interface import qos
from codesign_ros.resources import resource_path

DEVICES_TOPIC, PLANNER_TOPIC = "/codesign/device_versions", "/codesign/planner_version"
# How often a node says its version: who lost it hears it again. Three in a row missed: it left [s].
PERIOD_S = 5.0
_GONE_S = 3.5 * PERIOD_S
# Nodes of other versions that are remembered.
_MOST = 16
_MOST_CHARACTERS = 512

_SAYS = re.compile(r"codesign_ros (\S{1,40}) interface ([0-9a-f]{8}) node (/[\w/]{1,255})")


class Version(NamedTuple):
    """A release, and a digest of all its messages and services."""

    release: str
    interface: str


def read_version(text: str) -> tuple[str, Version] | None:
    """Which node is of which version, by what it says; None where that is no version."""
    said = _SAYS.fullmatch(text) if len(text) < _MOST_CHARACTERS else None
    if said is None:
        return None
    release, interface, name = said.groups()
    return name, Version(release, interface)


@functools.cache
def our_version() -> Version:
    """The version of this package."""
    root = ElementTree.parse(resource_path("config").parent / "package.xml").getroot()
    kinds: list[Any] = [getattr(codesign_ros.msg, name) for name in sorted(dir(codesign_ros.msg))]
    for name in sorted(dir(codesign_ros.srv)):
        service = getattr(codesign_ros.srv, name)
        kinds += [getattr(service, part, None) for part in ("Request", "Response")]
    layouts = [
        f"{kind.__name__} {kind.get_fields_and_field_types()}"
        for kind in kinds
        if hasattr(kind, "get_fields_and_field_types")
    ]
    digest = hashlib.sha256("\n".join(layouts).encode()).hexdigest()[:8]
    return Version(root.findtext("version", "unknown"), digest)


class VersionedNode(Protocol):
    """What this needs of a node."""

    def advertise(self, kind: Any, topic: str, profile: Any) -> Any: ...  # noqa: D102
    def listen(self, kind: Any, topic: str, callback: Any, profile: Any) -> Any: ...  # noqa: D102
    def every(self, period_s: float, callback: Any) -> None: ...  # noqa: D102
    def get_fully_qualified_name(self) -> str: ...  # noqa: D102
    def get_logger(self) -> Any: ...  # noqa: D102


class Versions:
    """Says a node's version, and hears those of the nodes that it works with.

    Args:
        node: the node.
        tells: topic on which it says its version.
        hears: topic of the others.
    """

    def __init__(self, node: VersionedNode, tells: str, hears: str) -> None:
        self._node = node
        # Nodes of other versions: what is said of each, and when it was heard last [s].
        self._others: dict[str, tuple[str, float]] = {}
        ours = our_version()
        says = f"codesign_ros {ours.release} interface {ours.interface} node "
        self._said = String(data=says + node.get_fully_qualified_name())
        self._publisher = node.advertise(String, tells, qos.state())
        node.listen(String, hears, self.hear, qos.state(depth=64))
        node.every(PERIOD_S, self.tell)
        self.tell()

    def tell(self) -> None:
        """Say this node's version."""
        self._publisher.publish(self._said)

    def hear(self, msg: Any, now_s: float | None = None) -> None:
        """Take what another node says; what is no version is no business of ours."""
        said = read_version(msg.data)
        if said is None:
            return
        now_s = time.monotonic() if now_s is None else now_s
        name, (release, interface) = said
        ours = our_version()
        before = self._others.pop(name, None)
        if interface == ours.interface:
            return
        line = (
            f"{name} is of codesign_ros {release} ({interface}), this node of {ours.release} "
            f"({ours.interface}), and they do not understand each other; install the same on both "
            "machines"
        )
        if len(self._others) >= _MOST:
            return
        self._others[name] = line, now_s
        if before is None:
            self._node.get_logger().error(line)

    def mismatches(self, now_s: float) -> list[str]:
        """What is said of nodes of other versions that are there, one line each."""
        for name, (_, heard_s) in list(self._others.items()):
            if now_s - heard_s > _GONE_S:
                self._others.pop(name, None)
        return [line for line, _ in list(self._others.values())]
