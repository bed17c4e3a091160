"""A machine as the roofline model sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import number_format


@dataclass(frozen=True)
class DeviceSpec:
    """A machine as the roofline model sees it.

    Attributes:
        name: what it is called.
        peak_flops: pi by number format (``fp32``, ``fp16``, ``int8``), dense [FLOP/s]; a format
            that the device does not speed up may be missing.
        memory_bandwidth: beta [bytes/s].
        utilisation: mu, the share of the attainable performance that inference reaches (paper,
            Eq. 5 and 6).
        paper_peak_flops: pi as the co-design paper states it for Eq. 2 and 4, whatever format it
            counts [FLOP/s]; None = the paper does not know the device.
        memory_bytes: memory that a network may take [bytes].
        power_w: what it draws under load [W]; None = not known.
        source: where the figures come from.
        computes_on: ``cpu`` or ``gpu``, whose peaks these are; empty = not known.
    """

    name: str
    peak_flops: Mapping[str, float]
    memory_bandwidth: float
    utilisation: float = 1.0
    paper_peak_flops: float | None = None
    memory_bytes: float = math.inf
    power_w: float | None = None
    source: str = ""
    computes_on: str = ""

    def has(self, precision: str) -> bool:
        """Tell whether a compute peak is known for this precision."""
        return number_format(precision) in self.peak_flops

    def peak(self, precision: str) -> float:
        """Compute peak in this precision [FLOP/s].

        Raises:
            CodesignError: none is known.
        """
        if not self.has(precision):
            raise CodesignError(
                f"device {self.name} has no {number_format(precision)} peak; "
                f"it has {', '.join(self.peak_flops)}"
            )
        return self.peak_flops[number_format(precision)]

    @property
    def ridge_intensity(self) -> float:
        """I_m = pi / beta [FLOP/byte], the intensity from which the device is compute bound.

        pi is the paper's figure where there is one, else the fp32 peak.
        """
        peak_flops = self.paper_peak_flops
        return (self.peak("fp32") if peak_flops is None else peak_flops) / self.memory_bandwidth
