"""What a machine measures of its half of a network: which halves it times, and its cache."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import os
import platform
import time
from collections.abc import Callable, Collection
from pathlib import Path

from codesign_ros.bundle import Bundle
from codesign_ros.cost.half_times import Extent, HalfTimes
from codesign_ros.engines.cache import FileCache
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.hardware.cpu_quota import cpu_quota
from codesign_ros.hardware.jetson import power_mode
from codesign_ros.profiling.built import build_whole, time_built
from codesign_ros.profiling.rehearsal import video_codecs
from codesign_ros.profiling.timer import StageTimer
from codesign_ros.types.forms import HalfForm, Part, Structure

# Part of the cache key; raise it when other things are timed.
_VERSION = 11

_BASE = Structure.S3


def profile_cached(
    bundle: Bundle,
    factory: EngineFactory,
    part: Part,
    cache_dir: Path,
    extent: Extent,
    *,
    fresh: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> HalfTimes:
    """Return this machine's profile from the cache; measure what is not there and keep it.

    Where the backend builds engines ahead of time, only the whole network is built, in fp32 and in
    each precision asked for. Halves whose engines are built are timed, all others estimated; see
    ``time_built`` and ``profile_more``.

    Args:
        bundle: the network and the calibration frames it is timed on.
        factory: makes the engines.
        part: ``head`` or ``tail``.
        cache_dir: where profiles are kept.
        extent: what the profile must have; it may have more.
        fresh: measure although it is there.
        progress: see ``measure``.

    Raises:
        CodesignError: the backend does not have one of the precisions, or cannot run here.
    """
    cache, name = FileCache(cache_dir), _cache_name(factory, part)
    stored = cache.get(name)
    known = None if stored is None else HalfTimes.from_json(json.loads(stored))
    if factory.builds_ahead:
        build_whole(factory, part, extent)
        profile = time_built(factory, part, extent, None if fresh else known, cache_dir, progress)
        if profile != known:
            cache.keep(name, _as_bytes(profile))
        return profile
    wanted = set(extent.halves(bundle.last_cut, _necks(bundle)))
    if known is not None and not fresh:
        missing = wanted - known.half_s.keys()
        if extent.budget_s == math.inf:
            missing |= wanted & known.estimated
        if not missing:
            progress(len(wanted), len(wanted))
            return known
    profile = measure(bundle, factory, part, extent, progress)
    if known is not None:
        profile = known.updated(profile)
    cache.keep(name, _as_bytes(profile))
    return profile


def profile_more(
    bundle: Bundle,
    factory: EngineFactory,
    part: Part,
    cache_dir: Path,
    extent: Extent,
    profile: HalfTimes,
) -> HalfTimes:
    """Time the halves whose engines were built since, and estimate the others from more times.

    For a node to call after a build in the background, on the thread of the build. Frames may go on
    meanwhile; how far they disturb the times was not measured.

    Args:
        bundle: the network.
        factory: the engines'; one that builds ahead.
        part: ``head`` or ``tail``.
        cache_dir: as for ``profile_cached``, which finds the new times there.
        extent: likewise.
        profile: what ``profile_cached`` or the last call of this returned.

    Returns:
        The same profile where nothing is new, else a new one, which is kept in the cache too.

    Raises:
        CodesignError: an engine cannot be loaded or run.
    """
    newer = time_built(factory, part, extent, profile, cache_dir)
    if newer != profile:
        FileCache(cache_dir).keep(_cache_name(factory, part), _as_bytes(newer))
    return newer


def _as_bytes(times: HalfTimes) -> bytes:
    return json.dumps(times.to_json()).encode()


def _cache_name(factory: EngineFactory, part: Part) -> str:
    """File of a profile: one for each network, part, and all that times depend on."""
    machine = (platform.node(), platform.machine(), platform.processor(), str(os.cpu_count()))
    engines = (factory.backend, str(factory.threads), *factory.settings_id)
    # A Jetson at 15 W takes other times than at 30 W, a container with half a core than with one.
    state = (power_mode(), str(cpu_quota()))
    # Video is timed once its accuracy was measured, which makes no other network of it.
    video = video_codecs(factory.bundle)
    parts = (factory.bundle.model_id, part, *machine, *state, *engines, *video, str(_VERSION))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32] + ".profile.cache"


def measure(
    bundle: Bundle,
    factory: EngineFactory,
    part: Part,
    extent: Extent,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> HalfTimes:
    """Time one part of a network on this machine.

    The halves in structure S3, in every precision, and the codecs are always timed; halves in the
    other structures as far as the budget reaches, whole networks first, and scaled beyond it.

    Args:
        bundle: the network and the calibration frames it is timed on.
        factory: makes the engines.
        part: ``head`` or ``tail``.
        extent: how much to time.
        progress: called with how many halves and cuts are done, and of how many.

    Raises:
        CodesignError: the backend does not have one of the precisions.
    """
    started_s = time.perf_counter()
    halves = extent.halves(bundle.last_cut, _necks(bundle))
    cuts = [cut for cut in dict.fromkeys(h.cut for h in halves) if cut < bundle.last_cut]
    total = len(halves) + len(cuts)
    longest = max if part == "head" else min
    end = longest(half.cut for half in halves)
    # The longest half of each structure gives the ratio to S3 by which the others are estimated.
    always = [h for h in halves if h.structure is _BASE or (h.cut, h.precision) == (end, "fp32")]
    # From the longest on; precisions, whose first engine takes seconds to make, come last.
    others = sorted(
        {*halves} - {*always},
        key=lambda half: (half.precision != "fp32", abs(half.cut - end), half),
    )
    with contextlib.closing(StageTimer(factory, part, lambda done: progress(done, total))) as timer:
        timer.time_all(cuts, always, others, started_s + extent.budget_s)
        progress(total, total)
        return profile_from(timer, halves)


def _necks(bundle: Bundle) -> list[int]:
    return [neck.cut for neck in bundle.necks]


def profile_from(timer: StageTimer, halves: Collection[HalfForm]) -> HalfTimes:
    """Make a profile of what was timed, with these halves: timed, empty, or estimated."""
    timed, codec_s, prepare_s = timer.results()
    timed |= {half: 0.0 for half in halves if timer.is_empty(half.cut)}
    scaled = {half: _scaled(half, timed) for half in halves if half not in timed}
    return HalfTimes(
        {half: prepare_s + (timed | scaled)[half] for half in halves},
        frozenset(scaled),
        codec_s,
        timer.codec_bytes,
        timer.codec_spread,
        timer.payload_scale,
    )


def _scaled(half: HalfForm, timed: dict[HalfForm, float]) -> float:
    """Estimate a half from S3 at its cut [s]."""

    def timed_like(form: HalfForm) -> list[HalfForm]:
        return [f for f, time_s in timed.items() if f._replace(cut=half.cut) == form and time_s > 0]

    # Where nothing was timed in this precision, the ratio in fp32 stands for it, and that without
    # a neck where nothing with one was timed.
    forms = itertools.product((half.neck, False), (half.precision, "fp32"))
    alike = next(filter(None, (timed_like(half._replace(neck=n, precision=p)) for n, p in forms)))
    nearest = min(alike, key=lambda form: abs(form.cut - half.cut))
    ratio = timed[nearest] / timed[nearest._replace(structure=_BASE)]
    return ratio * timed[half._replace(structure=_BASE)]
