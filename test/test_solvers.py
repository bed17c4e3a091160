"""The exhaustive search against an independent one in numpy, and its properties."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.planning.objective import Objective
from codesign_ros.planning.problem import Problem
from codesign_ros.planning.solvers import grid
from codesign_ros.types import CodesignError, LinkSpec, Merge, Structure

STRUCTURES = tuple(Structure)
MERGES = (Merge.FOLD, Merge.PRUNE)
CODECS = ("raw", "uint8", "uint4")
FRAME_CODECS = ("jpeg", "raw")


class TableCost:
    """Costs read from random arrays; ``known`` switches single entries off."""

    def __init__(self, seed, segments=4):
        rng = np.random.default_rng(seed)
        n, s, k = segments + 1, len(STRUCTURES), 4
        self.segments = segments
        self.head = rng.uniform(0.01, 1, (n, s))
        self.tail = rng.uniform(0.01, 1, (n, s))
        self.tail[segments] = 0
        self.size = rng.integers(100, 100_000, (n, k)).astype(float)
        self.loss = rng.uniform(0, 0.5, (n, s, s, 2, k))
        self.known = rng.uniform(size=(n, k)) > 0.2
        self.known[segments] = True
        # Time of each precision against fp32.
        self.speed = {"fp32": 1.0, "int8-tensor": 1.0, "int8-channel": 0.2}

    @staticmethod
    def index(codec):
        return ("jpeg", *CODECS).index(codec)

    def head_s(self, cut, structure, codec, precision):
        return self.head[cut, STRUCTURES.index(structure)] * self.speed[precision]

    def tail_s(self, cut, structure, codec, precision):
        return self.tail[cut, STRUCTURES.index(structure)] * self.speed[precision]

    def payload_bytes(self, cut, codec):
        k = self.index(codec)
        return self.size[cut, k] if self.known[cut, k] else None

    def accuracy_loss(self, cut, head, tail, merge, precision, codec):
        where = STRUCTURES.index(head), STRUCTURES.index(tail), MERGES.index(merge)
        return self.loss[(cut, *where, self.index(codec))]


def make(cost, **kwargs):
    settings_ = {
        "link": LinkSpec(1e6, 0.01),
        "merges": MERGES,
        "codecs": CODECS,
        "frame_codecs": FRAME_CODECS,
        "lambda_1": 0.5,
    }
    return Problem(cost, **{**settings_, **kwargs})


def brute_force(cost, problem):
    """Least objective over whole arrays: (cut, head, tail, merge, codec)."""
    n, s = cost.segments, len(STRUCTURES)
    rate, delay = problem.link.bandwidth_bps, problem.link.delay_s
    best = np.inf
    for cut in range(n + 1):
        names = FRAME_CODECS if cut == 0 else ("raw",) if cut == n else CODECS
        codecs = [cost.index(c) for c in names]
        codecs = [k for k in codecs if cost.known[cut, k]]
        link = np.zeros(1) if cut == n else 8 * cost.size[cut, codecs] / rate + delay
        shape = (s, s, 2, len(codecs))
        t1 = np.broadcast_to(cost.head[cut][:, None, None, None], shape)
        t2 = np.broadcast_to(cost.tail[cut][None, :, None, None], shape)
        t3 = np.broadcast_to(link[None, None, None, :], shape)
        if problem.objective is Objective.LATENCY:
            time = t1 + t3 + t2
        else:
            time = np.maximum(np.maximum(t1, t3), t2)
        value = time + problem.lambda_1 * cost.loss[cut][..., codecs]
        if cut in (0, n):
            value = value[np.arange(s), np.arange(s)]
        best = min(best, value.min(initial=np.inf))
    return best


seeds = st.integers(0, 2**32 - 1)
objectives = st.sampled_from(Objective)


@given(seed=seeds, objective=objectives, lambda_1=st.floats(0, 100), rate=st.floats(1e3, 1e9))
@settings(max_examples=60, deadline=None)
def test_grid_finds_the_least_objective(seed, objective, lambda_1, rate):
    cost = TableCost(seed)
    problem = make(cost, objective=objective, lambda_1=lambda_1, link=LinkSpec(rate, 0.02))
    solution = grid(problem)
    values = [row.prediction.objective for row in solution.rows]
    assert values == sorted(values)
    assert values[0] == pytest.approx(brute_force(cost, problem), rel=1e-12)
    plan = solution.plan
    duration = (
        plan.latency_s
        if objective is Objective.LATENCY
        else max(plan.head_s, plan.link_s, plan.tail_s)
    )
    assert values[0] == pytest.approx(duration + lambda_1 * plan.accuracy_loss)


@given(seed=seeds, objective=objectives)
@settings(max_examples=40, deadline=None)
def test_large_lambda_gives_the_least_loss(seed, objective):
    solution = grid(make(TableCost(seed), objective=objective, lambda_1=1e9))
    least = min(row.prediction.accuracy_loss for row in solution.rows)
    assert solution.plan.accuracy_loss == pytest.approx(least, abs=1e-7)


@given(seed=seeds, objective=objectives, rate=st.floats(1e4, 1e8), factor=st.floats(1, 100))
@settings(max_examples=40, deadline=None)
def test_faster_link_never_makes_it_worse(seed, objective, rate, factor):
    cost = TableCost(seed)
    slow = grid(make(cost, objective=objective, link=LinkSpec(rate)))
    fast = grid(make(cost, objective=objective, link=LinkSpec(rate * factor)))
    assert fast.rows[0].prediction.objective <= slow.rows[0].prediction.objective


@given(seed=seeds, lambda_1=st.floats(0, 1e6))
@settings(max_examples=20, deadline=None)
def test_without_a_server_all_stays_on_the_robot(seed, lambda_1):
    cost = TableCost(seed)
    solution = grid(make(cost, link=None, server_available=False, lambda_1=lambda_1))
    assert {row.candidate.cut for row in solution.rows} == {cost.segments}
    plan = solution.plan
    assert (plan.link_s, plan.tail_s, plan.payload_bytes, plan.codec) == (0, 0, 0, "raw")
    assert (plan.link_bps, plan.server_available) == (0, False)
    assert solution.server_only is None


@given(seed=seeds, cuts=st.none() | st.sets(st.integers(0, 4)).map(tuple))
@settings(max_examples=40, deadline=None)
def test_first_and_last_cut_are_always_candidates(seed, cuts):
    cost = TableCost(seed)
    cost.known[:] = True
    solution = grid(make(cost, cuts=cuts))
    tried = {row.candidate.cut for row in solution.rows}
    assert tried == ({0, 4} | set(range(5) if cuts is None else cuts))
    assert solution.device_only.candidate.cut == 4
    assert solution.server_only.candidate.cut == 0
    inner = len(tried - {0, 4})
    assert len(solution.rows) == 2 * (4 * len(FRAME_CODECS) + 4 + 16 * len(CODECS) * inner)


def flat(cost):
    cost.head[:] = 0.1
    cost.tail[:] = 0.0
    cost.size[:] = 0.0
    cost.loss[:] = 0.0
    cost.known[:] = True
    return cost


def test_ties_go_to_the_simplest():
    cost = flat(TableCost(0))
    problem = make(cost, link=LinkSpec(1e6, 0.0))
    best = grid(problem).rows[0].candidate
    assert (best.cut, best.codec, best.merge) == (0, "jpeg", Merge.FOLD)
    assert (best.head_structure, best.tail_structure) == (Structure.S3, Structure.S3)
    # Fewer bytes go before the smaller cut: a link of endless rate makes times equal, not bytes.
    cost.size[:4] = 100.0
    cost.size[2, cost.index("uint4")] = 50.0
    cost.head[4] = 0.2
    candidates = grid(make(cost, link=LinkSpec(1e300, 0.0), lambda_1=0.0)).rows
    best = candidates[0].candidate
    assert (best.cut, best.codec, best.head_structure) == (2, "uint4", Structure.S3)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_order_of_the_choices_does_not_matter(seed):
    cost = TableCost(seed)
    cost.loss = cost.loss.round(1)
    cost.head, cost.tail = cost.head.round(1), cost.tail.round(1)
    cost.size = cost.size.round(-5)
    forth = make(cost)
    back = dataclasses.replace(
        forth,
        cuts=(3, 2, 1),
        structures=STRUCTURES[::-1],
        merges=MERGES[::-1],
        codecs=CODECS[::-1],
        frame_codecs=FRAME_CODECS[::-1],
    )
    assert grid(forth).rows == grid(back).rows


def test_plan_carries_the_prediction_and_the_conditions():
    problem = make(TableCost(5), objective=Objective.THROUGHPUT)
    solution = grid(problem)
    row, plan = solution.rows[0], solution.plan
    for name in ("cut", "head_structure", "tail_structure", "merge", "precision", "codec"):
        assert getattr(plan, name) == getattr(row.candidate, name)
    for name in ("head_s", "link_s", "tail_s", "accuracy_loss", "payload_bytes"):
        assert getattr(plan, name) == getattr(row.prediction, name)
    assert (plan.objective, plan.lambda_1, plan.link_bps) == ("throughput", 0.5, 1e6)
    assert (plan.epoch, plan.served_by, plan.reason) == (0, "", "")


def test_unknown_costs_are_not_offered():
    cost = TableCost(1)
    cost.known[:4] = False
    assert {row.candidate.cut for row in grid(make(cost)).rows} == {4}
    cost.known[:] = True
    cost.tail_s = lambda cut, structure, codec, precision: (
        0.1 if structure is Structure.S3 else None
    )
    rows = grid(make(cost)).rows
    assert {r.candidate.tail_structure for r in rows if r.candidate.cut < 4} == {Structure.S3}


def test_nothing_left_is_an_error():
    cost = TableCost(1)
    cost.accuracy_loss = lambda *args: None
    with pytest.raises(CodesignError, match="nothing to choose from"):
        grid(make(cost))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"lambda_1": -1.0}, "lambda_1 must be"),
        ({"lambda_1": float("inf")}, "lambda_1 must be"),
        ({"cuts": (1, 9)}, "cut 9 does not exist: cuts are 0 to 4"),
        ({"structures": ()}, "at least one structure"),
        ({"link": None}, "no link rate"),
        ({"link": LinkSpec(0.0)}, "no link rate"),
    ],
)
def test_impossible_problems_are_refused(change, text):
    with pytest.raises(CodesignError, match=text):
        make(TableCost(0), **change)


def test_structures_of_an_empty_half_follow_the_other():
    rows = grid(make(TableCost(2))).rows
    ends = [r.candidate for r in rows if r.candidate.cut in (0, 4)]
    assert all(c.head_structure is c.tail_structure for c in ends)
    pairs = {
        (c.head_structure, c.tail_structure) for c in (r.candidate for r in rows) if c.cut == 2
    }
    assert pairs == set(itertools.product(STRUCTURES, repeat=2))


def test_the_precision_is_chosen_too():
    cost = TableCost(3)
    both = grid(make(cost, precisions=("fp32", "int8-channel"), lambda_1=0.0))
    assert {row.candidate.precision for row in both.rows} == {"fp32", "int8-channel"}
    assert both.plan.precision == "int8-channel"
    fast = grid(make(cost, precisions=("int8-channel",), lambda_1=0.0))
    assert both.rows[0].candidate == fast.rows[0].candidate
    # Where another precision gains nothing, fp32 stays.
    assert grid(make(cost, precisions=("int8-tensor", "fp32"))).plan.precision == "fp32"


def test_a_problem_without_precisions():
    with pytest.raises(CodesignError, match="at least one structure, merge and precision"):
        make(TableCost(0), precisions=())
