"""The initial state from which the co-design paper's ablations (Table IV) start.

Its partition has "the entire model deployed on the edge server", its structures are "initial
random" ones: drawn here for each half from those of the paper that are offered, by a seed.
"""

from __future__ import annotations

import random

from codesign_ros.cost.tables import Axes
from codesign_ros.types import BRANCH_STRUCTURES, CodesignError, Structure


def initial_structures(axes: Axes, seed: int) -> tuple[Structure, Structure]:
    """Draw the structures of head and tail.

    Raises:
        CodesignError: none of the paper's structures is among the choices.
    """
    offered = [structure for structure in axes.structures if structure in BRANCH_STRUCTURES]
    if not offered:
        raise CodesignError("it draws from the paper's structures, of which none is a choice")
    head, tail = random.Random(seed).choices(offered, k=2)
    return head, tail
