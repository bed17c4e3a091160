"""Ablation "w/o multi-objective function" (Table IV): nothing is optimised.

"Both the model partition state and model structure remain in their initial states": the whole
network on the server, in the structure that was drawn for its half. The paper's method chooses no
merge, precision or codec, so they are no part of what is taken away: branches are folded, numbers
are the peers' (fp32 where it is offered), and the frame goes in the codec that makes it fastest.
"""

from __future__ import annotations

from dataclasses import dataclass

from codesign_ros.planning.policies.base import Decision, Situation, fastest_served
from codesign_ros.planning.policies.initial_state import initial_structures


@dataclass(frozen=True)
class WithoutMultiObjective:
    """The initial state itself.

    Attributes:
        seed: of the draw; one seed is one initial state.
    """

    seed: int = 0

    name = "wo_multi_objective"

    def decide(self, situation: Situation) -> Decision:
        """Leave all as it is.

        Raises:
            CodesignError: there is no server, or the initial state's cost is not known.
        """
        situation.need_server()
        _, structure = initial_structures(situation.problem.tables.axes, self.seed)
        row = fastest_served(situation.rows_of(structure))
        return Decision(row, f"drawn: {structure.value}")
