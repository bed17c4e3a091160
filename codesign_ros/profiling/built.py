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

from codesign_ros.bundle import Bundle
from codesign_ros.cost.half_times import Extent, StageProfile, profile_of
from codesign_ros.cost.interpolate import between_cuts, half_roofline_s
from codesign_ros.cost.profile import profile_network
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.profiling.timer import Part, StageTimer
from codesign_ros.types import CodesignError, DeviceSpec, Structure

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
    known: StageProfile | None,
    crossings: EngineFactory,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StageProfile:
    """Time the halves that are built and were not timed, and estimate the others.

    S3 and the whole networks are always timed; other structures as far as the budget reaches.

    Args:
        factory: makes the engines; the whole network in fp32 is built.
        part: ``head`` or ``tail``.
        extent: what the profile must have, as far as it is built or can be estimated.
        known: what was timed before; None = nothing.
        crossings: makes the heads that give tails and codecs their tensors.
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
    known = StageProfile({}, frozenset(), {}, {}) if known is None else known
    asked = (*extent.forms(), *(half[1:] for half in known.halves()))
    forms = [
        (structure, precision)
        for structure, precision in dict.fromkeys(asked)
        if factory.is_built(EngineKey(part, whole, precision=precision))
    ]
    halves = [(whole, *form) for form in forms]
    halves += [half for half in extent.halves(last) if half[1:] in forms]
    timed = {h: time_s for h, time_s in known.halves().items() if h not in known.estimated}
    new = [
        (cut, s, p)
        for cut, s, p in dict.fromkeys(halves)
        if cut != empty
        and (cut, s, p) not in timed
        and factory.is_built(EngineKey(part, cut, s, precision=p))
    ]
    cuts = sorted({cut for cut, *_ in halves if cut < last} - {cut for cut, _ in known.codec_s})
    if not (new or cuts) and known.halves().keys() >= {*halves}:
        progress(len(halves), len(halves))
        return known
    total, done = len(new) + len(cuts), 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        progress(done, total)

    always = [half for half in new if half[1] is Structure.S3 or half[0] == whole]
    with contextlib.closing(StageTimer(factory, part, advance, crossings)) as timer:
        timer.time_codecs(cuts)
        for group in timer.groups(always):
            timer.time_halves(group)
        for group in timer.groups(half for half in new if half not in always):
            if time.perf_counter() - started_s > extent.budget_s:
                break
            timer.time_halves(group)
        new_s, codec_s, prepare_s = timer.results()
    progress(total, total)
    if part == "head":
        # All times of a profile include the same time for preparing the frame.
        prepare_s = known.stage_s.get((0, Structure.S3), prepare_s)
    timed |= {half: prepare_s + time_s for half, time_s in new_s.items()}
    timed |= {(empty, *form): prepare_s for form in forms}
    measured = profile_of(
        timed, frozenset(), known.codec_s | codec_s, known.codec_bytes | timer.codec_bytes
    )
    return _with_estimates(bundle, part, measured, forms, prepare_s)


def _whole_cut(bundle: Bundle, part: Part) -> int:
    """The cut at which the part has all segments."""
    return bundle.last_cut if part == "head" else 0


def _with_estimates(
    bundle: Bundle,
    part: Part,
    measured: StageProfile,
    forms: Sequence[tuple[Structure, str]],
    prepare_s: float,
) -> StageProfile:
    """Add what was not timed; the whole network in S3 was, in every precision of ``forms``."""
    structures = dict.fromkeys((Structure.S3, *(structure for structure, _ in forms)))
    network = profile_network(bundle.network(), structures)
    whole, tail = _whole_cut(bundle, part), part == "tail"
    empty = network.segments - whole
    timed = measured.halves()
    known = {(structure, precision) for cut, structure, precision in timed if cut != empty}
    scaled = {}
    for structure, precision in forms:
        if (structure, precision) in known:
            continue
        alike_s, base_s = (
            half_roofline_s(network, _GPU, each, precision, tail)[whole]
            for each in (structure, Structure.S3)
        )
        whole_s = timed[whole, Structure.S3, precision] - prepare_s
        scaled[whole, structure, precision] = prepare_s + alike_s / base_s * whole_s
    begun = profile_of(timed | scaled, frozenset(scaled), measured.codec_s, measured.codec_bytes)
    stages = between_cuts(network, begun.stages(), _GPU, tail)
    return StageProfile(
        dict(stages.stage_s),
        stages.estimated,
        dict(stages.codec_s),
        dict(stages.codec_bytes),
        dict(stages.precision_s),
    )
