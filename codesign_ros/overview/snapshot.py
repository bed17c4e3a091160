"""A running system at one moment; None where something is not known (yet)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from codesign_ros.console import finite


@dataclass(frozen=True)
class RobotState:
    """One robot: its plan, what its head counts, predicted against measured times.

    Attributes:
        robot: its namespace.
        epoch: number of the plan that the head follows.
        cut: after which segment it cuts.
        codec: what carries the tensors.
        served_by: node that runs the tail; empty = the robot alone.
        reason: why this plan was made.
        alone: why the head does not rely on the server just now; empty = it does.
        frames_per_s: that come to the head [1/s].
        results_per_s: that leave it with an answer [1/s].
        finished_by: frames since the head's start by who finished them; ``dropped`` = nobody.
        drops: those of ``finished_by`` that nobody did, by reason.
        in_flight: frames without an answer yet.
        unaccounted: frames that are neither answered nor dropped nor in flight: 0, but for one that
            moves while the counts are read.
        predicted_s: latency of the plan [s].
        measured_s: median of the same stages under this plan [s].
        response_s: median from a frame's stamp to its result, of the last ones [s].
        link_bps: rate of the uplink as measured [bit/s].
        link_delay_s: round trip of a tiny probe [s].
    """

    robot: str
    epoch: int | None = None
    cut: int | None = None
    codec: str = ""
    served_by: str = ""
    reason: str = ""
    alone: str = ""
    frames_per_s: float | None = None
    results_per_s: float | None = None
    finished_by: Mapping[str, int] = field(default_factory=dict)
    drops: Mapping[str, int] = field(default_factory=dict)
    in_flight: int | None = None
    unaccounted: int | None = None
    predicted_s: float | None = None
    measured_s: float | None = None
    response_s: float | None = None
    link_bps: float | None = None
    link_delay_s: float | None = None


@dataclass(frozen=True)
class ServerState:
    """One tail.

    Attributes:
        node: its full name.
        epoch: number of the plan that it runs; 0 = none uses it.
        embeddings_per_s: that come to it [1/s].
        answers_per_s: that leave it [1/s].
        refusals: embeddings that it refused since its start, by reason.
        engines_shared_by: tails of its process.
        throttled: why it computes slower than it can; empty = it does not.
    """

    node: str
    epoch: int | None = None
    embeddings_per_s: float | None = None
    answers_per_s: float | None = None
    refusals: Mapping[str, int] = field(default_factory=dict)
    engines_shared_by: int | None = None
    throttled: str = ""


@dataclass(frozen=True)
class NodeState:
    """One node.

    Attributes:
        node: its full name.
        level: OK, WARN, ERROR or STALE, as in /diagnostics; empty = not heard yet.
        message: what it says of itself.
        silent_s: since when nothing was heard of it [s]; None = nothing ever was.
        waits_for: what it waits for; empty = it works.
    """

    node: str
    level: str = ""
    message: str = ""
    silent_s: float | None = None
    waits_for: str = ""


@dataclass(frozen=True)
class Snapshot:
    """All that is known.

    Attributes:
        waits_for: what we wait for ourselves; empty = all that belongs to a system was heard.
        robots: by name.
        servers: by name.
        nodes: by name.
    """

    waits_for: str
    robots: tuple[RobotState, ...] = ()
    servers: tuple[ServerState, ...] = ()
    nodes: tuple[NodeState, ...] = ()

    def content(self) -> dict[str, Any]:
        """As JSON has it, which knows no infinity."""
        return cast("dict[str, Any]", finite(asdict(self)))
