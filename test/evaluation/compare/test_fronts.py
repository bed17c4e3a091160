"""Which policies are on a Pareto front, and how right answers are that come in time."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.evaluation.average_precision import measure
from codesign_ros.evaluation.compare.accuracy import Accuracy
from codesign_ros.evaluation.compare.charts import front as chart
from codesign_ros.evaluation.compare.fronts import fronts, losses
from codesign_ros.evaluation.compare.outcome import Outcome
from codesign_ros.evaluation.compare.summary import Summary
from codesign_ros.runtime.messages import Answer
from codesign_ros.simulation.pipeline import Finished, Passage
from codesign_ros.types.boxes import Box, GroundTruth


def policy(name, p95_ms, answered, in_time, kilobytes=1.0):
    return Summary(
        *(name, 100, 100, {}, 10.0, 10.0, {"p95": p95_ms}, 1 - in_time / answered, {}),
        *(1e3 * kilobytes, 1e3 * kilobytes, answered, in_time, None, ()),
    )


KEEPS = policy("keeps", 100.0, 0.90, 0.90)
LOSES = policy("loses", 200.0, 0.95, 0.10)


def test_a_policy_that_loses_frames_is_not_on_the_front_for_the_answers_that_it_gives():
    found = fronts([KEEPS, LOSES])["response"]
    first, second = found.points
    assert (first.beaten_by, first.only_by_answers) == ("", False)
    assert (second.beaten_by, second.only_by_answers) == ("keeps", True)
    (said,) = losses(fronts([KEEPS, LOSES]))
    assert said.startswith("loses is not on the front: 89.5% of its frames are late or lost")
    assert "keeps is better" in said
    drawn = chart(found, "accuracy", "keeps")
    assert drawn.count("hollow") == 1
    assert 'class="loss"' in drawn
    kept = chart(fronts([KEEPS, replace(LOSES, accuracy_in_time=0.95)])["response"], "a", "keeps")
    assert "hollow" not in kept


def test_one_that_is_worse_anyway_is_not_said_to_be_so_for_its_losses():
    worse = policy("worse", 300.0, 0.8, 0.7)
    point = fronts([KEEPS, worse])["response"].points[1]
    assert (point.beaten_by, point.only_by_answers) == ("keeps", False)
    assert not losses(fronts([KEEPS, worse]))


def test_without_accuracy_there_is_no_front():
    assert fronts([replace(KEEPS, accuracy=None, accuracy_in_time=None)]) == {}


SHARE = st.floats(0.01, 1)


@given(st.lists(st.tuples(st.integers(1, 9), SHARE, SHARE), min_size=1, max_size=8))
def test_the_front_by_its_definition(drawn):
    summaries = [
        policy(str(n), float(cost), answered, answered * part)
        for n, (cost, answered, part) in enumerate(drawn)
    ]
    points = {each.policy: each for each in fronts(summaries)["response"].points}
    on = [each for each in points.values() if not each.beaten_by]
    assert on
    for each in points.values():
        if each.beaten_by:
            better = points[each.beaten_by]
            assert better in on
            assert better.cost <= each.cost
            assert better.in_time >= each.in_time
        # Nobody of the front is as cheap and righter, nor as right and cheaper.
        worse = [o for o in on if o.cost <= each.cost and o.in_time >= each.in_time]
        assert any((o.cost, o.in_time) != (each.cost, each.in_time) for o in worse) == bool(
            each.beaten_by
        )


def outcome(answers):
    """Frame 0 in time, 1 late, 2 dropped, 3 in time."""
    done_s = (0.1, 1.9, 2.0, 3.1)
    kinds = (Finished.SERVER, Finished.SERVER, Finished.DROPPED, Finished.ROBOT)
    passages = tuple(
        Passage(n, float(n), float(n), at, how)
        for n, (at, how) in enumerate(zip(done_s, kinds, strict=True))
    )
    return Outcome("one", passages, answers, ())


def test_answers_in_time_of_a_classifier():
    truths = tuple(GroundTruth("a") for _ in range(4))
    found = outcome({n: Answer(label="a") for n in (0, 1, 3)})
    judge = Accuracy("classification", ("a", "b"), truths)
    assert judge.of(found) == 1.0
    assert judge.in_time(found, 0.5) == pytest.approx(2 / 4)
    assert judge.in_time(found, 1.0) == pytest.approx(3 / 4)


def test_answers_in_time_of_a_detector():
    box = Box("a", 0, 0, 10, 10, 0.9)
    truths = tuple(GroundTruth("", (replace(box, score=1.0),)) for _ in range(4))
    found = outcome({n: Answer(detections=(box,)) for n in (0, 1, 3)})
    judge = Accuracy("detection", ("a",), truths)
    assert judge.of(found) == 1.0
    empty = [(box,), (), (), (box,)]
    expected = measure([truth.boxes for truth in truths], empty, ("a",)).mean_map50
    assert judge.in_time(found, 0.5) == expected
    assert expected == pytest.approx(0.5, abs=0.02)
