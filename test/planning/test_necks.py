"""Necks among the choices, against sums worked out one by one."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from codesign_ros.cost.tables import Axes
from codesign_ros.planning.candidates import evaluate
from codesign_ros.planning.grid import grid
from codesign_ros.planning.objective import Objective
from codesign_ros.planning.policies import POLICIES, Situation
from codesign_ros.planning.problem import AllowedHalves, Candidate, Limits, Problem
from codesign_ros.types.codec_names import neck_level
from codesign_ros.types.forms import Structure
from codesign_ros.types.links import LinkSpec
from support.planning import random_tables
from support.tiny_plan import LINK, ROBOT, SERVER, tables

CODECS = ("jpeg", "neck.0", "neck.1", "neck.2", "raw", "uint8")
CUT = 2


def with_necks(seed=0, **more):
    """Random tables in which the cut 2 has a neck of three levels."""
    made = random_tables(seed, codecs=CODECS, **more)
    rng = np.random.default_rng(seed)
    necks = [CODECS.index(f"neck.{level}") for level in range(3)]
    payload = made.payload_bytes.copy()
    payload[:, necks] = np.nan
    payload[CUT, necks] = [4000.0, 2000.0, 900.0]
    head_s, tail_s = np.full_like(made.head_s, np.nan), np.full_like(made.tail_s, np.nan)
    head_s[CUT] = made.head_s[CUT] * rng.uniform(1.0, 1.2, made.head_s[CUT].shape)
    tail_s[:, CUT] = made.tail_s[:, CUT] * rng.uniform(0.8, 1.3, made.tail_s[:, CUT].shape)
    return replace(made, payload_bytes=payload, neck_head_s=head_s, neck_tail_s=tail_s)


def by_hand(problem):
    """Objective of every choice by its sums; without those that are not known."""
    t, axes, last = problem.tables, problem.tables.axes, problem.tables.segments
    found = {}
    for cut, (h, head), (g, tail), (m, merge), (p, precision), (k, codec), (
        v,
        server,
    ) in itertools.product(
        range(last),
        enumerate(axes.structures),
        enumerate(axes.structures),
        enumerate(axes.merges),
        enumerate(axes.precisions),
        enumerate(axes.codecs),
        enumerate(axes.servers),
    ):
        if cut == 0 and head is not tail:
            continue
        has_neck = codec.startswith("neck.")
        t1 = (t.neck_head_s if has_neck else t.head_s)[cut, h, p] + t.encode_s[cut, k]
        t2 = (t.neck_tail_s if has_neck else t.tail_s)[v, cut, g, p] + t.decode_s[v, cut, k]
        link = problem.links[v]
        t3 = 8 * t.payload_bytes[cut, k] / link.bandwidth_bps + link.delay_s + link.back_delay_s
        share = t.load_fraction[cut]
        loss = share * t.structure_loss[h, m, p] + (1 - share) * t.structure_loss[g, m, p]
        value = t1 + t2 + t3 + problem.lambda_1 * (loss + t.codec_loss[cut, k, p, m])
        if math.isfinite(value):
            key = Candidate(cut, head, tail, merge, precision, codec, server)
            found[key] = value
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rate_bps", [1e5, 1e6, 1e8])
def test_every_choice_is_its_sum(seed, rate_bps):
    made = with_necks(seed, servers=1 + seed % 2, unknown=0.1)
    links = (LinkSpec(rate_bps, 0.003),) * len(made.axes.servers)
    problem = Problem(made, links, lambda_1=0.2)
    expected = by_hand(problem)
    assert any(each.codec == "neck.2" for each in expected)
    assert {each.cut for each in expected if neck_level(each.codec) is not None} == {CUT}
    evaluation = evaluate(problem)
    inner = evaluation.objective[:-1]
    assert np.isfinite(inner).sum() == len(expected)
    for candidate, value in expected.items():
        assert evaluation.objective[evaluation.index_of(candidate)] == pytest.approx(value)
    best = grid(problem).best
    if best.candidate.cut < made.segments:
        assert best.candidate == min(expected, key=expected.__getitem__)
    assert best.prediction.objective <= min(expected.values()) + 1e-12


def a_neck(**changes):
    """The network of ``tiny_plan`` with a neck at cut 1: 2 ms more before, 1 ms more behind."""
    full = tables()
    names = ("raw", "uint8", "neck.0", "neck.1")
    nan = np.nan
    payload = np.full((4, 4), nan)
    payload[:, :2] = full.payload_bytes
    payload[1, 2:] = 1000.0, 500.0
    no_time = np.where(np.isnan(payload), nan, 0.0)
    head_s, tail_s = np.full_like(full.head_s, nan), np.full_like(full.tail_s, nan)
    head_s[1], tail_s[0, 1] = full.head_s[1] + 0.002, full.tail_s[0, 1] + 0.001
    loss = np.array([0.0, 0.01, 0.004, 0.012])[None, :, None, None] * np.ones((4, 4, 1, 1))
    made = tables(
        axes=Axes((Structure.S3, Structure.S3_SS), codecs=names, servers=("box",)),
        payload_bytes=payload,
        encode_s=no_time,
        decode_s=no_time[None],
        codec_loss=loss,
        neck_head_s=head_s,
        neck_tail_s=tail_s,
    )
    return replace(made, **changes)


def test_on_a_thin_link_it_is_the_neck():
    """At 80 kbit/s a kB takes 100 ms [ms]: the robot alone 100, uint8 at cut 2 30 + 200 + 10 ..."""
    thin = LinkSpec(160e3)  # a kB takes 50 ms: neck.0 12 + 50 + 17 = 79 and 4, neck.1 54 and 12
    best = grid(Problem(a_neck(), (thin,), lambda_1=1.0)).best
    assert (best.candidate.cut, best.candidate.codec) == (1, "neck.1")
    assert best.prediction.latency_s == pytest.approx(0.012 + 0.025 + 0.017)
    assert best.prediction.objective == pytest.approx(0.054 + 0.012)
    without = grid(Problem(a_neck(), (thin,), lambda_1=1.0, codecs=("raw", "uint8"))).best
    assert without.candidate.cut == 3
    # 10 + 10 + 16 by uint8 at cut 1, 12 + 1 + 17 by the finest level: 4 against 10 ms of loss.
    fast = grid(Problem(a_neck(), (LINK,), lambda_1=1.0)).best
    assert fast.candidate.codec == "neck.0"
    # And at 1 Gbit/s nothing has to be packed.
    assert grid(Problem(a_neck(), (LinkSpec(1e9),), lambda_1=1.0)).best.candidate.codec == "raw"
    # Without a server there is none.
    alone = a_neck(
        axes=replace(a_neck().axes, servers=()),
        tail_s=a_neck().tail_s[:0],
        decode_s=a_neck().decode_s[:0],
        neck_tail_s=a_neck().neck_tail_s[:0],
    )
    assert grid(Problem(alone)).best.candidate.cut == 3


def test_what_was_not_measured_is_not_offered():
    for lacks in ("neck_head_s", "neck_tail_s"):
        found = evaluate(Problem(a_neck(**{lacks: None}), (LINK,)))
        assert np.isfinite(found.objective[..., :2, :]).any()
        assert not np.isfinite(found.objective[..., 2:, :]).any()


def test_halves_with_a_neck_are_allowed_apart():
    made = a_neck()
    every = np.ones((4, 2, 1, 1), bool)
    none = np.zeros_like(every)

    def offered(*halves):
        found = evaluate(Problem(made, (LINK,), halves=AllowedHalves(*halves)))
        return [np.isfinite(found.objective[1, ..., k, :]).any() for k in range(4)]

    assert offered(every, every[None]) == [True] * 4
    assert offered(every, every[None], none, every[None]) == [True, True, False, False]
    assert offered(every, every[None], every, none[None]) == [True, True, False, False]
    assert offered(none, every[None], every, every[None]) == [False, False, True, True]


def levels_of(**conditions):
    solution = grid(Problem(a_neck(), **{"links": (LinkSpec(160e3),), **conditions}))
    return solution.plan


def test_a_plan_states_its_levels():
    plan = levels_of(lambda_1=1.0)
    assert plan.codec == "neck.1"
    # No limit on accuracy: all that Eq. 11 might choose at another rate.
    assert [each.level for each in plan.levels] == [0, 1]
    assert [each.payload_bytes for each in plan.levels] == [1000.0, 500.0]
    assert [each.accuracy_loss for each in plan.levels] == pytest.approx([0.004, 0.012])
    # The budget leaves the coarser one out.
    plan = levels_of(lambda_1=1.0, limits=Limits(accuracy_loss=0.005))
    assert (plan.codec, [each.level for each in plan.levels]) == ("neck.0", [0])
    # A deadline leaves the finer one out that does not keep it: 79 ms.
    plan = levels_of(lambda_1=1.0, limits=Limits(deadline_s=0.07))
    assert [each.level for each in plan.levels] == [1]
    # A coarser one sends less, so a deadline is no reason against it.
    plan = levels_of(lambda_1=0.0, limits=Limits(deadline_s=0.09), links=(LinkSpec(120e3),))
    assert [each.level for each in plan.levels][-1] == 1
    # Nor has any other plan levels.
    assert levels_of(links=(LinkSpec(1e9),)).levels == ()


def test_peers_have_no_neck():
    problem = Problem(a_neck(), (LinkSpec(160e3),), lambda_1=1.0)
    situation = Situation(problem, ROBOT, SERVER)
    assert POLICIES["ours"].decide(situation).row.candidate.codec == "neck.1"
    for name in ("neurosurgeon", "device_only", "scinet"):
        codec = POLICIES[name].decide(situation).row.candidate.codec
        assert neck_level(codec) is None


def test_payloads_that_vary_count_where_few_frames_may_be_late():
    made, link = a_neck(), replace(LINK, bandwidth_error_bps=1.0)
    problem = Problem(made, (link,), late_share=0.05, objective=Objective.LATENCY)
    steady = evaluate(problem).latency_s
    spread = np.zeros((4, 4))
    spread[1, 2] = 0.3
    varied = evaluate(replace(problem, tables=replace(made, payload_spread=spread))).latency_s
    more_s = np.broadcast_to(varied - steady, (4, 2, 2, 1, 1, 4, 1))
    # 5 % of a normal distribution are beyond 1.645 deviations: of 0.3 ms each.
    assert more_s[1, ..., 2, :] == pytest.approx(1.6449 * 0.3e-3, rel=1e-3)
    other = np.nan_to_num(more_s[..., [0, 1, 3], :])
    assert np.abs(other).max() < 1e-12
