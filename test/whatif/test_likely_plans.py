"""Which engines are worth building before the link is known."""

import itertools
from dataclasses import replace

import pytest

from codesign_ros.engines.base import EngineKey
from codesign_ros.planning.grid import grid
from codesign_ros.planning.objective import Objective
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge, Structure
from codesign_ros.types.links import LinkSpec
from codesign_ros.types.plan import Plan
from codesign_ros.whatif.likely_plans import (
    FASTEST_BPS,
    NEAR,
    SLOWEST_BPS,
    engines_of,
    likely_engines,
    near_plans,
    sweep_bps,
)
from codesign_ros.whatif.problem import WhatIf, what_if_problem
from support.planning import ranked

S3, FULL = Structure.S3, Structure.S3_SS_S1
SLOW = DeviceSpec("slow", {"fp32": 5e8}, 1e9)
FAST = DeviceSpec("fast", {"fp32": 5e11}, 1e12)


@pytest.fixture(autouse=True)
def cache(engine_cache, monkeypatch):
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(engine_cache))


@pytest.fixture
def what_if():
    return WhatIf(
        mode="roofline",
        robot=SLOW,
        servers=(FAST,),
        links=(LinkSpec(1.0),),
        structures=BRANCH_STRUCTURES,
        merges=(Merge.FOLD,),
        precisions=("fp32",),
        codecs=("raw", "fp16", "uint8"),
        frame_codecs=("jpeg",),
    )


def test_the_rates_span_four_decades_evenly():
    rates = sweep_bps()
    assert (rates[0], rates[-1]) == pytest.approx((SLOWEST_BPS, FASTEST_BPS))
    steps = [b / a for a, b in itertools.pairwise(rates)]
    assert max(steps) == pytest.approx(min(steps))


def test_a_plan_runs_the_engines_of_its_halves_that_have_segments():
    plan = Plan(cut=3, head_structure=S3, tail_structure=FULL, precision="fp16")
    head, tail = (
        EngineKey("head", 3, S3, precision="fp16"),
        EngineKey("tail", 3, FULL, precision="fp16"),
    )
    assert engines_of(plan, 9) == [head, tail]
    assert engines_of(replace(plan, cut=0), 9) == [replace(tail, cut=0)]
    assert engines_of(replace(plan, cut=9), 9) == [replace(head, cut=9)]


def test_every_best_plan_finds_its_engines(tiny_bundle, what_if):
    """Solved once more for rates that lie in the sweep, each by itself."""
    served = likely_engines(tiny_bundle, what_if)
    last = len(tiny_bundle.segments)
    for objective in Objective:
        for rate_bps in list(sweep_bps())[::15]:
            one = replace(what_if, links=(LinkSpec(rate_bps),), objective=objective)
            plan = grid(what_if_problem(tiny_bundle, one)).plan
            for key in engines_of(plan, last):
                found = served[key]
                assert found.slowest_bps <= rate_bps <= found.fastest_bps
                assert objective in found.objectives
                assert found.best


def test_a_slow_link_keeps_all_on_the_robot_and_a_fast_one_does_not(tiny_bundle, what_if):
    served = likely_engines(tiny_bundle, what_if)
    last = len(tiny_bundle.segments)
    assert served[EngineKey("head", last)].slowest_bps == SLOWEST_BPS
    fastest = {key for key, found in served.items() if found.fastest_bps == FASTEST_BPS}
    assert any(key.part == "tail" for key in fastest)
    parts = [key.part for key in served]
    assert parts == sorted(parts)


def test_runners_up_are_near_and_of_other_cuts(tiny_bundle, what_if):
    problem = what_if_problem(tiny_bundle, replace(what_if, links=(LinkSpec(1e8),)))
    solution = grid(problem)
    best, *others = near_plans(solution)
    assert best == solution.plan
    limit = solution.best.prediction.objective * (1 + NEAR)
    rows = ranked(solution)
    for cut in {row.candidate.cut for row in rows} - {best.cut}:
        least = min(row.prediction.objective for row in rows if row.candidate.cut == cut)
        assert (least <= limit) == (cut in {plan.cut for plan in others})
