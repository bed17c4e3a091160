"""Times of codecs, JPEG and preparation on devices of which only the peaks are known.

The roofline knows nothing of them. Where a device was profiled, its times are scaled by the ratio
of memory bandwidths, since they read and write memory above all; else they are left out. Either is
said in the tables, since neither was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.cost.interpolate import between_cuts, prepare_s
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.cost.tables import NO_CODEC, CostTables
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import Part

_HOW = "'codesign profile' there and --mode measured count them"


@dataclass(frozen=True)
class Profiled:
    """What was measured on one machine.

    Attributes:
        device: its peaks.
        times: its times as head or as tail.
    """

    device: DeviceSpec
    times: HalfTimes


def with_coding(
    tables: CostTables,
    network: NetworkProfile,
    robot: DeviceSpec,
    servers: Sequence[DeviceSpec],
    profiled: Mapping[Part, Profiled],
) -> CostTables:
    """Add the times of codecs, JPEG and preparation where a device was profiled.

    A codec that it was not timed with at a cut, nor can be estimated there, is not offered.

    Args:
        tables: of mode ``roofline``, without such times.
        network: what the network does, for cuts between those that were timed.
        robot: the device of the head.
        servers: those of the tail.
        profiled: what was measured, by part.
    """
    said, notes = [], []
    if head := profiled.get("head"):
        factor = _slower(head.device, robot)
        times = between_cuts(network, head.times, head.device)
        encode_s, first_s = factor * _coding_s(tables, times), factor * prepare_s(times)
        encode_s[0] += first_s
        heads_s = tables.head_s.copy()
        heads_s[1:] += first_s
        tables = replace(tables, head_s=heads_s, encode_s=encode_s)
        said.append(_said("T1", head.device, robot, factor))
    if tail := profiled.get("tail"):
        times = between_cuts(network, tail.times, tail.device, tail=True)
        coding_s = _coding_s(tables, times)
        factors = [_slower(tail.device, server) for server in servers]
        tables = replace(tables, decode_s=np.array([factor * coding_s for factor in factors]))
        said += [
            _said("T2", tail.device, server, factor)
            for server, factor in zip(servers, factors, strict=True)
        ]
    left_out = [name for part, name in (("head", "T1"), ("tail", "T2")) if part not in profiled]
    if left_out:
        names = " and ".join(left_out)
        said.append(f"left out of {names}")
        bounds = "is a lower bound" if len(left_out) == 1 else "are lower bounds"
        notes.append(
            "what codecs, JPEG and preparing the frame take on these devices was not measured and "
            f"is left out, so {names} {bounds} ({_HOW}; --robot-profile and --server-profile of "
            "another device scale its times)"
        )
    if len(said) > len(left_out[:1]):
        notes.append(
            "codecs, JPEG and preparing the frame were timed on another device and scaled by "
            f"memory bandwidth: {'; '.join(said)} ({_HOW})"
        )
    return replace(tables, coding="; ".join(said), notes=(*tables.notes, *notes))


def _coding_s(tables: CostTables, times: HalfTimes) -> np.ndarray:
    """Time of each codec at each cut, (N+1, K) [s]; NaN where it is not known."""
    last, codecs = tables.segments, tables.axes.codecs
    found = [[times.codec_s.get((cut, codec), np.nan) for codec in codecs] for cut in range(last)]
    found.append([0.0 if codec == NO_CODEC else np.nan for codec in codecs])
    return np.array(found)


def _slower(measured: DeviceSpec, other: DeviceSpec) -> float:
    return measured.memory_bandwidth / other.memory_bandwidth


def _said(time: str, measured: DeviceSpec, other: DeviceSpec, factor: float) -> str:
    return f"{time} of {other.name} from {measured.name} x {factor:.2g}"
