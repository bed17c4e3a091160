"""Accuracy losses of all choices as arrays, and what is not known of them (Eq. 9)."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from codesign_ros.cost.accuracy import STANDARD_ERRORS, AccuracyTable
from codesign_ros.cost.tables import Axes

# Codecs that hand on the very values; see ``AccuracyTable.codec_loss``.
_LOSSLESS = "raw"
_LOSSLESS_STAGE = "+zstd"
_ROUNDING = 1e-12
_HOW = "measure it with 'codesign accuracy BUNDLE'"


class Losses(NamedTuple):
    """What choices lose; NaN = not known.

    Attributes:
        structure: (S, M, P) Delta A_n(theta) of Eq. 9, 0 to 1.
        codec: (N+1, K, P, M) what the codec loses, 0 to 1.
        notes: what is not known, and what was taken from neighbouring cuts, one line each.
    """

    structure: np.ndarray
    codec: np.ndarray
    notes: tuple[str, ...]


def losses(accuracy: AccuracyTable | None, segments: int, axes: Axes) -> Losses:
    """Look the losses of all choices up.

    What was not measured is not known: it is never taken for nothing. Two things need no
    measurement, for they are exact: folding branches in fp32, and a lossless codec.

    Args:
        accuracy: what was measured; None or without rows where nothing was.
        segments: N.
        axes: the choices.
    """
    table = accuracy or AccuracyTable("accuracy", 0.0, "nothing", ())
    notes: list[str] = []
    forms = list(itertools.product(axes.structures, axes.merges, axes.precisions))
    lost = [table.structure_loss(*form) for form in forms]
    shape = len(axes.structures), len(axes.merges), len(axes.precisions)
    structure = np.array(lost, float).reshape(shape)  # None becomes NaN
    unknown = [
        f"{s.value} {merge.value} in {precision}"
        for (s, merge, precision), loss in zip(forms, lost, strict=True)
        if loss is None
    ]
    if unknown:
        few = ", ".join(unknown[:4]) + (f" and {len(unknown) - 4} more" if unknown[4:] else "")
        notes.append(f"not offered, their accuracy was not measured: {few} ({_HOW})")

    sent = itertools.product(range(segments + 1), axes.codecs, axes.precisions, axes.merges)
    codec = np.array([table.codec_loss(*way) for way in sent], float).reshape(
        (segments + 1, len(axes.codecs), len(axes.precisions), len(axes.merges))
    )
    # zstd on top of a codec loses nothing more, so it needs no note of its own.
    bases = [name.removesuffix(_LOSSLESS_STAGE) for name in axes.codecs]
    for base in dict.fromkeys(bases):
        if base != _LOSSLESS:
            notes += _codec_notes(base, codec[:, bases.index(base)], table)
    levelled = level(structure, table.resolution), level(codec, table.resolution)
    if any(
        not np.array_equal(new, old, equal_nan=True)
        for new, old in zip(levelled, (structure, codec), strict=True)
    ):
        notes.append(
            f"losses that differ by at most {100 * table.resolution:.2g} points of {table.metric} "
            f"count as equal: {STANDARD_ERRORS:g} standard errors of {table.frames} frames"
        )
    return Losses(levelled[0], levelled[1], tuple(notes))


def level(losses: np.ndarray, resolution: float) -> np.ndarray:
    """Make losses equal that measurements cannot tell apart.

    From 0 up, a loss that is above the present level by at most ``resolution`` counts as that
    level; the first one that is further above is the next level. So the order of losses stays, and
    what counts as equal differs by ``resolution`` at most.

    Args:
        losses: losses of whatever shape, 0 to 1; NaN = not known, and stays.
        resolution: 0 changes nothing.
    """
    found = losses.copy()
    if resolution == 0:
        return found
    at = 0.0
    for value in np.unique(losses[np.isfinite(losses)]):
        if value > at + resolution + _ROUNDING:
            at = value
        found[losses == value] = at
    return found


def _codec_notes(codec: str, loss: np.ndarray, table: AccuracyTable) -> list[str]:
    """Say of one codec where it is not offered and where neighbouring cuts stand for it.

    Args:
        codec: its name, without a lossless stage.
        loss: (N+1, P, M).
        table: what was measured.
    """
    if codec == "jpeg":
        known = np.isfinite(loss[0]).all()
        return [] if known else [f"what the frame loses as jpeg was not measured ({_HOW})"]
    inner = range(1, len(loss) - 1)
    known_at = [cut for cut in inner if np.isfinite(loss[cut]).all()]
    left_out = sorted({*inner} - {*known_at})
    between = [cut for cut in known_at if not table.is_codec_measured(cut, codec)]
    notes = []
    if left_out:
        notes.append(
            f"codec {codec} is not offered in every form at cut {ranges(left_out)}: what it loses "
            f"was measured neither there nor on both sides ({_HOW})"
        )
    if between:
        notes.append(
            f"codec {codec} at cut {ranges(between)}: its loss is the larger one of the nearest "
            "measured cuts"
        )
    return notes


def ranges(numbers: list[int]) -> str:
    """Write ascending numbers shortly: ``1-3, 7``."""
    runs = []
    for _, group in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        runs.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ", ".join(runs)
