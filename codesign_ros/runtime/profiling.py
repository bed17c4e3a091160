"""What a machine measured of its half of a network: which forms, at which cuts, and its cache."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from codesign_ros.bundle import Bundle
from codesign_ros.cost.measured import MeasuredStages
from codesign_ros.engines.cache import FileCache
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.runtime.stage_timer import Half, Part, StageTimer
from codesign_ros.types import BRANCH_STRUCTURES, Structure

__all__ = ["Extent", "Half", "Part", "StageProfile", "measure", "profile_cached", "profile_from"]

# Part of the cache key; raise it when other things are timed.
_VERSION = 5

_BASE = Structure.S3


@dataclass(frozen=True)
class StageProfile:
    """What one device measured of itself, batch 1.

    Attributes:
        stage_s: time of a half in fp32 by (cut, structure) [s]; a head's include preparing the
            frame (JPEG decoding, letterbox), its cut 0 is that alone.
        estimated: those halves, of any precision, that were not timed but scaled from S3 of the
            same precision at the same cut, by the ratio at the nearest cut where both were timed.
        codec_s: time to encode (head) or decode (tail) by (cut, codec) [s].
        codec_bytes: mean payload by (cut, codec) [bytes].
        precision_s: as ``stage_s``, by (cut, structure, precision), for other precisions [s].
    """

    stage_s: dict[tuple[int, Structure], float]
    estimated: frozenset[Half]
    codec_s: dict[tuple[int, str], float]
    codec_bytes: dict[tuple[int, str], float]
    precision_s: dict[Half, float] = field(default_factory=dict)

    def halves(self) -> dict[Half, float]:
        """Time of every half by cut, structure and precision [s]."""
        fp32 = {(cut, s, "fp32"): time_s for (cut, s), time_s in self.stage_s.items()}
        return fp32 | self.precision_s

    def stages(self) -> MeasuredStages:
        """The same for the cost model."""
        return MeasuredStages(
            self.stage_s, self.codec_s, self.precision_s, self.codec_bytes, self.estimated
        )

    def stretched(self, slowdown: float) -> StageProfile:
        """The same on a device ``slowdown`` times slower (emulated); 0 or 1 changes nothing."""
        factor = max(1.0, slowdown)
        return replace(
            self,
            stage_s={key: factor * value for key, value in self.stage_s.items()},
            codec_s={key: factor * value for key, value in self.codec_s.items()},
            precision_s={key: factor * value for key, value in self.precision_s.items()},
        )

    def updated(self, newer: StageProfile) -> StageProfile:
        """What ``newer`` timed, then what was timed before, then what ``newer`` estimates."""
        old, new = self.halves(), newer.halves()
        spared = {h for h in newer.estimated if h in old and h not in self.estimated}
        halves = old | {half: s for half, s in new.items() if half not in spared}
        estimated = (newer.estimated - spared) | (self.estimated - new.keys())
        return profile_of(
            halves, estimated, self.codec_s | newer.codec_s, self.codec_bytes | newer.codec_bytes
        )

    def to_json(self) -> str:
        """Write as text that ``from_json`` reads."""
        return json.dumps(
            {
                "halves": [
                    [cut, s.value, precision, time_s, (cut, s, precision) not in self.estimated]
                    for (cut, s, precision), time_s in self.halves().items()
                ],
                "codecs": [
                    [cut, codec, time_s, self.codec_bytes[cut, codec]]
                    for (cut, codec), time_s in self.codec_s.items()
                ],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> StageProfile:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: it is something else, or a time or size in it is none.
        """
        try:
            content = json.loads(text)
            halves = [
                ((int(cut), Structure(s), str(precision)), float(time_s), bool(timed))
                for cut, s, precision, time_s, timed in content["halves"]
            ]
            codecs = [
                ((int(cut), str(codec)), float(time_s), float(size))
                for cut, codec, time_s, size in content["codecs"]
            ]
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a stage profile: {error}") from None
        numbers = [*(t for _, t, _ in halves), *(n for _, *pair in codecs for n in pair)]
        if not all(0 <= number < math.inf for number in numbers):
            raise ValueError("not a stage profile: a time or size is negative or not finite")
        return profile_of(
            {half: time_s for half, time_s, _ in halves},
            frozenset(half for half, _, timed in halves if not timed),
            {key: time_s for key, time_s, _ in codecs},
            {key: size for key, _, size in codecs},
        )


def profile_of(
    halves: dict[Half, float],
    estimated: frozenset[Half],
    codec_s: dict[tuple[int, str], float],
    codec_bytes: dict[tuple[int, str], float],
) -> StageProfile:
    """Make a profile of the times of halves in all precisions [s]."""
    stage_s = {(cut, s): t for (cut, s, precision), t in halves.items() if precision == "fp32"}
    precision_s = {half: t for half, t in halves.items() if half[2] != "fp32"}
    return StageProfile(stage_s, estimated, codec_s, codec_bytes, precision_s)


@dataclass(frozen=True)
class Extent:
    """How much of one part to time; S3 in fp32, from which all else is estimated, always is.

    Attributes:
        cuts: at which cuts; None = all.
        structures: those of the halves.
        precisions: in which numbers, beside fp32.
        budget_s: time after which no further half is timed that can be estimated [s]; infinite =
            every half is timed.
    """

    cuts: tuple[int, ...] | None = None
    structures: tuple[Structure, ...] = BRANCH_STRUCTURES
    precisions: tuple[str, ...] = ()
    budget_s: float = 3.0

    def halves(self, segments: int) -> list[Half]:
        """All halves of it, those that are never estimated first."""
        cuts = range(segments + 1) if self.cuts is None else sorted({*self.cuts})
        precisions = dict.fromkeys(("fp32", *sorted(self.precisions)))
        structures = dict.fromkeys((_BASE, *self.structures))
        return [(cut, s, p) for s in structures for p in precisions for cut in cuts]


def profile_cached(
    bundle: Bundle,
    factory: EngineFactory,
    part: Part,
    cache_dir: Path,
    extent: Extent,
    *,
    fresh: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StageProfile:
    """Return this machine's profile from the cache; measure what is not there and keep it.

    Args:
        bundle: the network and the calibration frames it is timed on.
        factory: makes the engines.
        part: ``head`` or ``tail``.
        cache_dir: where profiles are kept.
        extent: what the profile must have; it may have more.
        fresh: measure although it is there.
        progress: see ``measure``.
    """
    cache = FileCache(cache_dir)
    machine = (platform.node(), platform.machine(), platform.processor(), str(os.cpu_count()))
    parts = (bundle.model_id, part, *machine, factory.backend, str(factory.threads), str(_VERSION))
    name = hashlib.sha256("|".join(parts).encode()).hexdigest()[:32] + ".profile.cache"
    stored = cache.get(name)
    known = None if stored is None else StageProfile.from_json(stored.decode())
    wanted = set(extent.halves(len(bundle.segments)))
    if known is not None and not fresh:
        missing = wanted - known.halves().keys()
        if extent.budget_s == math.inf:
            missing |= wanted & known.estimated
        if not missing:
            progress(len(wanted), len(wanted))
            return known
    profile = measure(bundle, factory, part, extent, progress)
    if known is not None:
        profile = known.updated(profile)
    cache.put(name, profile.to_json().encode())
    return profile


def measure(
    bundle: Bundle,
    factory: EngineFactory,
    part: Part,
    extent: Extent,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StageProfile:
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
    halves = extent.halves(len(bundle.segments))
    cuts = [cut for cut in dict.fromkeys(cut for cut, *_ in halves) if cut < len(bundle.segments)]
    total, done = len(halves) + len(cuts), 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        progress(done, total)

    timer = StageTimer(factory, part, advance)
    longest = max if part == "head" else min
    end = longest(cut for cut, *_ in halves)
    # The longest half of each structure gives the ratio to S3 by which the others are estimated.
    always = [h for h in halves if h[1] is _BASE or (h[0], h[2]) == (end, "fp32")]
    # From the longest on; precisions, whose first engine takes seconds to make, come last.
    others = sorted(
        {*halves} - {*always},
        key=lambda half: (half[2] != "fp32", -half[0] if part == "head" else half[0], half),
    )
    timer.time_codecs(cuts)
    for group in timer.groups(always):
        timer.time_halves(group)
    for group in timer.groups(others):
        if time.perf_counter() - started_s > extent.budget_s:
            break
        timer.time_halves(group)
    progress(total, total)
    return profile_from(timer, halves)


def profile_from(timer: StageTimer, halves: Collection[Half]) -> StageProfile:
    """Make a profile of what was timed, with these halves: timed, empty, or estimated."""
    timed, codec_s, prepare_s = timer.results()
    timed |= {half: 0.0 for half in halves if timer.is_empty(half[0])}
    scaled = {half: _scaled(half, timed) for half in halves if half not in timed}
    return profile_of(
        {half: prepare_s + (timed | scaled)[half] for half in halves},
        frozenset(scaled),
        codec_s,
        timer.codec_bytes,
    )


def _scaled(half: Half, timed: dict[Half, float]) -> float:
    """Estimate a half from S3 at its cut [s]."""
    cut, structure, precision = half

    def cuts_timed(numbers: str) -> list[int]:
        return [c for c, s, p in timed if (s, p) == (structure, numbers) and timed[c, s, p] > 0]

    # Where nothing was timed in this precision, the ratio in fp32 stands for it.
    numbers = precision if cuts_timed(precision) else "fp32"
    nearest = min(cuts_timed(numbers), key=lambda other: abs(other - cut))
    ratio = timed[nearest, structure, numbers] / timed[nearest, _BASE, numbers]
    return ratio * timed[cut, _BASE, precision]
