"""Which policy is advised."""

import math
from dataclasses import replace

from codesign_ros.evaluation.compare.advice import advise
from codesign_ros.evaluation.compare.outcome import PlanInForce
from codesign_ros.evaluation.compare.summary import Summary
from codesign_ros.planning.objective import Objective

ONE = Summary(
    *("one", 100, 100, {}, 10.0, 10.0, {"p50": 50.0, "p95": 100.0}, 0.0, {}, 1e3, 1e3),
    *(0.8, 0.8, (0.0, 0.0), ()),
)
PLAN = PlanInForce(0.0, 1e7, "all on the robot", 15)


def advised(*summaries):
    return advise(summaries, Objective.LATENCY, "mAP@0.5").policy


def test_the_fastest_that_is_as_accurate():
    fast = replace(ONE, policy="fast", response_ms={"p50": 20.0, "p95": 40.0})
    assert advised(ONE, fast) == "fast"
    worse = replace(fast, accuracy=0.7, accuracy_below_best=(0.1, 0.01))
    assert advised(ONE, worse) == "one"
    unsure = replace(worse, accuracy_below_best=(0.1, 0.06))
    assert advised(ONE, unsure) == "fast"
    lossy = replace(fast, answered=50, late=0.5)
    assert advised(ONE, lossy) == "one"


def test_the_most_accurate_may_lose_too_much():
    lossy = replace(ONE, policy="lossy", answered=50, late=0.5)
    other = replace(ONE, policy="other", accuracy=0.6, accuracy_below_best=(0.2, 0.01))
    assert advised(lossy, other) == "other"


def test_words_of_a_person():
    """Nothing is no "0 bytes", none no "0.0 %", and one frame has no spread."""
    alone = replace(ONE, policy="alone", payload_bytes=0.0, plans=(PLAN,))
    better = replace(ONE, policy="better", accuracy=0.9, response_ms={"p50": 90.0, "p95": 150.0})
    alone = replace(alone, accuracy_below_best=(0.1, math.inf))
    assert advise([alone, better], Objective.LATENCY, "mAP@0.5").reasons == (
        "95 % of its answers come within 100 ms, at 10 frames/s; the next, better, takes 1.50 "
        "times as long",
        "its mAP@0.5 is 0.800, 10 points (of one frame) below better on the same frames",
        "it sends nothing; no frame is late or lost",
        "its plan: all on the robot",
    )
    same = replace(alone, accuracy_below_best=(1e-17, 0.0), plans=(PLAN, PLAN))
    reasons = advise([same, better], Objective.LATENCY, "mAP@0.5").reasons
    assert "the same as that of better on the frames that both answered" in reasons[1]
    assert reasons[-1] == "the last of its 2 plans: all on the robot"


def test_answers_that_come_too_late_are_worth_no_more_than_none():
    late = replace(ONE, policy="late", late=0.6, throughput_fps=20.0)
    dropping = replace(ONE, policy="dropping", answered=80, late=0.2)
    for objective in Objective:
        assert advise([late, dropping], objective, "mAP@0.5").policy == "dropping"
