"""Ours with one thing taken away: the ablations of Table IV, and those of codec, neck, precision.

Each differs from ours by what its name says; all else still follows Eq. 11, under the limits.

- "w/o roofline strategy": the initial partition, "where the entire model is deployed on the edge
  server".
- "w/o dynamic model structure": the structures are "initial random" ones, drawn by a seed from the
  paper's that are offered.
- "w/o multi-objective function": "both the model partition state and model structure remain in
  their initial states", which the two above take away one at a time.
- without codec: tensors and frames go raw, and so nothing goes through a neck; without neck: any
  other codec; without precision: all runs in fp32, or in the first of ``PRECISIONS`` that is
  offered. The paper's method chooses none of these.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from codesign_ros.cost.tables import NO_CODEC, Axes
from codesign_ros.planning.policies.base import Decision, Situation
from codesign_ros.planning.policies.ours import Choices, best_of_ours, codecs_at, drawn_structures
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, Structure


@dataclass(frozen=True)
class WithoutRoofline:
    """Ours, whole on the server."""

    name = "wo_roofline"

    def decide(self, situation: Situation) -> Decision:
        """Take the best candidate that sends the frame.

        Raises:
            CodesignError: there is no server, or no such plan is known and keeps the limits.
        """
        situation.need_server()
        return Decision(best_of_ours(situation, Choices(cuts=(0,))))


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
            CodesignError: no such plan is known and keeps the limits.
        """
        drawn = initial_structures(situation.problem.tables.axes, self.seed)
        row = best_of_ours(situation, Choices(), drawn_structures(situation, *drawn))
        return Decision(row, f"drawn: {' and '.join(structure.value for structure in drawn)}")


@dataclass(frozen=True)
class WithoutMultiObjective:
    """Ours with neither cut nor structure chosen.

    Attributes:
        seed: of the draw; one seed is one initial state.
    """

    seed: int = 0

    name = "wo_multi_objective"

    def decide(self, situation: Situation) -> Decision:
        """Leave the whole network on the server, in the structure drawn for its half.

        Raises:
            CodesignError: there is no server, or no such plan is known and keeps the limits.
        """
        situation.need_server()
        _, structure = initial_structures(situation.problem.tables.axes, self.seed)
        kept = drawn_structures(situation, structure, structure)
        return Decision(
            best_of_ours(situation, Choices(cuts=(0,)), kept), f"drawn: {structure.value}"
        )


@dataclass(frozen=True)
class WithoutCodec:
    """Ours with all sent raw."""

    name = "wo_codec"

    def decide(self, situation: Situation) -> Decision:
        """Take the best candidate that compresses nothing.

        Raises:
            CodesignError: no such plan is known and keeps the limits.
        """
        raw = codecs_at(situation, (NO_CODEC,))
        return Decision(best_of_ours(situation, Choices(codecs=raw)))


@dataclass(frozen=True)
class WithoutNeck:
    """Ours with no neck at any cut."""

    name = "wo_neck"

    def decide(self, situation: Situation) -> Decision:
        """Take the best candidate whose codec is none of a neck.

        Raises:
            CodesignError: no such plan is known and keeps the limits.
        """
        others = np.flatnonzero(~situation.problem.tables.is_neck).tolist()
        return Decision(best_of_ours(situation, Choices(codecs=others)))


@dataclass(frozen=True)
class WithoutPrecision:
    """Ours in fp32."""

    name = "wo_precision"

    def decide(self, situation: Situation) -> Decision:
        """Take the best candidate in the highest precision.

        Raises:
            CodesignError: no such plan is known and keeps the limits.
        """
        return Decision(best_of_ours(situation, Choices(precisions=(situation.first_precision,))))


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
