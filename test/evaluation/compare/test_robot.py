"""One policy's robot on a link that becomes slow, with answers that say where they are from."""

from types import SimpleNamespace

import pytest

from codesign_ros.evaluation.compare.robot import Conditions, Robot, SimulatedLink
from codesign_ros.planning.objective import Objective
from codesign_ros.planning.problem import Problem
from codesign_ros.runtime.answers import Answer
from codesign_ros.simulation.link_rate import StateRate
from codesign_ros.simulation.pipeline import Finished
from codesign_ros.types.links import LinkSpec, RadioState
from support import tiny_plan

# Between two probes of the link.
BAD_S = 0.3
PAYLOAD_BYTES, OVERHEAD_BYTES = 100_000, 500


class Told:
    """Answers with the cut that they were computed at."""

    def of(self, number, plan, codec):
        return SimpleNamespace(answer=Answer(label=f"cut {plan.cut}"), payload_bytes=PAYLOAD_BYTES)


@pytest.mark.parametrize(
    ("cross_s", "finished", "label"),
    [
        # Overdue 1.2 s after it came; the robot would have its own answer 0.1 s later.
        (1.10, Finished.SERVER, "cut 0"),
        (1.23, Finished.SERVER, "cut 0"),
        (1.40, Finished.FALLBACK, "cut 3"),
    ],
)
def test_the_answer_is_of_whoever_finished_the_frame(cross_s, finished, label):
    bad_bps = 8 * (PAYLOAD_BYTES + OVERHEAD_BYTES) / cross_s
    link = LinkSpec.radio((RadioState(8e6, BAD_S), RadioState(bad_bps, 100.0)))
    problem = Problem(tiny_plan.tables(), (LinkSpec(8e6),), Objective.LATENCY)
    robot = Robot("cut:0", Conditions(problem, SimulatedLink(StateRate(link))), Told())
    robot.offer(0, BAD_S, 0)
    outcome = robot.finish()
    (passage,) = outcome.passages
    assert passage.finished is finished
    assert outcome.answers == {0: Answer(label=label)}
    stages_s = passage.begin_s - passage.arrival_s + passage.head_s
    stages_s += passage.link_wait_s + passage.link_s + passage.tail_s
    assert stages_s == pytest.approx(outcome.responses_s()[0])
