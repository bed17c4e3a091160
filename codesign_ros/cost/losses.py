"""Accuracy losses of all choices as arrays, and what is not known of them (Eq. 9)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from codesign_ros.cost.accuracy import AccuracyTable, Loss
from codesign_ros.cost.tables import Axes
from codesign_ros.types.codec_names import (
    H264_CODECS,
    JPEG444_CODECS,
    LOSSLESS_STAGE,
    encoded_anew,
    neck_level,
)

# Codecs that hand on the very values; see ``AccuracyTable.codec_loss``.
_LOSSLESS = "raw"
_JPEG = "jpeg"
# Codecs of the frame that make another picture of a camera's JPEG.
_MADE_OF_JPEGS = (*JPEG444_CODECS, *H264_CODECS)
_ROUNDING = 1e-12
_HOW = "measure it with 'codesign accuracy BUNDLE'"
_HOW_FILM = (
    "measure it on a film: 'codesign accuracy BUNDLE --data mine:7 --frames 300 --codec h264 --add'"
)


class Losses(NamedTuple):
    """What choices lose; NaN = not known.

    Attributes:
        structure: (S, M, P) Delta A_n(theta) of Eq. 9, 0 to 1.
        codec: (N+1, K, P, M) what the codec loses, 0 to 1.
        structure_error: (S, M, P) standard errors of the first.
        codec_error: (N+1, K, P, M) those of the second.
        notes: what is not known, and what was taken from neighbouring cuts, one line each.
    """

    structure: np.ndarray
    codec: np.ndarray
    structure_error: np.ndarray
    codec_error: np.ndarray
    notes: tuple[str, ...]


def losses(
    accuracy: AccuracyTable | None,
    segments: int,
    axes: Axes,
    necks: Sequence[int] = (),
    *,
    camera_jpegs: bool = False,
) -> Losses:
    """Look the losses of all choices up.

    What was not measured is not known: it is never taken for nothing. Two things need no
    measurement, for they are exact: folding branches in fp32, and a lossless codec.

    Args:
        accuracy: what was measured; None or without rows where nothing was.
        segments: N.
        axes: the choices.
        necks: cuts that have a neck.
        camera_jpegs: the frames are JPEGs that cut 0 can send as they are: ``jpeg`` then loses
            nothing, for the whole network sees the same, and the other JPEGs encode them anew.
    """
    table = accuracy or AccuracyTable("accuracy", 0.0, "nothing", ())
    notes: list[str] = []
    forms = list(itertools.product(axes.structures, axes.merges, axes.precisions))
    lost = [table.structure_loss(*form) for form in forms]
    shape = len(axes.structures), len(axes.merges), len(axes.precisions)
    structure = _Arrays.of(lost, shape)
    unknown = [
        f"{s.value} {merge.value} in {precision}"
        for (s, merge, precision), loss in zip(forms, lost, strict=True)
        if loss is None
    ]
    if unknown:
        few = ", ".join(unknown[:4]) + (f" and {len(unknown) - 4} more" if unknown[4:] else "")
        notes.append(f"not offered, their accuracy was not measured: {few} ({_HOW})")

    measured = {
        name: encoded_anew(name) if camera_jpegs and name in _MADE_OF_JPEGS else name
        for name in axes.codecs
    }
    sent = itertools.product(range(segments + 1), measured.values(), axes.precisions, axes.merges)
    shape_sent = (segments + 1, len(axes.codecs), len(axes.precisions), len(axes.merges))
    codec = _Arrays.of([table.codec_loss(*way) for way in sent], shape_sent)
    if camera_jpegs and _JPEG in axes.codecs:
        for array in codec:
            array[0, axes.codecs.index(_JPEG)] = 0.0
    frames = [name for name in axes.codecs if name in (_JPEG, *_MADE_OF_JPEGS)]
    unknown = [n for n in frames if not np.isfinite(codec.value[0, axes.codecs.index(n)]).all()]
    for how, films in ((_HOW, False), (_HOW_FILM, True)):
        if lacking := [name for name in unknown if (name in H264_CODECS) == films]:
            whose = "a camera's JPEG" if camera_jpegs else "the frame"
            notes.append(f"what {whose} loses as {', '.join(lacking)} was not measured ({how})")
    # zstd on top of a codec loses nothing more, so it needs no note of its own.
    bases = [name.removesuffix(LOSSLESS_STAGE) for name in axes.codecs]
    for base in dict.fromkeys(bases):
        if base in frames:
            continue
        if neck_level(base) is not None:
            loss = codec.value[:, bases.index(base)]
            if left_out := [cut for cut in necks if not np.isfinite(loss[cut]).all()]:
                notes.append(
                    f"codec {base} is not offered in every form at cut {ranges(left_out)}: what it "
                    f"loses was not measured there ({_HOW})"
                )
        elif base != _LOSSLESS:
            notes += _codec_notes(base, codec.value[:, bases.index(base)], table)
    levelled = Losses(
        level(structure.value, structure.resolution),
        level(codec.value, codec.resolution),
        structure.error,
        codec.error,
        (),
    )
    if not (
        np.array_equal(levelled.structure, structure.value, equal_nan=True)
        and np.array_equal(levelled.codec, codec.value, equal_nan=True)
    ):
        most = max(float(np.nanmax(each.resolution)) for each in (structure, codec))
        notes.append(
            f"losses that differ by no more than their standard error (at most {100 * most:.2g} "
            f"points of {table.metric}) count as equal"
        )
    return levelled._replace(notes=tuple(notes))


class _Arrays(NamedTuple):
    """The fields of losses as arrays; NaN = not known."""

    value: np.ndarray
    error: np.ndarray
    resolution: np.ndarray

    @classmethod
    def of(cls, losses: Sequence[Loss | None], shape: tuple[int, ...]) -> _Arrays:
        unknown = Loss(np.nan, None, None)
        fields = np.array([loss or unknown for loss in losses], float)  # None becomes NaN
        return cls(*(column.reshape(shape) for column in fields.T))


def level(losses: np.ndarray, resolution: np.ndarray | float) -> np.ndarray:
    """Make losses equal that measurements cannot tell apart.

    From 0 up, a loss that is above the present level by no more than its own resolution or that of
    the level counts as that level; the first one that is further above is the next level. So the
    order of losses that were measured stays, and no loss moves by more than a resolution.

    Args:
        losses: losses of whatever shape, 0 to 1; NaN = not known, and stays.
        resolution: what tells two of them apart, for each; 0 changes nothing, NaN = the loss was
            not measured itself, and stays.
    """
    found = losses.copy()
    resolution = np.broadcast_to(resolution, losses.shape)
    measured = np.isfinite(losses) & np.isfinite(resolution)
    at = of_level = 0.0
    values = np.stack([losses[measured], resolution[measured]], axis=1)
    for value, own in np.unique(values, axis=0):
        if value > at + max(own, of_level) + _ROUNDING:
            at, of_level = value, own
        found[measured & (losses == value) & (resolution == own)] = at
    return found


def _codec_notes(codec: str, loss: np.ndarray, table: AccuracyTable) -> list[str]:
    """Say of one codec where it is not offered and where neighbouring cuts stand for it.

    Args:
        codec: its name, without a lossless stage.
        loss: (N+1, P, M).
        table: what was measured.
    """
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
            f"measured cuts, whose error there is not known ({_HOW})"
        )
    return notes


def ranges(numbers: list[int]) -> str:
    """Write ascending numbers shortly: ``1-3, 7``."""
    runs = []
    for _, group in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        runs.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return ", ".join(runs)
