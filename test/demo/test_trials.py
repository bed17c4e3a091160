"""Which policy is due when, and what each reached, by hand."""

import math
from dataclasses import replace

import pytest

from codesign_ros.demo.trials import FEWEST_FRAMES, POLICIES, Trials
from codesign_ros.runtime.messages import Result, Stamp, Status
from codesign_ros.types.plan import Plan


def test_each_policy_has_its_share_of_the_frames():
    trials = Trials(200)
    taken = [(seen, policy) for seen in range(200) if (policy := trials.due(seen))]
    assert taken == [(0, "device_only"), (20, "server_only_jpeg"), (40, "ours")]


def test_of_too_few_frames_none_is_tried():
    trials = Trials(10 * FEWEST_FRAMES - 1)
    assert not any(trials.due(seen) for seen in range(100))
    assert trials.summary([], []) == []


def test_what_each_reached_is_counted_under_its_own_plan():
    trials = Trials(200)
    periods_s = {1: 0.2, 2: 0.1, 3: 0.05}
    plans = [
        Plan(epoch=epoch, cut=epoch, reason=f"policy set to {policy}")
        for epoch, policy in enumerate(POLICIES, 1)
    ]
    results, now_s, epoch = [], 0.0, 0
    for seen in range(60):
        # Two frames are still under way when another plan comes.
        epoch += trials.due(seen) is not None
        shown = epoch if seen % 20 > 1 else max(epoch - 1, 0)
        now_s += periods_s.get(shown, 0.2)
        response_s = math.nan if seen % 5 == 0 else shown  # of a stamp that cannot be right
        answer = Result(Stamp(seen), seen, shown, response_s=response_s, payload_bytes=100 * shown)
        results.append((now_s, answer))
    found = trials.summary(results, plans)
    assert [trial.policy for trial in found] == list(POLICIES)
    for number, trial in enumerate(found, 1):
        assert trial.plan == plans[number - 1]
        assert trial.frames == 14
        assert trial.frames_s == pytest.approx(1 / periods_s[number])
        assert (trial.response_s, trial.payload_bytes) == (number, 100 * number)


def test_dropped_frames_and_a_policy_without_a_plan_count_nothing():
    trials = Trials(200)
    trials.due(0)
    plan = Plan(cut=2, epoch=1, reason="policy set to device_only")
    good = Result(Stamp(0), 0, 1)
    results = [
        (0.1 * n, good if n % 2 else replace(good, status=Status.DROPPED)) for n in range(20)
    ]
    (trial,) = trials.summary(results, [plan])
    assert (trial.frames, trial.frames_s) == (6, pytest.approx(5.0))
    (none,) = trials.summary(results, [])
    assert (none.plan, none.frames) == (None, 0)
