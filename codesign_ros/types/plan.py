"""One answer to the co-design problem, with the rate levels that it leaves to the head."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from codesign_ros.types.codec_names import neck_level, rate_levels_of
from codesign_ros.types.forms import Merge, Structure


class RateLevel(NamedTuple):
    """A rate level of a neck, or of the frame's JPEG; see ``rate_levels_of``.

    Attributes:
        level: its number.
        payload_bytes: its mean payload [bytes].
        accuracy_loss: what the whole plan loses at this level, 0 to 1.
    """

    level: int
    payload_bytes: float
    accuracy_loss: float


@dataclass(frozen=True)
class Plan:
    """One answer to the co-design problem; see ``msg/Plan.msg`` for the same fields on the wire.

    ``cut`` 0 sends the frame, ``cut`` N keeps all on the robot. ``epoch`` names the plan; 0 means
    "no plan yet". Times are predictions of the cost model [s]. ``placed_on`` is the tail to which
    frames and probes go, also while ``served_by`` is empty. The ``standby_*`` say how the robot
    runs the whole network where the server does not answer. ``levels`` are those of the
    codec (``rate_levels_of``) among which the head chooses for each frame by the link as it is,
    finest first; none where the codec stays.
    """

    cut: int
    head_structure: Structure = Structure.S3
    tail_structure: Structure = Structure.S3
    merge: Merge = Merge.FOLD
    precision: str = "fp32"
    codec: str = "raw"
    epoch: int = 0
    planner: int = 0
    robot: str = ""
    model_id: str = ""
    served_by: str = ""
    placed_on: str = ""
    server_available: bool = False
    reason: str = ""
    objective: str = "latency"
    lambda_1: float = 0.0
    head_s: float = 0.0
    link_s: float = 0.0
    tail_s: float = 0.0
    accuracy_loss: float = 0.0
    payload_bytes: float = 0.0
    link_bps: float = 0.0
    standby_structure: Structure = Structure.S3
    standby_merge: Merge = Merge.FOLD
    standby_precision: str = "fp32"
    levels: tuple[RateLevel, ...] = ()

    def standby(self, last_cut: int) -> Plan:
        """The plan that the head follows by itself while the server does not answer.

        Args:
            last_cut: N, the cut that keeps all on the robot.
        """
        return replace(
            self,
            cut=last_cut,
            head_structure=self.standby_structure,
            tail_structure=self.standby_structure,
            merge=self.standby_merge,
            precision=self.standby_precision,
            codec="raw",
            served_by="",
            levels=(),
        )

    @property
    def has_neck(self) -> bool:
        """Whether a neck is run: its encoder behind the head, its decoder before the tail."""
        return neck_level(self.codec) is not None

    @property
    def level_codecs(self) -> tuple[str, ...]:
        """The codecs of its levels; its own where it stays."""
        ladder = rate_levels_of(self.codec)
        known = (each.level for each in self.levels if each.level < len(ladder))
        return tuple(ladder[level] for level in known) or (self.codec,)

    @property
    def tail(self) -> str:
        """The tail to which frames and probes go; empty where there is none."""
        return self.placed_on or self.served_by

    @property
    def latency_s(self) -> float:
        """T_total = T1 + T3 + T2 (Eq. 8), T3 with the answer's way back [s]."""
        return self.head_s + self.link_s + self.tail_s
