"""Timing heads or tails at any cut, in any form, and the codecs on what crosses there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import cast

from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.hardware.cpu_quota import cpu_quota
from codesign_ros.hardware.heap import give_back_freed
from codesign_ros.profiling.interleaved import InterleavedTimer, Work
from codesign_ros.profiling.rehearsal import Rehearsal, Tensors, encoded, payload_bytes
from codesign_ros.types.codec_names import LOSSLESS_STAGE
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import HalfForm, Part, Structure

# Timed runs of each half and codec, of which the median counts.
_ROUNDS = 7
# Engines of one group are in memory together, and so are the tensors at the cuts of one.
_GROUP_HALVES = 12
_GROUP_CUTS = 4

_PREPARE = "prepare"


class StageTimer:
    """Times one part of a network on this machine, group by group.

    Halves are timed whole: sums of single blocks miss the time of a half by 10 to 35 percent.

    Args:
        factory: makes the engines.
        part: ``head`` or ``tail``.
        progress: called with the number of halves and cuts that were timed.
        crossings: makes the heads that give tails and codecs their tensors; None = ``factory``.
    """

    def __init__(
        self,
        factory: EngineFactory,
        part: Part,
        progress: Callable[[int], None] = lambda done: None,
        crossings: EngineFactory | None = None,
    ) -> None:
        self.segments = factory.bundle.last_cut
        self.codec_bytes: dict[tuple[int, str], float] = {}
        self.codec_spread: dict[tuple[int, str], float] = {}
        self.payload_scale: dict[tuple[int, str, str], float] = {}
        # Payload of the first frame by (cut, codec), of codecs whose payloads go by the values.
        self._first_bytes: dict[tuple[int, str], int] = {}
        self._part = part
        self._progress = progress
        self._done = 0
        self._rehearsal = Rehearsal(factory, crossings)
        self._whole = self._rehearsal.half(EngineKey(part, self.segments if part == "head" else 0))
        self._timer: InterleavedTimer[Hashable] = InterleavedTimer(
            self._whole, _ROUNDS, cpu_quota()
        )
        if part == "head":
            self._timer.time({_PREPARE: self._rehearsal.prepare})

    def close(self) -> None:
        """Free the engine that runs in every round; nothing can be timed afterwards."""
        self._whole.close()

    def is_empty(self, cut: int) -> bool:
        """Whether the half at ``cut`` has no segments."""
        return cut == (0 if self._part == "head" else self.segments)

    def groups(self, halves: Iterable[HalfForm]) -> list[list[HalfForm]]:
        """Split halves that have segments into groups to be timed at once."""
        full = [half for half in halves if not self.is_empty(half.cut)]
        return [full[at : at + _GROUP_HALVES] for at in range(0, len(full), _GROUP_HALVES)]

    def time_halves(self, group: Sequence[HalfForm]) -> None:
        """Time a group of halves.

        Raises:
            CodesignError: the backend does not have a precision, or the network's output is not
                finite.
        """
        with contextlib.ExitStack() as engines:
            works: dict[Hashable, Work] = {
                half: engines.enter_context(
                    contextlib.closing(self._rehearsal.half(EngineKey(self._part, *half)))
                )
                for half in group
            }
            self._timer.time(works)
            for half in group if self._part == "head" else ():
                self._scale_payloads(half, works[half])
        give_back_freed()
        self._advance(len(group))

    def _scale_payloads(self, half: HalfForm, work: Work) -> None:
        """Note what codecs make of the first frame of a head that is not in fp32, against fp32.

        Of structure S3 alone: it is the precision that rounds, whatever the branches.
        """
        if half.precision == "fp32" or half.structure is not Structure.S3 or half.neck:
            return
        codecs = [codec for cut, codec in self._first_bytes if cut == half.cut]
        tensors = cast(Tensors, work(0)) if codecs else {}
        for codec in codecs:
            with contextlib.suppress(CodesignError):  # it cannot express the values, see encodings
                size = payload_bytes(encoded(tensors, codec))
                scale = size / self._first_bytes[half.cut, codec]
                self.payload_scale[half.cut, codec, half.precision] = scale

    def time_codecs(self, cuts: Sequence[int]) -> None:
        """Time every codec that can carry what crosses at each of ``cuts``, and note its sizes."""
        for at in range(0, len(cuts), _GROUP_CUTS):
            works: dict[Hashable, Work] = {}
            group = cuts[at : at + _GROUP_CUTS]
            for cut in group:
                for codec, encoding in self._rehearsal.encodings(cut).items():
                    self.codec_bytes[cut, codec] = encoding.mean_bytes
                    if (spread := encoding.spread_bytes) > 0:
                        self.codec_spread[cut, codec] = spread
                    if cut > 0 and codec.endswith(LOSSLESS_STAGE):
                        self._first_bytes[cut, codec] = payload_bytes(encoding.frames[0])
                    works[cut, codec] = (
                        encoding.work
                        if self._part == "head"
                        else self._rehearsal.decoder(cut, encoding.frames)
                    )
            self._timer.time(works)
            give_back_freed()
            self._advance(len(group))

    def time_all(
        self,
        cuts: Sequence[int],
        always: Iterable[HalfForm],
        others: Iterable[HalfForm],
        give_up_s: float,
    ) -> None:
        """Time codecs, the halves of ``always``, and others until ``give_up_s`` (``perf_counter``).

        Raises:
            CodesignError: as in ``time_halves``.
        """
        self.time_codecs(cuts)
        for group in self.groups(always):
            self.time_halves(group)
        for group in self.groups(others):
            if time.perf_counter() > give_up_s:
                break
            self.time_halves(group)

    def results(self) -> tuple[dict[HalfForm, float], dict[tuple[int, str], float], float]:
        """Return the times of halves, of codecs by (cut, codec), and of preparing a frame [s].

        A half's time is that of its segments alone.
        """
        times = self._timer.typical_s()
        prepare_s = times.pop(_PREPARE, 0.0)
        halves: dict[HalfForm, float] = {}
        codecs: dict[tuple[int, str], float] = {}
        for key, time_s in times.items():
            match key:
                case HalfForm():
                    halves[key] = time_s
                case (int(cut), str(codec)):
                    codecs[cut, codec] = time_s
        return halves, codecs, prepare_s

    def _advance(self, more: int) -> None:
        self._done += more
        self._progress(self._done)
