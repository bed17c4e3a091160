"""Ablation "w/o dynamic model structure" (Table IV): random structures, the rest is optimised.

"The sub-models deployed on different devices are in an initial random structure, rather than the
optimized optimal structure." Cut and all that ours can choose beside the structures still follow
Eq. 11. Where one half is empty, the other's structure is what was drawn for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codesign_ros.planning.policies.base import Decision, Situation
from codesign_ros.planning.policies.initial_state import initial_structures
from codesign_ros.types import CodesignError


@dataclass(frozen=True)
class WithoutDynamicStructure:
    """Ours with structures drawn at random.

    Attributes:
        seed: of the draw; one seed is one initial state.
    """

    seed: int = 0

    name = "wo_dynamic_structure"

    def decide(self, situation: Situation) -> Decision:
        """Take the best candidate that has the drawn structures.

        Raises:
            CodesignError: no such candidate has a known cost.
        """
        axes = situation.problem.tables.axes
        structures = initial_structures(axes, self.seed)
        head, tail = map(axes.structures.index, structures)
        objective = situation.evaluation.objective
        drawn = np.full_like(objective, np.inf)
        drawn[1:-1, head, tail] = objective[1:-1, head, tail]
        drawn[0, tail, tail] = objective[0, tail, tail]
        drawn[-1, head, head] = objective[-1, head, head]
        place = np.unravel_index(int(drawn.argmin()), drawn.shape)
        names = " and ".join(structure.value for structure in structures)
        if not np.isfinite(drawn[place]):
            raise CodesignError(f"nothing is known of the structures that were drawn, {names}")
        return Decision(situation.evaluation.row([int(i) for i in place]), f"drawn: {names}")
