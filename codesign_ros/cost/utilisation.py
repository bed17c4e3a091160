"""Utilisation mu of Eq. 5 and 6, fitted to devices that were timed, for one that never was.

The roofline gives the time that a device would take if it reached its attainable performance; what
it really reaches depends on engine and architecture more than on the single device. So mu is fitted
for a class of devices (CPUs with one engine, Jetsons with another), and the error is measured on
times that were left out of the fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.cost.interpolate import prepare_s
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.cost.roofline import RooflineMode, compute_s
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError


@dataclass(frozen=True)
class Timing:
    """One half as it was timed.

    Attributes:
        device: where; its own utilisation does not count.
        precision: in which numbers.
        half: which half it is, as ``head 5``.
        flops: its operations [FLOP].
        traffic_bytes: its fp32 memory traffic [bytes].
        measured_s: how long it took, without preparing the frame [s].
    """

    device: DeviceSpec
    precision: str
    half: str
    flops: float
    traffic_bytes: float
    measured_s: float

    @property
    def roofline_s(self) -> float:
        """Time at full utilisation [s]."""
        device = replace(self.device, utilisation=1.0)
        return compute_s(
            self.flops, self.traffic_bytes, device, RooflineMode.ROOFLINE, self.precision
        )


@dataclass(frozen=True)
class UtilisationFit:
    """What was fitted to some timings, and how far it is off.

    Attributes:
        utilisation: mu. It can be above 1, since the traffic is counted operation by operation and
            engines that fuse operations move less.
        timings: how many it was fitted to.
        left_out: what was left out in turn to find the error: ``device``, ``precision`` or
            ``half``; empty = nothing could be, and the errors are those of the fit itself.
        median_error: median of |predicted / measured - 1|.
        worst_error: the largest of them.
    """

    utilisation: float
    timings: int
    left_out: str
    median_error: float
    worst_error: float

    def applied(self, device: DeviceSpec) -> DeviceSpec:
        """The device with this utilisation, for the roofline model."""
        return replace(device, utilisation=self.utilisation)


def fit_utilisation(timings: Sequence[Timing]) -> UtilisationFit:
    """Fit mu to the timings of a class of devices.

    mu is the median of roofline time over measured time, which a few disturbed timings do not move.
    For the error every device is predicted from the other devices; with one device every precision
    from the others; with one precision every half from the others.

    Raises:
        CodesignError: there is no timing, or a device has no peak for its precision.
        ValueError: a measured or a roofline time is not above 0.
    """
    if not timings:
        raise CodesignError(
            "no timing to fit the utilisation to: profile a device of this class first"
        )
    ratios = np.array([t.roofline_s / t.measured_s if t.measured_s > 0 else 0.0 for t in timings])
    if not np.all(ratios > 0):
        raise ValueError("measured and roofline times must be above 0")
    left_out, groups = _groups(timings)
    predicted_of_measured = np.empty(len(timings))
    for group in np.unique(groups):
        inside = groups == group
        others = ratios[~inside] if left_out else ratios
        predicted_of_measured[inside] = ratios[inside] / np.median(others)
    errors = np.abs(predicted_of_measured - 1.0)
    return UtilisationFit(
        float(np.median(ratios)),
        len(timings),
        left_out,
        float(np.median(errors)),
        float(errors.max()),
    )


def timings_of(
    network: NetworkProfile, times: HalfTimes, device: DeviceSpec, tail: bool = False
) -> list[Timing]:
    """Every half that a device timed itself; estimated and empty ones are left out.

    Args:
        network: what the network does.
        times: what the device measured. The time of a head's cut 0, preparing the frame, is taken
            off its other cuts.
        device: its peaks; precisions that it has none for are left out.
        tail: whether these are tails.
    """
    offset_s = 0.0 if tail else prepare_s(times)
    last = network.segments
    found = []
    for form, time_s in times.measured_s.items():
        cut, structure, precision = form.cut, form.structure, form.precision
        first, end = (cut, last) if tail else (0, cut)
        if form.neck or structure not in network.segment_flops or not device.has(precision):
            continue
        flops, traffic = network.flops(first, end, structure), network.bytes(first, end, structure)
        if flops > 0 and time_s > offset_s:
            half = f"{'tail' if tail else 'head'} {cut}"
            found.append(Timing(device, precision, half, flops, traffic, time_s - offset_s))
    return found


def _groups(timings: Sequence[Timing]) -> tuple[str, np.ndarray]:
    """What to leave out in turn, and which group each timing is in."""
    kinds: dict[str, Callable[[Timing], str]] = {
        "device": lambda t: t.device.name,
        "precision": lambda t: t.precision,
        "half": lambda t: t.half,
    }
    for kind, group_of in kinds.items():
        groups = np.array([group_of(t) for t in timings])
        if len(np.unique(groups)) > 1:
            return kind, groups
    return "", np.zeros(len(timings))
