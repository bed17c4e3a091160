"""The networks that are compared: with the dynamic structure, and without it.

The paper's comparison (section VI-D) is between blocks that run all their branches and "the base
model with the S3 structure". Adding the other branches into the 3x3 (``fold``) makes such a model
that still computes the same; only ``prune`` takes from it what the other branches knew. All three
are made, so that one sees which of the two it is that makes the difference.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from codesign_ros.models.blocks import RepVGGBlock
from codesign_ros.models.network import Network
from codesign_ros.models.reparam import reparameterize
from codesign_ros.types.forms import Merge, Structure


class Variant(NamedTuple):
    """A structure and merge that the whole network is given.

    Attributes:
        structure: branches that stay.
        merge: what becomes of the others.
        meaning: what that is, in words.
    """

    structure: Structure
    merge: Merge
    meaning: str

    @property
    def name(self) -> str:
        """Structure, and merge where it matters: ``S3, prune``."""
        whole = self.structure is Structure.S3_SS_S1
        return self.structure.value if whole else f"{self.structure.value}, {self.merge.value}"


WITH = Variant(
    Structure.S3_SS_S1, Merge.FOLD, "with the dynamic structure: every block runs all its branches"
)
FOLDED = Variant(
    Structure.S3, Merge.FOLD, "1x1 and shortcut added into the 3x3: the same function, one branch"
)
PRUNED = Variant(
    Structure.S3, Merge.PRUNE, "without the dynamic structure: 3x3 alone, other branches removed"
)
AS_IT_IS = Variant(
    Structure.S3, Merge.FOLD, "as it is: the network has no re-parameterisable block"
)


def has_blocks(module: nn.Module) -> bool:
    """Whether there is a re-parameterisable block in a network or a segment."""
    return any(isinstance(part, RepVGGBlock) for part in module.modules())


def has_shortcuts(module: nn.Module) -> bool:
    """Whether a block in a segment has all three branches."""
    blocks = (part for part in module.modules() if isinstance(part, RepVGGBlock))
    return any(block.branch_identity is not None for block in blocks)


def networks_to_compare(network: Network) -> list[tuple[Variant, Network]]:
    """Make the networks, ``WITH`` first; ``AS_IT_IS`` alone where there is nothing to compare."""
    variants = (WITH, FOLDED, PRUNED) if has_blocks(network) else (AS_IT_IS,)
    return [(each, reparameterize(network, each.structure, each.merge)) for each in variants]
