"""Which policy is advised."""

from dataclasses import replace

from codesign_ros.evaluation.compare.advice import advise
from codesign_ros.evaluation.compare.summary import Summary
from codesign_ros.planning.objective import Objective

ONE = Summary(
    *("one", 100, 100, {}, 10.0, 10.0, {"p50": 50.0, "p95": 100.0}, 0.0, {}, 1e3, 1e3),
    *(0.8, 0.8, (0.0, 0.0), ()),
)


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


def test_answers_that_come_too_late_are_worth_no_more_than_none():
    late = replace(ONE, policy="late", late=0.6, throughput_fps=20.0)
    dropping = replace(ONE, policy="dropping", answered=80, late=0.2)
    for objective in Objective:
        assert advise([late, dropping], objective, "mAP@0.5").policy == "dropping"
