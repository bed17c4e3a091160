"""The demo's script: what is emulated and what happens when, from ``config/demo.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from codesign_ros.types.errors import CodesignError, one_line


@dataclass(frozen=True)
class Event:
    """Something that happens once a share ``at`` (0 to 1) of the frames has its result.

    Exactly one of the others is set: the emulated link changes to ``link_bps`` [bit/s], or the
    tail makes the lifecycle transition ``tail``.
    """

    at: float
    link_bps: float | None = None
    tail: str | None = None

    @property
    def text(self) -> str:
        """The event in words."""
        if self.link_bps is not None:
            return f"the emulated link changes to {self.link_bps / 1e6:g} Mbit/s"
        return f"the server is told to {self.tail}"


@dataclass(frozen=True)
class Scenario:
    """A demo's script.

    Attributes:
        robot_slowdown: emulated slowness of the robot; 0 = off.
        server_slowdown: emulated slowness of the server; 0 = off.
        link_bps: emulated rate of the uplink [bit/s]; 0 = off.
        parameters: parameters by node.
        events: what happens, in order.
    """

    robot_slowdown: float
    server_slowdown: float
    link_bps: float
    parameters: Mapping[str, Mapping[str, Any]]
    events: tuple[Event, ...]

    @property
    def emulation(self) -> dict[str, float]:
        """What is emulated, by name; empty if nothing is."""
        named = {
            "robot_slowdown": self.robot_slowdown,
            "server_slowdown": self.server_slowdown,
            "link_bps": self.link_bps,
        }
        return {name: value for name, value in named.items() if value}


def read_scenario(path: Path) -> Scenario:
    """Read a demo script.

    Raises:
        CodesignError: the file is missing or not YAML, or a part of it is not understood.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not isinstance(content.get("emulation", {}), dict):
            raise CodesignError(
                f"demo script {path} is not understood: it needs 'emulation:' with "
                "robot_slowdown, server_slowdown and link_bps below it"
            )
        emulation = content["emulation"]
        return Scenario(
            robot_slowdown=float(emulation["robot_slowdown"]),
            server_slowdown=float(emulation["server_slowdown"]),
            link_bps=float(emulation["link_bps"]),
            parameters={str(k): dict(v) for k, v in (content.get("parameters") or {}).items()},
            events=tuple(sorted(map(_event, content.get("events") or ()), key=lambda e: e.at)),
        )
    except OSError as error:
        raise CodesignError(f"demo script {path} cannot be read: {error.strerror}") from None
    except KeyError as error:
        raise CodesignError(f"demo script {path} lacks {error}") from None
    except (yaml.YAMLError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = one_line(error)
        raise CodesignError(f"demo script {path} is not understood: {reason}") from None


def without_emulation(scenario: Scenario) -> Scenario:
    """The same script with nothing emulated; events of the link fall away."""
    return replace(
        scenario,
        robot_slowdown=0.0,
        server_slowdown=0.0,
        link_bps=0.0,
        events=tuple(event for event in scenario.events if event.link_bps is None),
    )


def _event(entry: Mapping[str, Any]) -> Event:
    known = {"at", "link_bps", "tail"}
    if set(entry) - known or len(entry) != 2 or not 0 <= float(entry["at"]) <= 1:
        raise ValueError(f"event {dict(entry)} needs 'at' (0 to 1) and one of link_bps, tail")
    if "tail" in entry and entry["tail"] not in ("activate", "deactivate"):
        raise ValueError(f"event {dict(entry)}: tail must be activate or deactivate")
    link_bps = entry.get("link_bps")
    return Event(
        float(entry["at"]), None if link_bps is None else float(link_bps), entry.get("tail")
    )
