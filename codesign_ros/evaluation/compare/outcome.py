"""What came of a policy's run over a recording, simulated or on real nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codesign_ros.planning.problem import Candidate
from codesign_ros.runtime.answers import Answer
from codesign_ros.simulation.pipeline import Finished, Passage
from codesign_ros.types.forms import Merge
from codesign_ros.types.plan import Plan


@dataclass(frozen=True)
class PlanInForce:
    """A plan and what made it.

    Attributes:
        since_s: from when on [s].
        link_bps: the rate that it was made for [bit/s].
        words: what it is, in words.
        cut: where it cuts.
    """

    since_s: float
    link_bps: float
    words: str
    cut: int

    @classmethod
    def of(cls, plan: Plan, since_s: float, link_bps: float, last_cut: int) -> PlanInForce:
        """Note a plan; ``last_cut`` is N, which keeps all on the robot."""
        return cls(since_s, link_bps, plan_words(Candidate.of(plan), last_cut), plan.cut)


@dataclass(frozen=True)
class Outcome:
    """What came of a policy's run.

    Attributes:
        policy: its name.
        passages: of all frames, in order.
        answers: of the frames that were answered, by number.
        plans: those that were in force, one after the other.
    """

    policy: str
    passages: tuple[Passage, ...]
    answers: dict[int, Answer]
    plans: tuple[PlanInForce, ...]

    def is_answered(self, passage: Passage) -> bool:
        """Whether a frame has an answer of the network."""
        return passage.finished is not Finished.DROPPED

    def published_s(self) -> np.ndarray:
        """When the result of each frame came out, in the order of the frames [s]."""
        return np.maximum.accumulate([passage.done_s for passage in self.passages])

    def responses_s(self) -> np.ndarray:
        """Arrival to result of each frame; infinite where it was dropped [s]."""
        arrivals_s = [passage.arrival_s for passage in self.passages]
        answered = [self.is_answered(passage) for passage in self.passages]
        return np.where(answered, self.published_s() - arrivals_s, np.inf)


def plan_words(candidate: Candidate, last_cut: int) -> str:
    """What a plan is, in words."""
    structures = [candidate.head_structure.value, candidate.tail_structure.value]
    sent = [candidate.codec]
    if candidate.cut == last_cut:
        where, used, sent = "all on the robot", structures[:1], []
    elif candidate.cut == 0:
        where, used = "all on the server", structures[1:]
    else:
        where, used = f"cut {candidate.cut}", structures
    merge = [] if candidate.merge is Merge.FOLD else [candidate.merge.value]
    words = [where, *sent, candidate.precision, " | ".join(dict.fromkeys(used)), *merge]
    return ", ".join(words)
