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
    """

    stage_s: Mapping[tuple[int, Structure], float]
    codec_s: Mapping[tuple[int, str], float] = field(default_factory=dict)

    def half_s(self, cut: int, structure: Structure, codec: str) -> float | None:
        """Time of the half and of its side of the codec [s], or None where it was not measured."""
        stage = self.stage_s.get((cut, structure))
        coding = self.codec_s.get((cut, codec))
        if stage is None or coding is None:
            return None
        return stage + coding
