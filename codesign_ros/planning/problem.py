"""The co-design problem: what can be chosen, under which conditions and limits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace

import numpy as np

from codesign_ros.cost.lateness import STEADY, Spreads, varies
from codesign_ros.cost.tables import CostTables
from codesign_ros.planning.objective import Objective, pace_s
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.links import LinkSpec
from codesign_ros.types.plan import Plan


@dataclass(frozen=True)
class Candidate:
    """One choice. Where a half is empty (cut 0, cut N), its structure is the other half's.

    ``server`` names who runs the tail; empty where all stays on the robot.
    """

    cut: int
    head_structure: Structure
    tail_structure: Structure
    merge: Merge
    precision: str
    codec: str
    server: str = ""

    @classmethod
    def of(cls, plan: Plan) -> Candidate:
        """Read a plan as the choice that it is."""
        return cls(
            plan.cut,
            plan.head_structure,
            plan.tail_structure,
            plan.merge,
            plan.precision,
            plan.codec,
            plan.served_by,
        )


@dataclass(frozen=True)
class CandidateCost:
    """What a cost model expects of a candidate.

    Attributes:
        head_s: T1, frame preparation and encoding included where the model knows them [s].
        link_s: T3 of one frame, there and back: payload, delay, answer, delay [s].
        occupancy_s: how long the payload keeps the uplink, the part of T3 that sets the pace [s].
        tail_s: T2, decoding included where the model knows it [s].
        accuracy_loss: Delta A_total, 0 to 1.
        payload_bytes: what crosses the link for one frame [bytes].
        objective: L of Eq. 11 [s].
        energy_j: what the robot spends on one frame [J]; None where its power, or its radio's
            where it sends, is not known.
        window: frames in flight; None = no limit.
        head_gap_s, tail_gap_s: what robot and server have to do between two frames beside T1 and
            T2 [s].
        margin_s: what all frames but the problem's ``late_share`` may take beside T1, T2 and T3
            [s].
        loss_error: standard error of ``accuracy_loss`` where what it is made of was measured; None
            = not known.
    """

    head_s: float
    link_s: float
    occupancy_s: float
    tail_s: float
    accuracy_loss: float
    payload_bytes: float
    objective: float
    energy_j: float | None = None
    window: int | None = None
    head_gap_s: float = 0.0
    tail_gap_s: float = 0.0
    loss_error: float | None = None
    margin_s: float = 0.0

    @property
    def latency_s(self) -> float:
        """T_total = T1 + T3 + T2 (Eq. 8), from the frame to its answer [s]."""
        return self.head_s + self.link_s + self.tail_s + self.margin_s

    @property
    def pace_s(self) -> float:
        """Time between two results of a pipeline [s]."""
        return float(
            pace_s(
                self.head_s,
                self.occupancy_s,
                self.tail_s,
                self.latency_s,
                self.window,
                self.head_gap_s,
                self.tail_gap_s,
            )
        )

    @property
    def throughput_fps(self) -> float:
        """Frames a second of a pipeline [1/s]."""
        return 1.0 / self.pace_s if self.pace_s > 0 else math.inf


@dataclass(frozen=True)
class Row:
    """A candidate with what it is predicted to cost."""

    candidate: Candidate
    prediction: CandidateCost


@dataclass(frozen=True)
class Limits:
    """What a plan must keep; None = no limit.

    Attributes:
        accuracy_loss: most accuracy that may be lost, 0 to 1.
        deadline_s: most time from a frame to its answer, T_total of Eq. 8 [s].
        uplink_bytes_per_s: most that may go over the link [bytes/s], at the problem's frame rate.
        robot_memory_bytes: memory for the head [bytes].
        server_memory_bytes: memory for the tail [bytes].
        robot_energy_j: most that the robot may spend on one frame [J].

    Raises:
        CodesignError: a limit is negative or no number.
    """

    accuracy_loss: float | None = None
    deadline_s: float | None = None
    uplink_bytes_per_s: float | None = None
    robot_memory_bytes: float | None = None
    server_memory_bytes: float | None = None
    robot_energy_j: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and not value >= 0:
                raise CodesignError(
                    f"the limit {each.name} must be a number from 0 up, not {value}"
                )


@dataclass(frozen=True, eq=False)
class AllowedHalves:
    """Which halves may be chosen, True or False for each; letters as in ``CostTables``.

    Attributes:
        head: (N+1, S, M, P).
        tail: (V, N+1, S, M, P).
        neck_head: likewise of heads with the encoder of a neck; None = as ``head``.
        neck_tail: likewise of tails with its decoder; None = as ``tail``.
    """

    head: np.ndarray
    tail: np.ndarray
    neck_head: np.ndarray | None = None
    neck_tail: np.ndarray | None = None


@dataclass(frozen=True)
class Problem:
    """What can be chosen and under which conditions.

    Attributes:
        tables: what every choice costs.
        links: the uplink to each server of ``tables.axes.servers``.
        objective: which time counts.
        lambda_1: weight of the accuracy loss in Eq. 11 [s per unit of loss].
        cuts: cuts that may be chosen besides 0 and N, which always may; None for all.
        codecs: codecs for cuts 1..N-1, of those of ``tables``; None for all.
        frame_codecs: likewise for the frame at cut 0.
        limits: what a plan must keep.
        halves: which halves may be chosen; None for all that have a known cost.
        frame_rate_hz: frames a second that a plan must keep, and that the limit on the uplink
            counts with; None = each plan at its own pace.
        usual_rate_hz: frames a second that come, whether a plan keeps up or not: a fleet's robots
            leave link and server to each other between them; None = not known.
        window: frames in flight, which limits the pace to a frame per round trip over the window;
            None = no limit.
        late_share: share of the frames that may take longer than latency says, where the link's
            rate or the devices' times vary: the objective and the deadline then count the time
            that all other frames keep; None = the mean time.
        spreads: how far T1 and T2 vary; it counts with ``late_share`` alone.
        tie_share: candidates whose objective is within this share of the least are as good, where
            they lose no more accuracy; see ``grid`` for which of them is best.
        head_gap_s: what the robot has to do between two frames beside T1, as passing on what comes
            from the camera; it counts for the pace alone [s].
        tail_gap_s: likewise the server beside T2 [s].

    Raises:
        CodesignError: ``lambda_1``, the frame rate, the window or ``late_share`` makes no sense, a
            cut does not exist, a server has no link, or a limit stands on something that is not
            known.
    """

    tables: CostTables
    links: tuple[LinkSpec, ...] = ()
    objective: Objective = Objective.LATENCY
    lambda_1: float = 0.0
    cuts: tuple[int, ...] | None = None
    codecs: tuple[str, ...] | None = None
    frame_codecs: tuple[str, ...] | None = None
    limits: Limits = field(default_factory=Limits)
    halves: AllowedHalves | None = None
    frame_rate_hz: float | None = None
    usual_rate_hz: float | None = None
    window: int | None = None
    late_share: float | None = None
    head_gap_s: float = 0.0
    tail_gap_s: float = 0.0
    spreads: Spreads = STEADY
    tie_share: float = 0.0

    def __post_init__(self) -> None:
        tables = self.tables
        if not (math.isfinite(self.lambda_1) and self.lambda_1 >= 0):
            raise CodesignError(f"lambda_1 must be a number from 0 up, not {self.lambda_1}")
        for cut in self.cuts or ():
            if not 0 <= cut <= tables.segments:
                raise CodesignError(f"cut {cut} does not exist: cuts are 0 to {tables.segments}")
        if len(self.links) != len(tables.axes.servers):
            raise CodesignError(
                "there is a server but no link rate to plan with; set it or wait until it is "
                "measured"
                if len(self.links) < len(tables.axes.servers)
                else "there is a link but no server at its end"
            )
        if self.frame_rate_hz is not None and not 0 < self.frame_rate_hz < math.inf:
            raise CodesignError(f"the frame rate must be above 0, not {self.frame_rate_hz}")
        if not 0 <= self.tie_share < 1:
            raise CodesignError(f"tie_share is a share from 0 to below 1, not {self.tie_share}")
        if self.window is not None and self.window < 1:
            raise CodesignError(f"the window must be 1 frame in flight or more, not {self.window}")
        if self.late_share is not None:
            if not 0 <= self.late_share < 1:
                raise CodesignError(
                    f"late_share is a share of the frames, from 0 to below 1, not {self.late_share}"
                )
            steady = self.spreads == STEADY and not any(map(varies, self.links))
            if self.links and steady:
                raise CodesignError(
                    "late_share needs a link whose rate varies; give it states with their rates "
                    "and mean durations (links.yaml), or leave late_share out"
                )
        needs = {
            "robot_memory_bytes": (tables.head_memory_bytes, "what memory the halves need"),
            "server_memory_bytes": (tables.tail_memory_bytes, "what memory the halves need"),
            "robot_energy_j": (tables.robot_power_w, "the robot's power (power_w of its device)"),
        }
        for name, (known, what) in needs.items():
            if getattr(self.limits, name) is not None and known is None:
                raise CodesignError(f"the limit {name} cannot be kept: {what} is not known here")
        if self.limits.robot_energy_j is not None:
            for link in self.links:
                if link.transmit_w is None:
                    raise CodesignError(
                        "the limit robot_energy_j cannot be kept: the power of the radio of link "
                        f"{link.name or 'to the server'} is not known; give transmit_w in "
                        "links.yaml or --transmit-w"
                    )

    @property
    def server_available(self) -> bool:
        """Whether a tail can serve. Without one only cut N remains."""
        return bool(self.links)

    @property
    def unlimited(self) -> Problem:
        """The same without limits, that of the frame rate included."""
        return replace(self, limits=Limits(), frame_rate_hz=None)

    def allowed_cuts(self) -> tuple[int, ...]:
        """List the cuts to try, in order: 0 and N always, N alone without a server."""
        last = self.tables.segments
        if not self.server_available:
            return (last,)
        inner = range(1, last) if self.cuts is None else self.cuts
        return tuple(sorted({0, last, *inner}))
