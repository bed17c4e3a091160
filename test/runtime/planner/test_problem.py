"""The problem that the running planner solves: conditions as in `codesign plan`, and shares."""

from dataclasses import replace

import pytest

from codesign_ros.planning.fleet.options import options
from codesign_ros.planning.fleet.robots import FleetRobot
from codesign_ros.planning.fleet.solve import each_alone, share
from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.planner.registry import Registry
from codesign_ros.runtime.planner.runtime import PlannerRuntime
from codesign_ros.runtime.planner.settings import PlannerSettings
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec, RadioState
from support.planner import CODECS, FRAME_CODECS, ROBOT, profile

RADIO = LinkSpec.radio([RadioState(3e7, 10.0), RadioState(2e6, 1.0)], name="radio")
SETTINGS = PlannerSettings(codecs=CODECS, frame_codecs=FRAME_CODECS)


@pytest.fixture
def planner(tiny_bundle):
    return fleet_of(tiny_bundle, 1)


def fleet_of(bundle, robots):
    planner = PlannerRuntime(bundle, {}, SETTINGS, Registry(silence_limit_s=10.0), lambda: None)
    for number in range(robots):
        name = ROBOT if number == 0 else f"{ROBOT}{number}"
        common = {"robot": name, "state": "active", "model_id": bundle.model_id}
        head = Device(f"{name}/head", role=Role.HEAD, profile=profile(bundle, 0.4, "head"),
                      link_bps=2e7, link_bps_error=2e6, **common)  # fmt: skip
        tail = Device(f"{name}/tail", role=Role.TAIL, profile=profile(bundle, 0.04, "tail"),
                      **common)  # fmt: skip
        planner.hear(head, 0.0)
        planner.hear(tail, 0.0)
    return planner


def solved(planner, **changes):
    return planner.solve(ROBOT, replace(SETTINGS, **changes))


def test_late_frames_count_by_what_was_measured(planner):
    mean, late = solved(planner), solved(planner, late_share=0.05)
    assert mean.best.prediction.margin_s == 0.0
    assert late.best.prediction.margin_s > 0.0
    assert late.best.prediction.latency_s > mean.best.prediction.latency_s
    # A deadline that holds on average is missed by more than 5 % of the frames.
    deadline_s = mean.best.prediction.latency_s * 1.001
    assert solved(planner, deadline_s=deadline_s).best.candidate == mean.best.candidate
    with pytest.raises(CodesignError, match="the deadline of"):
        solved(planner, deadline_s=deadline_s, late_share=0.05)


def test_a_radio_with_states_has_the_measured_rate(planner):
    steady = solved(planner)
    radio = solved(planner, link=RADIO, late_share=0.05)
    (link,) = radio.problem.links
    assert link.bandwidth_bps == pytest.approx(steady.problem.links[0].bandwidth_bps)
    assert [s.mean_s for s in link.states] == [10.0, 1.0]
    # One frame in eleven finds the bad state, which is more than 5 %.
    bad_bps = link.states[1].bandwidth_bps
    row = radio.best
    if row.candidate.cut < radio.problem.tables.segments:
        assert row.prediction.link_s >= 8 * row.prediction.payload_bytes / bad_bps


def test_frame_rate_and_window_are_kept(planner):
    free = solved(planner).best.prediction
    assert solved(planner, window=1).best.prediction.pace_s == pytest.approx(free.latency_s)
    rate_hz = 1.05 * free.throughput_fps
    kept = solved(planner, frame_rate_hz=rate_hz).best.prediction
    assert kept.throughput_fps >= rate_hz * (1 - 1e-9)
    with pytest.raises(CodesignError, match="the frame rate of 1000 frames/s is missed"):
        solved(planner, frame_rate_hz=1000.0)


@pytest.mark.parametrize("shared", ["server", "server and link"])
def test_shares_are_those_of_the_fleet(tiny_bundle, shared):
    planner = fleet_of(tiny_bundle, 16)
    alone = solved(planner)
    choices = options(replace(alone.problem, limits=alone.problem.limits))
    link = alone.problem.links[0].at_rate(2e7)
    robots = [
        FleetRobot(f"{i}", choices, replace(link, name=f"{i}" if shared == "server" else ""),
                   lambda_1=SETTINGS.lambda_1)
        for i in range(16)
    ]  # fmt: skip
    together, selfish = share(robots), each_alone(robots)
    plans = [
        planner.solve(robot, replace(SETTINGS, shared=shared)).best
        for robot in (ROBOT, *(f"{ROBOT}{i}" for i in range(1, 16)))
    ]
    mean_s = sum(row.prediction.objective for row in plans) / 16
    assert mean_s >= alone.best.prediction.objective
    assert mean_s == pytest.approx(together.objective_s / 16, rel=0.1)
    if selfish.sharing:
        total_s = sum(row.prediction.objective for row in selfish.sharing)
        assert mean_s <= total_s / 16 * 1.01
    # One robot has all to itself.
    single = fleet_of(tiny_bundle, 1)
    assert solved(single, shared=shared).best == solved(single).best


def test_what_is_not_known_is_refused():
    with pytest.raises(CodesignError, match="unknown value of shared 'all'"):
        PlannerSettings(shared="all")
