"""What a part of ours is worth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.evaluation.compare.ablations import ablations
from codesign_ros.evaluation.compare.outcome import Outcome, PlanInForce
from codesign_ros.evaluation.compare.parts import PARTS, parts_here
from codesign_ros.evaluation.compare.run import Compared
from codesign_ros.runtime.answers import Answer
from codesign_ros.simulation.pipeline import Finished, Passage
from codesign_ros.types.boxes import GroundTruth
from support.tiny import CLASSES

FRAMES = 40
PLAN = (PlanInForce(0.0, 1e6, "cut 1", 1),)


def outcome(policy, responses_s, labels, sent=100.0, plans=PLAN, period_s=1.0):
    passages, answers = [], {}
    for n, (response_s, label) in enumerate(zip(responses_s, labels, strict=True)):
        dropped = not math.isfinite(response_s)
        done_s = n * period_s + (0.0 if dropped else response_s)
        passages.append(
            Passage(n, n * period_s, done_s=done_s, sent_bytes=sent,
                    finished=Finished.DROPPED if dropped else Finished.SERVER)
        )  # fmt: skip
        if not dropped:
            answers[n] = Answer(label=label)
    return Outcome(policy, tuple(passages), answers, plans)


def held(bundle, ours, *others):
    truths = tuple(GroundTruth(CLASSES[0]) for _ in ours.passages)
    outcomes = {each.policy: each for each in (ours, *others)}
    compared = Compared(outcomes, {}, tuple(range(len(truths))), truths, "ground truth")
    return {each.policy: each for each in ablations(compared, bundle, None, 0.5)}


RIGHT, WRONG = CLASSES[0], CLASSES[1]


def test_a_part_that_saves_a_third(tiny_bundle):
    ours = outcome("ours", [0.2] * FRAMES, [RIGHT] * FRAMES)
    other = outcome("wo_codec", [0.3] * FRAMES, [RIGHT, WRONG] * (FRAMES // 2), sent=400.0,
                    plans=(PlanInForce(0.0, 1e6, "cut 2", 2),))  # fmt: skip
    peer = outcome("device_only", [0.9] * FRAMES, [RIGHT] * FRAMES)
    found = held(tiny_bundle, ours, other, peer)
    assert set(found) == {"wo_codec"}  # a peer is no part of ours
    effect = found["wo_codec"]
    assert (effect.response.value, effect.response.error) == pytest.approx((1.5, 0.0))
    assert effect.interval.value == pytest.approx(1.0)
    assert effect.sent == pytest.approx(4.0)
    assert effect.accuracy.value == pytest.approx(-0.5)
    assert effect.accuracy.error == pytest.approx(0.5 / math.sqrt(FRAMES))
    assert effect.late == 0.0
    assert not effect.is_same


def test_dropped_frames_are_late_and_make_the_others_rarer(tiny_bundle):
    ours = outcome("ours", [0.2] * FRAMES, [RIGHT] * FRAMES)
    lost = [0.2 if n % 2 else math.inf for n in range(FRAMES)]
    effect = held(tiny_bundle, ours, outcome("wo_neck", lost, [RIGHT] * FRAMES))["wo_neck"]
    assert effect.response.value == pytest.approx(1.0)
    assert effect.interval.value == pytest.approx(2.0)  # half as many answers in the same time
    assert effect.late == pytest.approx(0.5)
    assert effect.is_same


@given(st.lists(st.floats(0.05, 0.45), min_size=40, max_size=40), st.floats(0.5, 2.0))
def test_what_is_so_many_times_as_long_is_so_for_sure(tiny_bundle, responses_s, factor):
    ours = outcome("ours", responses_s, [RIGHT] * FRAMES, period_s=10.0)
    longer = [factor * each for each in responses_s]
    other = outcome("wo_roofline", longer, [RIGHT] * FRAMES, period_s=10.0)
    effect = held(tiny_bundle, ours, other)["wo_roofline"].response
    assert effect.value == pytest.approx(factor)
    assert effect.error == pytest.approx(0.0, abs=1e-6)


def test_the_error_is_that_of_many_recordings(tiny_bundle):
    """The jackknife's standard error against the spread over recordings drawn anew."""
    rng = np.random.default_rng(2)
    values, errors = [], []
    for _ in range(60):
        mine, yours = rng.exponential(0.1, (2, 400))
        labels = [RIGHT] * 400
        found = held(tiny_bundle, outcome("ours", yours, labels, period_s=9.0),
                     outcome("wo_codec", mine, labels, period_s=9.0))  # fmt: skip
        values.append(found["wo_codec"].response.value)
        errors.append(found["wo_codec"].response.error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.3)


def test_parts_that_ours_does_not_have_are_named():
    everything, said = parts_here(
        has_neck=True, precisions=("fp32", "fp16"), late_share=0.1, is_run=True
    )
    assert everything == list(PARTS)
    assert said == []
    some, said = parts_here(has_neck=False, precisions=("fp32",), late_share=0.0, is_run=False)
    assert some == ["wo_roofline", "wo_dynamic_structure", "wo_multi_objective", "wo_codec"]
    assert [line.split(": ")[1] for line in said] == [
        "bottleneck (neck)", "precision", "late share", "correction",
    ]  # fmt: skip
