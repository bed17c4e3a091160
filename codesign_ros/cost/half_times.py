"""Times that head and tail measured on themselves, as they announce them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from codesign_ros.types import BRANCH_STRUCTURES, Structure


@dataclass(frozen=True)
class MeasuredStages:
    """What one device measured, batch 1; the arrays of ``msg/DeviceProfile.msg`` as mappings.

    Attributes:
        stage_s: time of a half by (cut, structure) [s]. A head's entry for cut 0 is the time that
            it takes to prepare the frame, which every other of its entries includes.
        codec_s: time to encode (head) or decode (tail) by (cut, codec) [s].
        precision_s: as ``stage_s``, by (cut, structure, precision), for other precisions than fp32,
            in which ``stage_s`` is [s].
        codec_bytes: mean payload by (cut, codec) [bytes].
        estimated: halves by (cut, structure, precision) whose time was not measured but worked
            out from structure S3 at the same cut, or from other cuts.
    """

    stage_s: Mapping[tuple[int, Structure], float]
    codec_s: Mapping[tuple[int, str], float] = field(default_factory=dict)
    precision_s: Mapping[tuple[int, Structure, str], float] = field(default_factory=dict)
    codec_bytes: Mapping[tuple[int, str], float] = field(default_factory=dict)
    estimated: frozenset[tuple[int, Structure, str]] = frozenset()

    def time_s(self, cut: int, structure: Structure, precision: str) -> float | None:
        """Time of the half [s], or None where it is not known."""
        if precision == "fp32":
            return self.stage_s.get((cut, structure))
        return self.precision_s.get((cut, structure, precision))

    def is_measured(self, cut: int, structure: Structure, precision: str) -> bool:
        """Whether the half was timed itself."""
        known = self.time_s(cut, structure, precision) is not None
        return known and (cut, structure, precision) not in self.estimated


HalfForm = tuple[int, Structure, str]
"""Cut, structure and precision of a half."""


@dataclass(frozen=True)
class StageProfile:
    """What one device measured of itself, batch 1.

    Attributes:
        stage_s: time of a half in fp32 by (cut, structure) [s]; a head's include preparing the
            frame (JPEG decoding, letterbox), its cut 0 is that alone.
        estimated: those halves, of any precision, that were not timed but worked out from S3 of
            the same precision at the same cut, or from other cuts.
        codec_s: time to encode (head) or decode (tail) by (cut, codec) [s].
        codec_bytes: mean payload by (cut, codec) [bytes].
        precision_s: as ``stage_s``, by (cut, structure, precision), for other precisions [s].
    """

    stage_s: dict[tuple[int, Structure], float]
    estimated: frozenset[HalfForm]
    codec_s: dict[tuple[int, str], float]
    codec_bytes: dict[tuple[int, str], float]
    precision_s: dict[HalfForm, float] = field(default_factory=dict)

    def halves(self) -> dict[HalfForm, float]:
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
    halves: dict[HalfForm, float],
    estimated: frozenset[HalfForm],
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

    def forms(self) -> list[tuple[Structure, str]]:
        """Structures and precisions of its halves, those that are never estimated first."""
        precisions = dict.fromkeys(("fp32", *sorted(self.precisions)))
        structures = dict.fromkeys((Structure.S3, *self.structures))
        return [(structure, precision) for structure in structures for precision in precisions]

    def halves(self, segments: int) -> list[HalfForm]:
        """All halves of it, in the order of ``forms``."""
        cuts = range(segments + 1) if self.cuts is None else sorted({*self.cuts})
        return [(cut, *form) for form in self.forms() for cut in cuts]
