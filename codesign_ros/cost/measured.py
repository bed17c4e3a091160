"""Times that head and tail measured on themselves, as they announce them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from codesign_ros.types import Structure


@dataclass(frozen=True)
class MeasuredStages:
    """What one device measured, batch 1; the arrays of ``msg/DeviceProfile.msg`` as mappings.

    Attributes:
        stage_s: time of a half by (cut, structure) [s]. A head's entry for cut 0 is the time that
            it takes to prepare the frame, which every other of its entries includes.
        codec_s: time to encode (head) or decode (tail) by (cut, codec) [s].
        precision_s: as ``stage_s``, by (cut, structure, precision), for other precisions than fp32,
            in which ``stage_s`` is [s].
        codec_bytes: mean payload by (cut, codec) [bytes].
        estimated: halves by (cut, structure, precision) whose time was not measured but worked
            out from structure S3 at the same cut, or from other cuts.
    """

    stage_s: Mapping[tuple[int, Structure], float]
    codec_s: Mapping[tuple[int, str], float] = field(default_factory=dict)
    precision_s: Mapping[tuple[int, Structure, str], float] = field(default_factory=dict)
    codec_bytes: Mapping[tuple[int, str], float] = field(default_factory=dict)
    estimated: frozenset[tuple[int, Structure, str]] = frozenset()

    def time_s(self, cut: int, structure: Structure, precision: str) -> float | None:
        """Time of the half [s], or None where it is not known."""
        if precision == "fp32":
            return self.stage_s.get((cut, structure))
        return self.precision_s.get((cut, structure, precision))

    def is_measured(self, cut: int, structure: Structure, precision: str) -> bool:
        """Whether the half was timed itself."""
        known = self.time_s(cut, structure, precision) is not None
        return known and (cut, structure, precision) not in self.estimated
