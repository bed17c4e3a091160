"""In what form a half of a network runs: structure, merge and precision."""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple


class Structure(str, Enum):
    """What a network's layers are made into before they run.

    Four are the branches of a re-parameterisable block that stay separate (paper, section IV):
    ``S3`` is the 3x3 convolution, ``Ss`` the shortcut (identity), ``S1`` the 1x1 convolution.
    ``rank`` is the fifth: no branch stays, and every convolution and linear layer becomes two of
    lower rank where that is less work (``models.low_rank``; the paper's future work).
    """

    S3 = "S3"
    S3_SS = "S3+Ss"
    S3_S1 = "S3+S1"
    S3_SS_S1 = "S3+Ss+S1"
    RANK = "rank"

    @property
    def keeps_identity(self) -> bool:
        """True if the identity (shortcut) branch stays a branch of its own."""
        return self in (Structure.S3_SS, Structure.S3_SS_S1)

    @property
    def keeps_1x1(self) -> bool:
        """True if the 1x1 branch stays a branch of its own."""
        return self in (Structure.S3_S1, Structure.S3_SS_S1)


BRANCH_STRUCTURES = tuple(structure for structure in Structure if structure is not Structure.RANK)
"""The paper's four. With fold they compute the same, whereas ``rank`` only comes near it: it is
offered where somebody asks for it and its accuracy was measured."""

RANK_ENERGY_KEPT = 0.95
"""Share of a layer's squared singular values that ``rank`` keeps."""


class Merge(str, Enum):
    """What happens to a branch that does not stay.

    ``fold`` adds it into the 3x3, which is exact; ``prune`` throws it away; ``prune+bn`` throws it
    away and measures the statistics of every BatchNorm anew, on frames that the bundle holds.
    """

    FOLD = "fold"
    PRUNE = "prune"
    PRUNE_BN = "prune+bn"


PRECISIONS = ("fp32", "fp16", "int8-tensor", "int8-channel")
"""In which numbers a network computes: float32, float16, or 8-bit integers with one step for each
weight tensor or for each of its output channels."""

NUMBER_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
"""Size of one element [bytes] in each number format that a device may have a compute peak for."""


def number_format(precision: str) -> str:
    """Name the number format in which a precision computes: ``int8-channel`` computes in int8."""
    return precision.partition("-")[0]


Part = Literal["head", "tail"]


class HalfForm(NamedTuple):
    """A half of a network, whose part is known, and the form in which it runs.

    ``cut`` is the segment after which the head ends: a head runs segments 1..cut, a tail runs
    segments cut+1..N. With ``neck`` the head ends with the encoder and the tail begins with the
    decoder of the neck that the bundle has at this cut.
    """

    cut: int
    structure: Structure = Structure.S3
    merge: Merge = Merge.FOLD
    precision: str = "fp32"
    neck: bool = False
