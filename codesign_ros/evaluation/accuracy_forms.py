"""What there is to measure of a network: its forms, and what can be sent at its cuts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from codesign_ros.models.network import Network
from codesign_ros.types.codec_names import JPEG444_CODECS, encoded_anew
from codesign_ros.types.forms import BRANCH_STRUCTURES, PRECISIONS, Merge, Structure

LOSSY_CODECS = ("fp16", "uint8", "uint4")
"""Codecs that change a tensor; zstd on top of one changes nothing more."""

QUICK_PRECISIONS = ("fp32", "int8-tensor", "int8-channel")
"""Those that processors compute in; fp16 is a GPU's, and slow to measure without one."""

_MOST_QUICK_CUTS = 6

Sent = tuple[int, str] | None
"""The cut and the codec; None = nothing is sent."""


class Form(NamedTuple):
    """What a network is made into; head and tail alike, which is what Eq. 9-10 need."""

    structure: Structure
    merge: Merge
    precision: str = "fp32"


FOLDED = Form(Structure.S3, Merge.FOLD)


def all_forms(
    structures: Sequence[Structure] = BRANCH_STRUCTURES,
    merges: Sequence[Merge] = tuple(Merge),
    precisions: Sequence[str] = PRECISIONS,
) -> tuple[Form, ...]:
    """List every combination of the given ones; without, of all but the structure ``rank``."""
    return tuple(map(Form._make, itertools.product(structures, merges, precisions)))


def distinct(forms: Sequence[Form]) -> tuple[Form, ...]:
    """Leave out forms that are one function with ``FOLDED``, where that is among them.

    Folding branches in fp32 is exact; the planner knows it without a measurement.
    """

    def repeats(form: Form) -> bool:
        folds = (form.merge, form.precision) == (FOLDED.merge, FOLDED.precision)
        return folds and form.structure in BRANCH_STRUCTURES and form != FOLDED

    return tuple(form for form in forms if FOLDED not in forms or not repeats(form))


def first_of_each_precision(forms: Sequence[Form]) -> tuple[Form, ...]:
    """Choose the forms in which codecs are measured.

    A codec rounds what crosses; what the form loses itself is measured without one. What crosses
    depends on the form only in its last digits, unless pruning has ruined the network.
    """
    first: dict[str, Form] = {}
    for form in forms:
        first.setdefault(form.precision, form)
    return tuple(first.values())


def ways(cuts: Sequence[int], codecs: Sequence[str]) -> list[tuple[int, str]]:
    """List what can be sent: JPEGs of the frame at cut 0, each codec at each other cut.

    Of a frame and of a camera's JPEG, for which ``jpeg`` stands, each quality is one.
    """
    jpegs = ("jpeg", *JPEG444_CODECS, *map(encoded_anew, JPEG444_CODECS))
    frame = ((0, codec) for codec in jpegs if 0 in cuts)
    return [*frame, *((cut, codec) for cut in cuts if cut for codec in codecs)]


def quick_cuts(network: Network) -> list[int]:
    """Choose cuts that tell most of what codecs lose, at most seven, cut 0 among them.

    Those where another number of values crosses than at the cut before: behind them, up to the
    next, more is computed and no less is sent. Where the frame itself has fewer values, sending
    it is better. Of many, those where least crosses. Between two of them the planner takes the
    larger loss.
    """
    last = len(network.segment_names)
    crossing = [sum(prod(spec.shape) for spec in network.crossing(cut)) for cut in range(last)]
    starts = [
        cut for cut in range(1, last) if crossing[cut] not in (crossing[cut - 1], crossing[0])
    ]
    sparse = [cut for cut in starts if crossing[cut] < crossing[0]] or starts
    least = sorted(sparse, key=lambda cut: (crossing[cut], cut))[:_MOST_QUICK_CUTS]
    return [0, *sorted(least)]
