"""Which halves are offered, which are built, and what devices are asked to build."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.planning.candidates import evaluate
from codesign_ros.planning.grid import grid
from codesign_ros.planning.objective import Objective
from codesign_ros.planning.problem import AllowedHalves, Problem
from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.planner.engine_wishes import (
    Build,
    BuildRequests,
    builds_text,
    built,
    form_of,
    lacking,
    runnable,
)
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, HalfForm, Merge, Structure
from codesign_ros.types.plan import Plan
from support.planning import LINK, random_tables

SEGMENTS = 3
MERGES = (Merge.FOLD, Merge.PRUNE)
PRECISIONS = ("fp32", "fp16")
FORMS = [
    HalfForm(cut, s, m, p)
    for cut in range(SEGMENTS + 1)
    for s in BRANCH_STRUCTURES
    for m in MERGES
    for p in PRECISIONS
]
COMMON = {"robot": "/robot", "state": "active", "model_id": "model"}
HEAD = Device("/robot/head", role=Role.HEAD, **COMMON)
TAIL = Device("/robot/tail", role=Role.TAIL, **COMMON)


def tables(seed=0):
    return random_tables(seed, segments=SEGMENTS, merges=MERGES, precisions=PRECISIONS)


def chosen(mask):
    """The forms that a mask holds."""
    axes = tables().axes
    return {
        HalfForm(int(c), axes.structures[s], axes.merges[m], axes.precisions[p])
        for c, s, m, p in np.argwhere(mask)
    }


def is_empty(form, role):
    return form[0] == (0 if role is Role.HEAD else SEGMENTS)


@pytest.mark.parametrize("device", [HEAD, TAIL])
def test_a_device_that_says_nothing_is_no_hindrance(device):
    possible, notes = runnable(device, tables())
    assert possible.all()
    assert notes == ()
    assert built(device, tables(), None).all()
    assert lacking(Plan(cut=1), [device], None, SEGMENTS) == []


@pytest.mark.parametrize("device", [HEAD, TAIL])
def test_precisions_that_are_not_announced_are_not_offered(device):
    device = replace(device, precisions=("int8-tensor", "fp32"))
    possible, notes = runnable(device, tables())
    assert chosen(possible) == {f for f in FORMS if is_empty(f, device.role) or f[3] == "fp32"}
    assert notes == (f"{device.node} has not fp16: not offered",)


@pytest.mark.parametrize("device", [HEAD, TAIL])
def test_what_could_not_be_built_is_not_offered(device):
    refused = HalfForm(2, Structure.S3_S1, Merge.PRUNE, "fp16")
    others = {
        HalfForm(1, precision="fp16"): True,
        HalfForm(99, precision="fp16"): False,  # of another network
        HalfForm(1, Structure.RANK, precision="fp16"): False,  # nobody asks for it
    }
    possible, notes = runnable(replace(device, engines={refused: False, **others}), tables())
    assert chosen(possible) == {*FORMS} - {refused}
    assert notes == (f"{device.node} could not build cut 2 S3+S1 prune fp16: not offered",)


@pytest.mark.parametrize(("device", "name"), [(HEAD, "head"), (TAIL, "tail")])
def test_halves_that_need_more_memory_than_there_is_are_not_offered(device, name):
    known = tables()
    needs = getattr(known, f"{name}_memory_bytes")
    limit = int(np.median(needs))
    possible, (note,) = runnable(replace(device, memory_bytes=limit), known)
    for (cut, s, m, p), is_possible in np.ndenumerate(possible):
        assert is_possible == (needs[cut, s, p] <= limit), (cut, s, m, p)
    too_large = int((needs > limit).sum())
    assert f"{too_large} of {needs.size} halves need more" in note
    # Where nobody counted, nothing is known.
    unknown = replace(known, head_memory_bytes=None, tail_memory_bytes=None)
    assert runnable(replace(device, memory_bytes=1), unknown)[0].all()


@pytest.mark.parametrize("device", [HEAD, TAIL])
def test_built_are_those_announced_those_loaded_and_empty_halves(device):
    there = {
        HalfForm(1, Structure.S3, Merge.FOLD, "fp16"),
        HalfForm(2, Structure.S3_S1, Merge.PRUNE, "fp32"),
    }
    engines = dict.fromkeys(there, True) | {HalfForm(1, merge=Merge.PRUNE): False}
    device = replace(device, engines=engines)
    empty = {form for form in FORMS if is_empty(form, device.role)}
    whole = {HalfForm(SEGMENTS)} if device.role is Role.HEAD else set()
    assert chosen(built(device, tables(), None)) == there | empty | whole
    plan = Plan(cut=1, head_structure=Structure.S3_SS, tail_structure=Structure.S3_S1)
    loaded = form_of(plan, device.role, SEGMENTS)
    assert chosen(built(device, tables(), plan)) == there | empty | whole | {loaded}
    # What is lacking says the same, candidate by candidate.
    for form in FORMS:
        cut, structure, merge, precision, _ = form
        wanted = Plan(cut, structure, structure, merge, precision)
        builds = lacking(wanted, [device], plan, SEGMENTS)
        is_there = form in there | empty | whole | {loaded}
        assert builds == ([] if is_there else [Build(device.node, form, wanted)])


@pytest.mark.parametrize("device", [HEAD, TAIL])
def test_halves_with_a_neck_are_engines_of_their_own(device):
    here, neck = HalfForm(1), HalfForm(1, neck=True)
    device = replace(device, engines={neck: True, HalfForm(2, neck=True): False})
    empty = {form for form in FORMS if is_empty(form, device.role)}
    assert chosen(built(device, tables(), None, neck=True)) == {here} | empty
    assert here not in chosen(built(device, tables(), None))
    possible, notes = runnable(device, tables(), neck=True)
    assert chosen(possible) == {*FORMS} - {HalfForm(2)}
    assert notes == (f"{device.node} could not build cut 2 neck S3 fp32: not offered",)
    assert chosen(runnable(device, tables())[0]) == {*FORMS}
    plan = Plan(cut=1, codec="neck.2")
    assert form_of(plan, device.role, SEGMENTS) == neck
    assert lacking(plan, [device], None, SEGMENTS) == []
    other = replace(plan, cut=2)
    (build,) = lacking(other, [device], None, SEGMENTS)
    assert build == Build(device.node, HalfForm(2, neck=True), other)


def test_form_of_a_half():
    plan = Plan(2, Structure.S3_SS, Structure.S3_S1, Merge.PRUNE, "fp16")
    assert form_of(plan, Role.HEAD, 3) == HalfForm(2, Structure.S3_SS, Merge.PRUNE, "fp16")
    assert form_of(plan, Role.TAIL, 3) == HalfForm(2, Structure.S3_S1, Merge.PRUNE, "fp16")
    assert form_of(Plan(cut=0), Role.HEAD, 3) is None
    assert form_of(Plan(cut=3), Role.TAIL, 3) is None


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    share=st.floats(0.0, 1.0),
    servers=st.integers(0, 2),
    objective=st.sampled_from(Objective),
)
def test_the_best_of_the_halves_that_may_be_chosen(seed, share, servers, objective):
    """As the exhaustive search finds it among all candidates, one by one."""
    known = random_tables(seed, segments=3, servers=servers, merges=MERGES)
    n, s, p = known.head_s.shape
    rng = np.random.default_rng(seed)
    halves = AllowedHalves(
        rng.uniform(size=(n, s, len(MERGES), p)) < share,
        rng.uniform(size=(servers, n, s, len(MERGES), p)) < share,
    )
    free = Problem(known, (LINK,) * servers, objective, lambda_1=0.3)
    everything = evaluate(free).objective
    allowed = np.full(everything.shape, np.inf)
    for index in np.ndindex(everything.shape):
        cut, head, tail, merge, precision, _, server = index
        tail_allowed = servers == 0 or halves.tail[server, cut, tail, merge, precision]
        if halves.head[cut, head, merge, precision] and tail_allowed:
            allowed[index] = everything[index]
    problem = replace(free, halves=halves)
    np.testing.assert_array_equal(evaluate(problem).objective, allowed)
    if np.isfinite(allowed).any():
        assert grid(problem).best.prediction.objective == allowed.min()
    else:
        with pytest.raises(CodesignError, match="nothing to choose from"):
            grid(problem)


def build(node="/robot/head", cut=1):
    plan = Plan(cut=cut)
    return Build(node, HalfForm(cut), plan)


def test_an_engine_is_asked_for_once():
    requests = BuildRequests()
    first, second, other = build(), build(cut=2), build("/robot/tail")
    assert requests.take([first, other], 0.0) == [first, other]
    # Another plan that needs the same engine is no reason to ask again.
    again = replace(first, plan=Plan(cut=1, epoch=7))
    assert requests.take([again, second], 1.0) == [second]
    requests.failed(first)
    assert requests.take([first, second], 2.0) == [first]
    requests.forget("/robot/head")
    assert requests.take([first, second, other], 3.0) == [first, second]


@pytest.mark.parametrize("answer", [True, False])
def test_a_device_s_answer_ends_a_request(answer):
    requests = BuildRequests()
    requests.take([build(), build(cut=2)], 0.0)
    requests.hear(replace(HEAD, engines={build().form: answer}))
    requests.hear(replace(TAIL, engines={build(cut=2).form: True}))  # not its
    assert requests.overdue(11.0, 10.0) == [("/robot/head", build(cut=2).form)]
    # An engine that it lost later is asked for again.
    assert requests.take([build()], 12.0) == [build()]


def test_what_is_not_built_in_time_is_asked_for_again():
    requests = BuildRequests()
    requests.take([build()], 5.0)
    assert requests.overdue(15.0, 10.0) == []
    assert requests.overdue(15.1, 10.0) == [("/robot/head", build().form)]
    assert requests.overdue(15.2, 10.0) == []
    assert requests.take([build()], 16.0) == [build()]


def test_builds_for_people():
    text = "cut 1 S3 fp32 of /robot/head, cut 2 S3 fp32 of /robot/tail"
    assert builds_text([build(), build("/robot/tail", 2)]) == text
