"""Building engines ahead of time, one after the other, and what became of each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from codesign_ros.bundle import Bundle
from codesign_ros.console import data_size, link_rate, right, slim_table
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.engines.kept import BACKENDS_OF_HALVES, kept_engines
from codesign_ros.engines.tensorrt.settings import TensorRtSettings
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Part, Structure
from codesign_ros.whatif.likely_plans import Served


class Outcome(str, Enum):
    """What became of an engine."""

    BUILT = "built"
    WAS_THERE = "was there"
    REFUSED = "refused"


@dataclass(frozen=True)
class Exported:
    """One engine of an export.

    Attributes:
        key: which one.
        outcome: what became of it.
        why: why it was refused, one line; else empty.
        duration_s: time that it took [s].
        file: where it is kept, if it is; halves that are alike share a file.
        size_bytes: size of the file [bytes].
        made_for: library and GPU that a listed engine was built for; empty where any will do.
    """

    key: EngineKey
    outcome: Outcome
    why: str = ""
    duration_s: float = 0.0
    file: Path | None = None
    size_bytes: int = 0
    made_for: str = ""

    def to_json(self, served: Served | None) -> dict[str, Any]:
        """Return all of it as plain values, with what the engine is good for."""
        return {
            **asdict(self.key),
            "outcome": self.outcome.value,
            "why": self.why,
            "seconds": self.duration_s,
            "file": str(self.file or ""),
            "bytes": self.size_bytes,
            "made_for": self.made_for,
            "link_bps": None if served is None else [served.slowest_bps, served.fastest_bps],
            "objectives": [each.value for each in served.objectives] if served else [],
        }


def export_engines(
    factory: EngineFactory,
    keys: Iterable[EngineKey],
    progress: Callable[[EngineKey, float | None, str], None],
) -> Iterator[Exported]:
    """Build engines that are not there; one that cannot be built does not stop the others.

    Args:
        factory: makes them.
        keys: which ones.
        progress: told which engine is being built, how far it is (0..1, None = unknown) and what is
            going on. What it raises comes out here.

    Yields:
        Each engine when it is done.
    """
    for key in keys:
        start_s = time.perf_counter()
        was_there = factory.file_of(key) is not None
        outcome, why = Outcome.WAS_THERE if was_there else Outcome.BUILT, ""
        try:
            factory.prepare(key, partial(progress, key))
        except CodesignError as error:
            outcome, why = Outcome.REFUSED, str(error)
        duration_s = time.perf_counter() - start_s
        yield Exported(key, outcome, why, duration_s, *_kept(factory, key))


def engines_there(
    bundle: Bundle, backend: str, settings: TensorRtSettings | None = None
) -> list[Exported]:
    """List the engines of a bundle in the cache; see ``kept_engines``."""
    return [
        Exported(
            each.key,
            Outcome.WAS_THERE,
            file=each.file,
            size_bytes=each.file.stat().st_size,
            made_for=each.made_for,
        )
        for each in kept_engines(bundle, backend, settings)
    ]


def distinct(factory: EngineFactory, keys: Iterable[EngineKey]) -> list[EngineKey]:
    """Drop keys that stand for the same file: other backends keep whole networks, not halves."""
    if not factory.builds_ahead:
        last = factory.bundle.last_cut
        keys = (replace(key, part="head", cut=key.cut if key.neck else last) for key in keys)
    return list(dict.fromkeys(keys))


def halves(
    parts: Iterable[Part],
    cuts: Iterable[int],
    structures: Iterable[Structure],
    merges: Iterable[Merge],
    precisions: Iterable[str],
    segments: int,
    necks: Collection[int] = (),
) -> list[EngineKey]:
    """Name every half with segments that there is for these choices.

    Args:
        parts: of a plan.
        cuts: where it may cut.
        structures: of the halves.
        merges: likewise.
        precisions: likewise.
        segments: of the network.
        necks: at which cuts there is a neck; their halves come with and without it.

    Raises:
        CodesignError: a cut does not exist.
    """
    cuts = list(cuts)
    for cut in cuts:
        if not 0 <= cut <= segments:
            raise CodesignError(f"cut {cut} does not exist: cuts are 0 to {segments}")
    # All cuts of a form in a row: the factory keeps the form that it cut last.
    forms = itertools.product(structures, merges, precisions)
    keys = (
        EngineKey(part, cut, *form, neck)
        for form, part, cut in itertools.product(forms, parts, cuts)
        for neck in ((False, True) if cut in necks else (False,))
    )
    return [key for key in keys if key.cut != (0 if key.part == "head" else segments)]


def whole_networks(
    parts: Iterable[Part], precisions: Iterable[str], segments: int
) -> list[EngineKey]:
    """Name the whole network, which every device runs and times, in each precision."""
    ends: dict[Part, int] = {"head": segments, "tail": 0}
    return [EngineKey(p, ends[p], precision=x) for p, x in itertools.product(parts, precisions)]


def export_table(
    bundle: Bundle, backend: str, exported: Sequence[Exported], served: Mapping[EngineKey, Served]
) -> Table:
    """What became of each engine, and which links it serves where that is known."""
    files = {each.file: each.size_bytes for each in exported if each.file is not None}
    made_for = any(each.made_for for each in exported)
    table = slim_table(
        f"{bundle.name}: {len(files)} engines of {backend}, "
        f"{data_size(sum(files.values()))}, {sum(each.duration_s for each in exported):.1f} s",
        *("half", "structure", "merge", "precision", "engine", *right("seconds", "size")),
        Column("serves" if served else "made for" if made_for else "", overflow="fold"),
    )
    for each in exported:
        key = each.key
        table.add_row(
            _half(backend, key),
            key.structure.value,
            key.merge.value,
            key.precision,
            each.outcome.value,
            f"{each.duration_s:.1f}" if each.outcome is not Outcome.WAS_THERE else "",
            "" if each.file is None else data_size(each.size_bytes),
            each.why or each.made_for or _serves(served.get(key)),
        )
    return table


def _half(backend: str, key: EngineKey) -> str:
    neck = f"neck {key.cut}" if key.neck else ""
    return f"{key.part} {neck or key.cut}" if backend in BACKENDS_OF_HALVES else neck or "any"


def _serves(served: Served | None) -> str:
    if served is None:
        return ""
    ends = (link_rate(float(f"{bps:.2g}")) for bps in (served.slowest_bps, served.fastest_bps))
    near = "" if served.best else ", nearly the best"
    objectives = " and ".join(objective.value for objective in served.objectives)
    return f"{' to '.join(dict.fromkeys(ends))}, {objectives}{near}"


def _kept(factory: EngineFactory, key: EngineKey) -> tuple[Path | None, int]:
    """The file of an engine, and its size [bytes]."""
    file = factory.file_of(key)
    return file, 0 if file is None else file.stat().st_size
