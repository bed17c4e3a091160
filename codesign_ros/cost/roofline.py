"""Computing time from operations, memory traffic and a device's peaks (paper, Eq. 1-6).

Two ways to read the same model:

- ``paper`` keeps Eq. 5 and 6 to the letter: attainable performance is I * beta, also beyond the
  ridge. With I = C / M the time is then M / (mu * beta), whatever the device's compute peak.
- ``roofline`` caps it at the peak, min(pi, I * beta), as the roofline model does. Here precision
  counts: narrower numbers have a peak of their own and move fewer bytes.
"""

from __future__ import annotations

from enum import Enum

from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import NUMBER_BYTES, number_format


class RooflineMode(str, Enum):
    """How attainable performance follows from computational intensity."""

    PAPER = "paper"
    ROOFLINE = "roofline"


def intensity(flops: float, traffic_bytes: float) -> float:
    """I = C / M, the computational intensity of a (sub-)model [FLOP/byte] (Eq. 1 and 3).

    Eq. 1 writes I_1 as (lambda_C / lambda_M) * I_0, which is the same number.
    """
    return flops / traffic_bytes


def is_compute_bound(
    flops: float, traffic_bytes: float, device: DeviceSpec, precision: str | None = None
) -> bool:
    """Tell whether a (sub-)model can reach the device's peak: I >= pi / beta (Eq. 2 and 4).

    Args:
        flops: C, operations [FLOP].
        traffic_bytes: M, memory traffic in fp32 [bytes].
        device: where it runs.
        precision: in which numbers it computes, whose peak and traffic count; None = the paper's
            peak where there is one, and fp32.

    Raises:
        CodesignError: the device has no peak for this precision.
    """
    if precision is None:
        return intensity(flops, traffic_bytes) >= device.ridge_intensity
    traffic_bytes *= NUMBER_BYTES[number_format(precision)] / NUMBER_BYTES["fp32"]
    ridge = device.peak(precision) / device.memory_bandwidth
    return intensity(flops, traffic_bytes) >= ridge


def attainable_flops(
    intensity: float, device: DeviceSpec, mode: RooflineMode, precision: str = "fp32"
) -> float:
    """Performance that the device allows at this intensity, before utilisation mu [FLOP/s].

    Raises:
        CodesignError: mode ``roofline``, and the device has no peak for this precision.
    """
    memory_bound = intensity * device.memory_bandwidth
    if mode is RooflineMode.PAPER:
        return memory_bound
    return min(device.peak(precision), memory_bound)


def compute_s(
    flops: float,
    traffic_bytes: float,
    device: DeviceSpec,
    mode: RooflineMode,
    precision: str = "fp32",
) -> float:
    """Time of a sub-model, T_1 of Eq. 5 and T_2 of Eq. 6 [s]: C / (mu * attainable).

    C is lambda * N(theta_1) for the head and (1 - lambda) * N(theta_2) for the tail (Eq. 8); an
    empty half (no operations) takes no time.

    Args:
        flops: C, operations [FLOP].
        traffic_bytes: M, memory traffic in fp32 [bytes].
        device: where it runs.
        mode: how attainable performance follows from intensity.
        precision: in which numbers it computes. Mode ``paper`` takes no notice of it, since Eq. 5
            and 6 know only beta.

    Raises:
        CodesignError: mode ``roofline``, and the device has no peak for this precision.
    """
    if flops == 0:
        return 0.0
    if mode is RooflineMode.ROOFLINE:
        traffic_bytes *= NUMBER_BYTES[number_format(precision)] / NUMBER_BYTES["fp32"]
    attainable = attainable_flops(intensity(flops, traffic_bytes), device, mode, precision)
    return flops / (device.utilisation * attainable)
