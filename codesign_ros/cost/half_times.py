"""How long a device takes for halves of a network and for codecs, as it measured on itself."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from codesign_ros.types.forms import BRANCH_STRUCTURES, HalfForm, Merge, Structure


@dataclass(frozen=True)
class HalfTimes:
    """Times of one device as head or as tail, batch 1; the arrays of ``msg/DeviceProfile.msg``.

    Attributes:
        half_s: time of a half [s]; a head's include preparing the frame (JPEG decoding, letterbox),
            its cut 0 is that alone. It is the folded halves that are timed: a pruned one has the
            same layers and takes as long.
        estimated: those halves that were not timed but worked out from structure S3 at the same
            cut, or from other cuts.
        codec_s: time to encode (head) or decode (tail) by (cut, codec) [s].
        codec_bytes: mean payload by (cut, codec) [bytes].
        codec_spread: its standard deviation from frame to frame [bytes]; none where not known.
        payload_scale: by (cut, codec, precision) the payload of what heads in a precision other
            than fp32 make, against fp32's; none where not known. What was rounded to few levels is
            packed closer by a codec with a lossless stage.
    """

    half_s: Mapping[HalfForm, float]
    estimated: frozenset[HalfForm] = frozenset()
    codec_s: Mapping[tuple[int, str], float] = field(default_factory=dict)
    codec_bytes: Mapping[tuple[int, str], float] = field(default_factory=dict)
    codec_spread: Mapping[tuple[int, str], float] = field(default_factory=dict)
    payload_scale: Mapping[tuple[int, str, str], float] = field(default_factory=dict)

    @property
    def measured_s(self) -> dict[HalfForm, float]:
        """Time of every half that was timed itself [s]."""
        return {form: s for form, s in self.half_s.items() if form not in self.estimated}

    def stretched(self, slowdown: float) -> HalfTimes:
        """The same on a device ``slowdown`` times slower (emulated); 0 or 1 changes nothing."""
        factor = max(1.0, slowdown)
        return replace(
            self,
            half_s={form: factor * time_s for form, time_s in self.half_s.items()},
            codec_s={key: factor * time_s for key, time_s in self.codec_s.items()},
        )

    def updated(self, newer: HalfTimes) -> HalfTimes:
        """What ``newer`` timed, then what was timed before, then what ``newer`` estimates."""
        spared = {form: s for form, s in self.measured_s.items() if form in newer.estimated}
        return HalfTimes(
            {**self.half_s, **newer.half_s, **spared},
            (newer.estimated - spared.keys()) | (self.estimated - newer.half_s.keys()),
            {**self.codec_s, **newer.codec_s},
            {**self.codec_bytes, **newer.codec_bytes},
            {**self.codec_spread, **newer.codec_spread},
            {**self.payload_scale, **newer.payload_scale},
        )

    def payload_bytes(self, precision: str) -> dict[tuple[int, str], float]:
        """Mean payload by (cut, codec) of what heads in a precision make [bytes]."""
        return {
            (cut, codec): size * self.payload_scale.get((cut, codec, precision), 1.0)
            for (cut, codec), size in self.codec_bytes.items()
        }

    def to_json(self) -> dict[str, list[Any]]:
        """Return all of it as plain values, a row for each half, codec at a cut, and scale."""
        return {
            "halves": [
                [*form, time_s, form not in self.estimated] for form, time_s in self.half_s.items()
            ],
            "codecs": [
                [*key, time_s, self.codec_bytes[key], self.codec_spread.get(key, 0.0)]
                for key, time_s in self.codec_s.items()
            ],
            "scales": [[*key, scale] for key, scale in self.payload_scale.items()],
        }

    @classmethod
    def from_json(cls, content: Any) -> HalfTimes:
        """Make it of what ``to_json`` returned.

        Raises:
            ValueError: it is something else, or a time or size in it is none.
        """
        try:
            # Files from before merge was told have it not; what they hold was folded. Nor have
            # older ones necks, or how far sizes vary, or scales.
            halves = (
                [*row[:2], Merge.FOLD, *row[2:]] if len(row) == 5 else row
                for row in content["halves"]
            )
            halves = ([*row[:4], False, *row[4:]] if len(row) == 6 else row for row in halves)
            codecs = ([*row, 0.0] if len(row) == 4 else row for row in content["codecs"])
            return cls.from_rows(halves, codecs, content.get("scales", ()))
        except (AttributeError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"no times of halves: {error}") from None

    @classmethod
    def from_rows(
        cls,
        halves: Iterable[Sequence[Any]],
        codecs: Iterable[Sequence[Any]],
        scales: Iterable[Sequence[Any]] = (),
    ) -> HalfTimes:
        """Make it of rows that come from elsewhere.

        Args:
            halves: cut, structure, merge, precision, whether it has a neck, time [s], and
                whether it was timed.
            codecs: cut, codec, time [s], mean payload [bytes] and its standard deviation [bytes].
            scales: cut, codec, precision and scale, see ``payload_scale``.

        Raises:
            ValueError: a row has more or less in it, a structure or a merge is not known, or a
                time, size or scale is negative or not finite.
        """
        half_s, estimated = {}, set()
        for cut, structure, merge, precision, neck, time_s, timed in halves:
            form = HalfForm(
                int(cut), Structure(structure), Merge(merge), str(precision), bool(neck)
            )
            half_s[form] = float(time_s)
            if not timed:
                estimated.add(form)
        codec_s, codec_bytes, spread = {}, {}, {}
        for cut, codec, time_s, size, deviation in codecs:
            key = int(cut), str(codec)
            codec_s[key], codec_bytes[key] = float(time_s), float(size)
            if deviation != 0:
                spread[key] = float(deviation)
        scale = {
            (int(cut), str(codec), str(precision)): float(number)
            for cut, codec, precision, number in scales
        }
        numbers = (half_s, codec_s, codec_bytes, spread, scale)
        for number in (each for some in numbers for each in some.values()):
            if not 0 <= number < math.inf:
                raise ValueError(f"{number} is no time or size")
        return cls(half_s, frozenset(estimated), codec_s, codec_bytes, spread, scale)


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

    def halves(self, segments: int, necks: Collection[int] = ()) -> list[HalfForm]:
        """All halves of it, those in S3 first, which are never estimated.

        Args:
            segments: N.
            necks: cuts at which the network has a neck; there it is timed with and without.
        """
        cuts = range(segments + 1) if self.cuts is None else sorted({*self.cuts})
        return [
            HalfForm(cut, structure, precision=precision, neck=neck)
            for structure in dict.fromkeys((Structure.S3, *self.structures))
            for precision in dict.fromkeys(("fp32", *sorted(self.precisions)))
            for cut in cuts
            for neck in ((False, True) if cut in necks else (False,))
        ]
