"""The cost models of the planner's three modes: ``paper``, ``roofline`` and ``measured``.

Each fills the same tables. What it does not know stays NaN, and a choice that needs it is not
offered; ``notes`` say what was left out, or estimated, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.cost.losses import losses
from codesign_ros.cost.payload import payload_bytes
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.cost.roofline import RooflineMode, compute_s
from codesign_ros.cost.tables import NO_CODEC, Axes, CostTables
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import HalfForm, Structure

MODES = ("measured", RooflineMode.ROOFLINE.value, RooflineMode.PAPER.value)
"""The planner's modes; all but the first follow from the devices' peaks."""

# The structure by whose load lambda of Eq. 10 is counted: the folded network, which every device
# can run.
_BASE = Structure.S3

_JPEG = "jpeg"


def analytic_tables(
    network: NetworkProfile,
    robot: DeviceSpec,
    servers: Sequence[DeviceSpec],
    mode: RooflineMode,
    axes: Axes,
    accuracy: AccuracyTable | None = None,
    measured_bytes: Mapping[tuple[int, str], float] | None = None,
    answer_bytes: float = 0.0,
    necks: Mapping[int, NetworkProfile] | None = None,
    payload_spread: Mapping[tuple[int, str], float] | None = None,
) -> CostTables:
    """Modes ``paper`` and ``roofline``: times from the devices' peaks, sizes from shapes.

    Codecs are taken to need no time, since the model knows nothing of them.

    Args:
        network: what the network does.
        robot: the device of the head.
        servers: the devices of ``axes.servers``.
        mode: how time follows from intensity (Eq. 5 and 6). The paper's formulas know nothing of
            precision: ``paper`` offers fp32 alone.
        axes: what can be chosen.
        accuracy: measured accuracy; see :func:`codesign_ros.cost.losses.losses`.
        measured_bytes: mean payload by (cut, codec) [bytes], needed for codecs whose size depends
            on the values (jpeg, zstd); it goes before the size worked out from the shape.
        answer_bytes: size of an answer [bytes]; Eq. 7-8 know none, nor any delay of the link, and
            mode ``paper`` counts neither.
        necks: what the network does with a neck, by the cut that has it; the head ends with the
            neck's encoder, one segment after the cut.
        payload_spread: standard deviation of ``measured_bytes``, likewise [bytes].
    """
    last = network.segments
    notes: list[str] = []
    for device in {d.name: d for d in (robot, *servers)}.values():
        lacking = [p for p in axes.precisions if not device.has(p)]
        if lacking and mode is RooflineMode.ROOFLINE:
            notes.append(
                f"{device.name} has no peak for {', '.join(lacking)}: not offered (give it one in "
                "devices.yaml if it can)"
            )
    if mode is RooflineMode.PAPER and set(axes.precisions) - {"fp32"}:
        notes.append("Eq. 5-6 know nothing of precision: mode paper offers fp32 alone")

    def half_s(
        device: DeviceSpec,
        first: int,
        end: int,
        s: Structure,
        precision: str,
        network: NetworkProfile = network,
    ) -> float:
        offered = precision == "fp32" if mode is RooflineMode.PAPER else device.has(precision)
        if not offered:
            return np.nan
        flops, traffic = network.flops(first, end, s), network.bytes(first, end, s)
        return compute_s(flops, traffic, device, mode, precision)

    def bytes_at(cut: int, codec: str) -> float:
        measured = (measured_bytes or {}).get((cut, codec))
        if measured is not None:
            return measured
        sizes = [payload_bytes(spec, codec) for spec in network.crossings[cut]]
        return np.nan if None in sizes else float(sum(size or 0 for size in sizes))

    payload = _by_codec(last, axes, bytes_at)
    no_time = np.where(np.isnan(payload), np.nan, 0.0)
    necks = necks or {}

    def head_with_neck(cut: int, s: Structure, precision: str) -> float:
        with_neck = necks.get(cut)
        return half_s(robot, 0, cut + 1, s, precision, with_neck) if with_neck else np.nan

    def tail_with_neck(device: DeviceSpec, cut: int, s: Structure, precision: str) -> float:
        with_neck = necks.get(cut)
        if with_neck is None:
            return np.nan
        return half_s(device, cut + 1, with_neck.segments, s, precision, with_neck)

    found = losses(accuracy, last, axes, tuple(necks))
    tables = CostTables(
        axes=axes,
        head_s=_by_half(last, axes, lambda cut, s, p: half_s(robot, 0, cut, s, p)),
        encode_s=no_time,
        payload_bytes=payload,
        tail_s=_stack(
            (
                _by_half(last, axes, lambda cut, s, p, d=d: half_s(d, cut, last, s, p))  # type: ignore[misc]
                for d in servers
            ),
            (len(servers), last + 1, len(axes.structures), len(axes.precisions)),
        ),
        decode_s=np.repeat(no_time[None], len(servers), axis=0),
        load_fraction=np.array([network.load_fraction(cut, _BASE) for cut in range(last + 1)]),
        structure_loss=found.structure,
        codec_loss=found.codec,
        structure_error=found.structure_error,
        codec_error=found.codec_error,
        answer_bytes=None if mode is RooflineMode.PAPER else answer_bytes,
        robot_power_w=robot.power_w,
        metric=accuracy.metric if accuracy else "accuracy",
        reference=_reference(accuracy),
        notes=(*notes, *found.notes),
        neck_head_s=_by_half(last, axes, head_with_neck) if necks else None,
        neck_tail_s=_stack(
            (
                _by_half(last, axes, lambda cut, s, p, d=d: tail_with_neck(d, cut, s, p))  # type: ignore[misc]
                for d in servers
            ),
            (len(servers), last + 1, len(axes.structures), len(axes.precisions)),
        )
        if necks
        else None,
        payload_spread=_spread(last, axes, measured_bytes or {}, payload_spread or {}),
    )
    return _counted(tables, network)


def measured_tables(
    segments: int,
    head: HalfTimes,
    tails: Sequence[HalfTimes],
    axes: Axes,
    accuracy: AccuracyTable | None = None,
    sendable_bytes: float = 0.0,
    network: NetworkProfile | None = None,
    robot_power_w: float | None = None,
    answer_bytes: float = 0.0,
) -> CostTables:
    """Mode ``measured``: what the devices timed on themselves.

    Args:
        segments: N, the number of the network's segments.
        head: the robot's times; the sizes of payloads are its too.
        tails: those of ``axes.servers``.
        axes: what can be chosen.
        accuracy: measured accuracy; see :func:`codesign_ros.cost.losses.losses`.
        sendable_bytes: mean size of the camera's JPEGs where cut 0 can send them as they are
            [bytes]; 0 = it cannot, and the head decodes and encodes them. Such a frame costs the
            head no time, and no accuracy: the whole network sees the same JPEG. The other JPEGs
            decode it and encode it anew; what that loses is measured apart.
        network: what the network does, for limits on memory and the peers' roofline policies.
        robot_power_w: what the robot draws while it computes [W].
        answer_bytes: size of an answer [bytes]; 0 where the link's delay was measured with one.

    Raises:
        CodesignError: the head has not measured the whole network in structure S3.
    """
    if HalfForm(segments, _BASE) not in head.half_s:
        raise CodesignError(
            f"the head has not measured the whole network (cut {segments}, {_BASE.value}); "
            "without it nothing can be planned"
        )
    prepare_s = head.half_s.get(HalfForm(0, _BASE), np.nan)

    def encode_s(cut: int, codec: str) -> float:
        coding_s = head.codec_s.get((cut, codec), np.nan)
        # Preparing the frame is all that the head does at cut 0, whatever the plan.
        return coding_s + prepare_s if cut == 0 else coding_s

    encode = _by_codec(segments, axes, encode_s)
    payload = _by_codec(segments, axes, lambda c, k: head.codec_bytes.get((c, k), np.nan))
    necks = sorted({form.cut for form in head.half_s if form.neck})
    found = losses(accuracy, segments, axes, necks, camera_jpegs=sendable_bytes > 0)
    if sendable_bytes > 0 and _JPEG in axes.codecs:
        jpeg = axes.codecs.index(_JPEG)
        encode[0, jpeg], payload[0, jpeg] = 0.0, sendable_bytes
    tables = CostTables(
        axes=axes,
        head_s=_measured_s(segments, axes, head, empty=0),
        encode_s=encode,
        payload_bytes=payload,
        tail_s=_stack(
            (_measured_s(segments, axes, tail, empty=segments) for tail in tails),
            (len(tails), segments + 1, len(axes.structures), len(axes.precisions)),
        ),
        decode_s=_stack(
            (
                _by_codec(segments, axes, lambda c, k, t=t: t.codec_s.get((c, k), np.nan))  # type: ignore[misc]
                for t in tails
            ),
            (len(tails), segments + 1, len(axes.codecs)),
        ),
        load_fraction=_measured_fraction(segments, head),
        structure_loss=found.structure,
        codec_loss=found.codec,
        structure_error=found.structure_error,
        codec_error=found.codec_error,
        answer_bytes=answer_bytes,
        robot_power_w=robot_power_w,
        metric=accuracy.metric if accuracy else "accuracy",
        reference=_reference(accuracy),
        notes=found.notes,
        neck_head_s=_measured_s(segments, axes, head, neck=True) if necks else None,
        neck_tail_s=_stack(
            (_measured_s(segments, axes, tail, neck=True) for tail in tails),
            (len(tails), segments + 1, len(axes.structures), len(axes.precisions)),
        )
        if necks
        else None,
        payload_spread=_spread(segments, axes, head.codec_bytes, head.codec_spread),
        payload_scale=_scale(segments, axes, head) if head.payload_scale else None,
    )
    return tables if network is None else _counted(tables, network)


def _measured_s(
    segments: int, axes: Axes, times: HalfTimes, empty: int | None = None, neck: bool = False
) -> np.ndarray:
    """Fill (N+1, S, P); the half at the cut ``empty`` takes no time."""

    def half_s(cut: int, structure: Structure, precision: str) -> float:
        form = HalfForm(cut, structure, precision=precision, neck=neck)
        return 0.0 if cut == empty else times.half_s.get(form, np.nan)

    return _by_half(segments, axes, half_s)


def _measured_fraction(segments: int, head: HalfTimes) -> np.ndarray:
    """Lambda as the head's share of the time that the whole network takes on the robot."""
    here = np.array([head.half_s.get(HalfForm(c, _BASE), np.nan) for c in range(segments + 1)])
    prepare_s = np.nan_to_num(here[0])
    compute_s = here - prepare_s
    if not compute_s[-1] > 0:
        return np.append(np.zeros(1), np.ones(segments))
    # Timings are noisy: a head may seem to take longer than the whole.
    fraction = np.clip(compute_s / compute_s[-1], 0.0, 1.0)
    fraction[0] = 0.0
    return fraction


def _counted(tables: CostTables, network: NetworkProfile) -> CostTables:
    """Add what was counted: operations, traffic and memory."""
    last, axes = network.segments, tables.axes

    def by_segment(counts: Mapping[Structure, Sequence[int]]) -> np.ndarray:
        return np.array([counts[s] for s in axes.structures], float).T.copy()

    return replace(
        tables,
        segment_flops=by_segment(network.segment_flops),
        segment_bytes=by_segment(network.segment_bytes),
        head_memory_bytes=_by_half(last, axes, network.head_memory_bytes),
        tail_memory_bytes=_by_half(last, axes, network.tail_memory_bytes),
    )


def _reference(accuracy: AccuracyTable | None) -> float | None:
    return accuracy.reference if accuracy and accuracy.rows else None


def _by_half(last: int, axes: Axes, value: Callable[[int, Structure, str], float]) -> np.ndarray:
    """Fill (N+1, S, P)."""
    cells = [
        [[value(cut, s, p) for p in axes.precisions] for s in axes.structures]
        for cut in range(last + 1)
    ]
    return np.array(cells, float)


def _by_codec(last: int, axes: Axes, value: Callable[[int, str], float]) -> np.ndarray:
    """Fill (N+1, K); where all stays on the robot, nothing is encoded and nothing crosses."""
    table = np.array([[value(cut, k) for k in axes.codecs] for cut in range(last + 1)], float)
    table[last] = [0.0 if codec == NO_CODEC else np.nan for codec in axes.codecs]
    return table


def _spread(
    last: int,
    axes: Axes,
    mean: Mapping[tuple[int, str], float],
    deviation: Mapping[tuple[int, str], float],
) -> np.ndarray | None:
    """Fill (N+1, K) with standard deviations as share of the mean; None where none is known."""
    if not deviation:
        return None

    def share(cut: int, codec: str) -> float:
        size = mean.get((cut, codec), 0.0)
        return deviation.get((cut, codec), 0.0) / size if size > 0 else 0.0

    return np.array([[share(cut, k) for k in axes.codecs] for cut in range(last + 1)], float)


def _scale(last: int, axes: Axes, head: HalfTimes) -> np.ndarray:
    """Fill (N+1, K, P)."""
    scales = head.payload_scale
    cells = [
        [[scales.get((cut, k, p), 1.0) for p in axes.precisions] for k in axes.codecs]
        for cut in range(last + 1)
    ]
    return np.array(cells, float)


def _stack(arrays: Iterable[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Stack arrays to ``shape``, which may hold none."""
    return np.array(list(arrays), np.float64).reshape(shape)
