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
        precision_s: time of a half in structure S3 by (cut, precision), for precisions other than
            fp32, in which ``stage_s`` is [s].
    """

    stage_s: Mapping[tuple[int, Structure], float]
    codec_s: Mapping[tuple[int, str], float] = field(default_factory=dict)
    precision_s: Mapping[tuple[int, str], float] = field(default_factory=dict)

    def time_s(self, cut: int, structure: Structure, precision: str) -> float | None:
        """Time of the half [s], or None where it was not measured.

        In another precision than fp32 a structure is taken to cost as much more than S3 as in fp32.
        """
        time_s = self.stage_s.get((cut, structure))
        if precision == "fp32":
            return time_s
        base_s = self.stage_s.get((cut, Structure.S3))
        precise_s = self.precision_s.get((cut, precision))
        if time_s is None or base_s is None or precise_s is None:
            return None
        return precise_s * time_s / base_s if base_s else precise_s

    def half_s(
        self, cut: int, structure: Structure, codec: str, precision: str = "fp32"
    ) -> float | None:
        """Time of the half and of its side of the codec [s], or None where it was not measured."""
        stage = self.time_s(cut, structure, precision)
        coding = self.codec_s.get((cut, codec))
        if stage is None or coding is None:
            return None
        return stage + coding
