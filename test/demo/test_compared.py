"""What comes of a policy on real nodes, from the results of its frames."""

import math

import numpy as np
import pytest

from codesign_ros.demo.compared import outcome_of
from codesign_ros.runtime.messages import DropReason, Result, Stamp, Status
from codesign_ros.simulation.pipeline import Finished
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

PLAN = Plan(cut=3, codec="raw", epoch=4, served_by="/robot/tail", link_bps=5e6)
LAST_CUT = 8
START_NS = 1_700_000_000_000_000_000


def result(number, **fields):
    stamp = Stamp(START_NS + 50_000_000 * number)
    values = {
        **{"label": f"class {number}", "finished_by": "server", "payload_bytes": 100 + number},
        **{"response_s": 0.1, "head_s": 0.02, "encode_s": 0.005, "link_s": 0.03},
        **{"queue_s": 0.004, "decode_s": 0.001, "tail_s": 0.01},
    }
    return Result(stamp=stamp, sequence=number, epoch=4, **{**values, **fields})


def outcome(results, frames, plans=((-1.0, PLAN),)):
    return outcome_of("ours", results, plans, frames, LAST_CUT)


def test_stages_sum_up_to_the_response():
    found = outcome([result(1), result(0), result(2)], 3)
    assert [each.arrival_s for each in found.passages] == pytest.approx([0.0, 0.05, 0.1])
    assert found.responses_s() == pytest.approx(0.1)
    for number, each in enumerate(found.passages):
        assert each.number == number
        assert each.head_s == pytest.approx(0.025)
        assert each.tail_s == pytest.approx(0.015)
        assert each.begin_s - each.arrival_s == pytest.approx(0.03)  # what no stage accounts for
        assert each.sent_bytes == 100 + number
        assert each.finished is Finished.SERVER
    assert {n: answer.label for n, answer in found.answers.items()} == {
        n: f"class {n}" for n in range(3)
    }
    (plan,) = found.plans
    assert (plan.since_s, plan.link_bps, plan.cut) == (0.0, 5e6, 3)
    assert plan.words.startswith("cut 3, raw, fp32")


def test_dropped_frames_have_no_answer_and_those_nobody_can_read_do_not_count():
    dropped = result(1, status=Status.DROPPED, drop_reason=DropReason.BUSY, finished_by="",
                     response_s=0.02)  # fmt: skip
    broken = result(2, status=Status.DROPPED, drop_reason=DropReason.UNREADABLE, finished_by="")
    found = outcome([result(0), dropped, broken, result(3)], 3)
    assert [each.finished for each in found.passages] == [
        Finished.SERVER, Finished.DROPPED, Finished.SERVER,
    ]  # fmt: skip
    assert np.isinf(found.responses_s()).tolist() == [False, True, False]
    assert found.answers[2].label == "class 3"  # the third that can be read
    assert 1 not in found.answers


def test_results_of_other_frames_are_refused():
    with pytest.raises(CodesignError, match="results of 2 frames where the source has 3"):
        outcome([result(0), result(1), result(1)], 3)


def test_an_unknown_response_is_no_time():
    found = outcome([result(0, response_s=math.nan)], 1)
    assert found.responses_s() == pytest.approx(0.0)
