"""Profiles on a backend that builds engines ahead of time, each in seconds to minutes.

A node that built all engines before it times them would take hours to start. Here the whole network
is built, in each precision, and then what is built is timed: that, what was exported before, and
what has been built in the background since. The other halves are estimated: at other cuts by the
roofline model between the cuts that were timed; in a structure of which nothing is built by its
roofline time beside that of S3. So the planner can want them, and what it wants gets built and
timed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from codesign_ros.bundle import Bundle
from codesign_ros.cost.half_times import Extent, HalfTimes
from codesign_ros.cost.interpolate import between_cuts, half_roofline_s
from codesign_ros.cost.profile import NetworkProfile, profile_network
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import EngineFactory, open_backend
from codesign_ros.profiling.timer import StageTimer
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import HalfForm, Part, Structure

# Peaks of a GPU in the middle of those that TensorRT runs on (about a Jetson AGX Orin's). They
# share measured times out among the segments, for which only their ratios matter.
_GPU = DeviceSpec("a GPU", {"fp32": 5.3e12, "fp16": 4.2e13, "int8": 8.5e13}, 2.05e11)


def build_whole(
    factory: EngineFactory,
    part: Part,
    extent: Extent,
    progress: Callable[[float | None, str], None] = lambda fraction, text: None,
) -> None:
    """Build the whole network in fp32 and in each precision asked for, where it is not built.

    A precision in which it cannot be built gets no time, and is not offered. ``progress`` is told
    how far a build is (0..1, None = unknown) and what is going on.

    Raises:
        CodesignError: the backend does not have a precision, or the network cannot be built in
            fp32.
    """
    cut = _whole_cut(factory.bundle, part)
    for precision in dict.fromkeys(("fp32", *extent.precisions)):
        try:
            factory.prepare(EngineKey(part, cut, precision=precision), progress)
        except CodesignError:
            if precision == "fp32" or precision not in factory.precisions:
                raise


def time_built(
    factory: EngineFactory,
    part: Part,
    extent: Extent,
    known: HalfTimes | None,
    cache_dir: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> HalfTimes:
    """Time the halves that are built and were not timed, and estimate the others.

    S3 and the whole networks are always timed; other structures as far as the budget reaches.

    Args:
        factory: makes the engines; the whole network in fp32 is built.
        part: ``head`` or ``tail``.
        extent: what the profile must have, as far as it is built or can be estimated.
        known: what was timed before; None = nothing.
        cache_dir: where the networks are kept that give tails and codecs their tensors.
        progress: called with how many halves and cuts are done, and of how many.

    Returns:
        The profile; ``known`` itself where there is nothing new.

    Raises:
        CodesignError: an engine cannot be loaded or run.
    """
    started_s = time.perf_counter()
    bundle, last = factory.bundle, factory.bundle.last_cut
    whole = _whole_cut(bundle, part)
    empty = last - whole
    known = HalfTimes({}) if known is None else known
    wanted = extent.halves(last, [neck.cut for neck in bundle.necks])
    wholes = [
        half
        for half in dict.fromkeys(
            half._replace(cut=whole, neck=False) for half in (*wanted, *known.half_s)
        )
        if factory.is_built(EngineKey(part, whole, precision=half.precision))
    ]
    halves = [*wholes, *(h for h in wanted if h._replace(cut=whole, neck=False) in wholes)]
    timed = known.measured_s
    new = [
        half
        for half in dict.fromkeys(halves)
        if half.cut != empty and half not in timed and factory.is_built(EngineKey(part, *half))
    ]
    cuts = sorted({h.cut for h in halves if h.cut < last} - {cut for cut, _ in known.codec_s})
    if not (new or cuts) and known.half_s.keys() >= {*halves}:
        progress(len(halves), len(halves))
        return known
    total = len(new) + len(cuts)
    always = [half for half in new if half.structure is Structure.S3 or half.cut == whole]
    with (
        # Tails and codecs are timed on what heads make, at cuts with no engine yet too.
        contextlib.closing(
            open_backend(bundle, cache_dir=cache_dir, threads=factory.threads)
        ) as crossings,
        contextlib.closing(
            StageTimer(factory, part, lambda done: progress(done, total), crossings)
        ) as timer,
    ):
        others = (half for half in new if half not in always)
        timer.time_all(cuts, always, others, started_s + extent.budget_s)
        new_s, codec_s, prepare_s = timer.results()
    progress(total, total)
    if part == "head":
        # All times of a profile include the same time for preparing the frame.
        prepare_s = known.half_s.get(HalfForm(0), prepare_s)
    timed |= {half: prepare_s + time_s for half, time_s in new_s.items()}
    timed |= {half._replace(cut=empty): prepare_s for half in wholes}
    measured = HalfTimes(
        timed,
        codec_s={**known.codec_s, **codec_s},
        codec_bytes={**known.codec_bytes, **timer.codec_bytes},
        codec_spread={**known.codec_spread, **timer.codec_spread},
        payload_scale={**known.payload_scale, **timer.payload_scale},
    )
    return _with_estimates(bundle, part, measured, wholes, prepare_s)


def _whole_cut(bundle: Bundle, part: Part) -> int:
    """The cut at which the part has all segments."""
    return bundle.last_cut if part == "head" else 0


def _with_estimates(
    bundle: Bundle,
    part: Part,
    measured: HalfTimes,
    wholes: Sequence[HalfForm],
    prepare_s: float,
) -> HalfTimes:
    """Add what was not timed; the whole network in S3 was, in every precision of ``wholes``."""
    structures = dict.fromkeys((Structure.S3, *(half.structure for half in wholes)))
    network = profile_network(bundle.network(), structures)
    whole, tail = _whole_cut(bundle, part), part == "tail"
    empty = network.segments - whole
    known = {half._replace(cut=whole) for half in measured.half_s if half.cut != empty}
    scaled = {}
    for half in wholes:
        if half in known:
            continue
        s3 = half._replace(structure=Structure.S3)
        alike_s, base_s = (
            half_roofline_s(network, _GPU, each.structure, each.precision, tail)[whole]
            for each in (half, s3)
        )
        scaled[half] = prepare_s + alike_s / base_s * (measured.half_s[s3] - prepare_s)
    begun = replace(measured, half_s={**measured.half_s, **scaled}, estimated=frozenset(scaled))
    filled = between_cuts(network, begun, _GPU, tail)
    return _with_necks(bundle, network, filled, wholes, prepare_s, tail)


def _with_necks(
    bundle: Bundle,
    network: NetworkProfile,
    times: HalfTimes,
    wholes: Sequence[HalfForm],
    prepare_s: float,
    tail: bool,
) -> HalfTimes:
    """Add halves with a neck: that without one, by the ratio of their roofline times."""
    scaled = {}
    for neck in bundle.necks:
        with_neck = profile_network(bundle.network_with_neck(neck.cut), network.segment_flops)
        for half in wholes:
            plain = half._replace(cut=neck.cut)
            if (form := plain._replace(neck=True)) in times.half_s or plain not in times.half_s:
                continue
            alike_s, base_s = (
                half_roofline_s(of, _GPU, half.structure, half.precision, tail)[cut]
                for of, cut in ((with_neck, neck.cut + 1), (network, neck.cut))
            )
            offset_s = 0.0 if tail else prepare_s
            scaled[form] = offset_s + alike_s / base_s * (times.half_s[plain] - offset_s)
    return replace(
        times,
        half_s={**times.half_s, **scaled},
        estimated=times.estimated | scaled.keys(),
    )
