"""The exhaustive search against an independent one, candidate by candidate, and its properties."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign_ros.cost.tables import Axes, CostTables
from codesign_ros.planning.candidates import evaluate
from codesign_ros.planning.grid import grid
from codesign_ros.planning.objective import Objective
from codesign_ros.planning.problem import Candidate, Limits, Problem
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.links import LinkSpec, RadioState
from support.planning import price, random_tables, ranked

LINK = LinkSpec(8e6, 0.01)
seeds = st.integers(0, 2**32 - 1)
objectives = st.sampled_from(Objective)


def by_hand(problem):
    """All candidates with (T1, T3, T2, loss, bytes), in plain loops."""
    t, axes = problem.tables, problem.tables.axes
    last = t.segments
    found = {}
    for cut, (h, head), (g, tail), (m, merge), (p, precision), (k, codec) in itertools.product(
        range(last + 1),
        *(
            list(enumerate(values))
            for values in (
                axes.structures, axes.structures, axes.merges, axes.precisions, axes.codecs,
            )
        ),
    ):  # fmt: skip
        if cut in (0, last) and h != g:
            continue
        if cut == last and codec != "raw":
            continue
        servers = [(0, "")] if cut == last else list(enumerate(axes.servers))
        for v, server in servers:
            t1 = t.head_s[cut, h, p] + t.encode_s[cut, k]
            bytes_ = t.payload_bytes[cut, k]
            t2 = t3 = busy = 0.0
            if cut < last:
                t2 = t.tail_s[v, cut, g, p] + t.decode_s[v, cut, k]
                link = problem.links[v]
                busy = bytes_ * 8 / link.bandwidth_bps
                t3 = busy + 2 * link.delay_s + t.answer_bytes * 8 / link.bandwidth_bps
            share = t.load_fraction[cut]
            loss = share * t.structure_loss[h, m, p] + (1 - share) * t.structure_loss[g, m, p]
            loss += t.codec_loss[cut, k, p, m]
            if not any(math.isnan(x) for x in (t1, t2, t3, loss)):
                key = Candidate(cut, head, tail, merge, precision, codec, server)
                found[key] = t1, t3, busy, t2, loss, bytes_
    return found


def objective_of(problem, parts):
    t1, t3, busy, t2, loss, _ = parts
    time = t1 + t3 + t2
    if problem.objective is Objective.THROUGHPUT:
        time = max(t1, busy, t2, *([time / problem.window] if problem.window else []))
    return time + problem.lambda_1 * loss


@given(
    seed=seeds,
    objective=objectives,
    lambda_1=st.floats(0, 100),
    rate=st.floats(1e3, 1e9),
    window=st.none() | st.integers(1, 4),
)
@settings(max_examples=8, deadline=None)
def test_grid_is_the_plain_search(seed, objective, lambda_1, rate, window):
    tables = random_tables(
        seed, segments=2, servers=2, structures=tuple(Structure)[:3], unknown=0.3
    )
    links = (LinkSpec(rate, 0.02), LinkSpec(2e6, 0.0))
    tables = dataclasses.replace(tables, answer_bytes=500.0)
    problem = Problem(tables, links, objective, lambda_1, window=window)
    solution = grid(problem)
    expected = by_hand(problem)
    assert solution.candidates == len(expected)
    rows = ranked(solution)
    assert {row.candidate for row in rows} == expected.keys()
    values = [row.prediction.objective for row in rows]
    assert values == sorted(values)
    for row in rows:
        parts, p = expected[row.candidate], row.prediction
        costs = p.head_s, p.link_s, p.occupancy_s, p.tail_s, p.accuracy_loss, p.payload_bytes
        assert costs == pytest.approx(parts)
        assert p.objective == pytest.approx(objective_of(problem, parts))
        assert price(problem, row.candidate) == row
    assert solution.best == rows[0]
    for cut in range(3):
        of_cut = [row for row in rows if row.candidate.cut == cut]
        assert solution.best_at(cut) == (of_cut[0] if of_cut else None)


@given(seed=seeds, objective=objectives)
@settings(max_examples=30, deadline=None)
def test_large_lambda_gives_the_least_loss(seed, objective):
    solution = grid(Problem(random_tables(seed), (LINK,), objective, 1e9))
    least = min(row.prediction.accuracy_loss for row in ranked(solution))
    assert solution.plan.accuracy_loss == pytest.approx(least, abs=1e-7)


@given(seed=seeds, objective=objectives, rate=st.floats(1e4, 1e8), factor=st.floats(1, 100))
@settings(max_examples=40, deadline=None)
def test_faster_link_never_makes_it_worse(seed, objective, rate, factor):
    tables = random_tables(seed)
    slow = grid(Problem(tables, (LinkSpec(rate),), objective, 0.5))
    fast = grid(Problem(tables, (LinkSpec(rate * factor),), objective, 0.5))
    assert fast.best.prediction.objective <= slow.best.prediction.objective


@given(seed=seeds, objective=objectives, rate=st.floats(1e3, 1e9))
@settings(max_examples=30, deadline=None)
def test_all_on_the_robot_does_not_depend_on_the_link(seed, objective, rate):
    tables = random_tables(seed)
    here = grid(Problem(tables, (LINK,), objective, 0.5)).device_only
    there = grid(Problem(tables, (LinkSpec(rate, 0.3),), objective, 0.5)).device_only
    alone = dataclasses.replace(
        tables,
        axes=dataclasses.replace(tables.axes, servers=()),
        tail_s=tables.tail_s[:0],
        decode_s=tables.decode_s[:0],
    )
    assert here == there
    assert here.prediction == grid(Problem(alone, (), objective, 0.5)).best.prediction


@given(seed=seeds, lambda_1=st.floats(0, 1e6))
@settings(max_examples=20, deadline=None)
def test_without_a_server_all_stays_on_the_robot(seed, lambda_1):
    tables = random_tables(seed, servers=0)
    solution = grid(Problem(tables, (), lambda_1=lambda_1))
    assert {row.candidate.cut for row in ranked(solution)} == {tables.segments}
    plan = solution.plan
    assert (plan.link_s, plan.tail_s, plan.payload_bytes, plan.codec) == (0, 0, 0, "raw")
    assert (plan.link_bps, plan.server_available) == (0, False)
    assert solution.server_only is None


@given(seed=seeds, cuts=st.none() | st.sets(st.integers(0, 4)).map(tuple))
@settings(max_examples=30, deadline=None)
def test_first_and_last_cut_are_always_candidates(seed, cuts):
    solution = grid(Problem(random_tables(seed), (LINK,), cuts=cuts))
    tried = {row.candidate.cut for row in ranked(solution)}
    assert tried == ({0, 4} | set(range(5) if cuts is None else cuts))


@given(seed=seeds, rate=st.floats(1e5, 1e8))
@settings(max_examples=30, deadline=None)
def test_a_second_server_never_makes_it_worse(seed, rate):
    two = random_tables(seed, servers=2)
    one = dataclasses.replace(
        two,
        axes=dataclasses.replace(two.axes, servers=two.axes.servers[:1]),
        tail_s=two.tail_s[:1],
        decode_s=two.decode_s[:1],
    )
    both = grid(Problem(two, (LinkSpec(rate), LINK), lambda_1=0.5))
    alone = grid(Problem(one, (LinkSpec(rate),), lambda_1=0.5))
    assert both.best.prediction.objective <= alone.best.prediction.objective
    link = dict(zip(two.axes.servers, (rate, LINK.bandwidth_bps), strict=True))
    if both.best.candidate.server:
        assert both.plan.link_bps == link[both.best.candidate.server]


def flat(codecs=("jpeg", "raw", "uint4", "uint8"), **changes):
    """Two segments; all that can be chosen costs the same."""
    axes = Axes(tuple(Structure), (Merge.FOLD, Merge.PRUNE), ("fp32", "int8-tensor"), codecs)
    s, m, p, k = len(axes.structures), 2, 2, len(axes.codecs)
    parts = {
        "head_s": np.full((3, s, p), 0.1),
        "encode_s": np.zeros((3, k)),
        "payload_bytes": np.zeros((3, k)),
        "tail_s": np.zeros((1, 3, s, p)),
        "decode_s": np.zeros((1, 3, k)),
        "load_fraction": np.array([0.0, 0.5, 1.0]),
        "structure_loss": np.zeros((s, m, p)),
        "codec_loss": np.zeros((3, k, p, m)),
    }
    return CostTables(axes, **{**parts, **changes})


def test_ties_go_to_the_simplest():
    best = grid(Problem(flat(), (LinkSpec(1e6),))).best.candidate
    assert (best.cut, best.codec, best.merge) == (0, "jpeg", Merge.FOLD)
    assert (best.head_structure, best.tail_structure) == (Structure.S3, Structure.S3)
    assert best.precision == "fp32"
    # Fewer bytes go before the smaller cut: a link of endless rate makes times equal, not bytes.
    sizes = np.full((3, 4), 100.0)
    sizes[1, 2] = 50.0
    heads = np.full((3, len(Structure), 2), 0.1)
    heads[2] = 0.2
    best = grid(Problem(flat(payload_bytes=sizes, head_s=heads), (LinkSpec(1e300),))).best
    assert (best.candidate.cut, best.candidate.codec) == (1, "uint4")


def test_near_ties_go_to_the_plan_that_leaves_most_idle():
    """Three stages as long as each other wait for each other; one long one waits for nothing."""
    heads, tails = np.full((3, len(Structure), 2), 0.1), np.full((1, 3, len(Structure), 2), 0.1)
    heads[1] = tails[:, 1] = 0.098  # of all three stages
    heads[0], heads[2] = 0.0, 1.0
    sizes = np.full((3, 4), 12_000.0)
    sizes[0] = 1000.0
    tables = flat(head_s=heads, tail_s=tails, payload_bytes=sizes)
    problem = Problem(tables, (LinkSpec(1e6),), objective=Objective.THROUGHPUT)
    assert grid(problem).best.candidate.cut == 1
    near = dataclasses.replace(problem, tie_share=0.03)
    assert grid(near).best.candidate.cut == 0
    assert grid(dataclasses.replace(problem, tie_share=0.01)).best.candidate.cut == 1
    # Not where the frame itself loses accuracy.
    lossy = np.zeros((3, 4, 2, 2))
    lossy[0] = 0.01
    tables = dataclasses.replace(tables, codec_loss=lossy)
    assert grid(dataclasses.replace(near, tables=tables)).best.candidate.cut == 1
    with pytest.raises(CodesignError, match="tie_share"):
        dataclasses.replace(problem, tie_share=1.0)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_order_of_the_choices_does_not_matter(seed):
    forth = random_tables(seed)
    forth = dataclasses.replace(
        forth,
        head_s=forth.head_s.round(2),
        tail_s=forth.tail_s.round(2),
        encode_s=forth.encode_s.round(2),
        decode_s=forth.decode_s.round(2),
        structure_loss=forth.structure_loss.round(1),
        codec_loss=forth.codec_loss.round(1),
    )
    axes = forth.axes
    back = CostTables(
        Axes(
            axes.structures[::-1],
            axes.merges[::-1],
            axes.precisions[::-1],
            axes.codecs[::-1],
            axes.servers,
        ),
        forth.head_s[:, ::-1, ::-1],
        forth.encode_s[:, ::-1],
        forth.payload_bytes[:, ::-1],
        forth.tail_s[:, :, ::-1, ::-1],
        forth.decode_s[:, :, ::-1],
        forth.load_fraction,
        forth.structure_loss[::-1, ::-1, ::-1],
        forth.codec_loss[:, ::-1, ::-1, ::-1],
    )
    ours = ranked(grid(Problem(forth, (LinkSpec(1e300),), lambda_1=0.5)))
    theirs = ranked(grid(Problem(back, (LinkSpec(1e300),), lambda_1=0.5)))
    assert [row.candidate for row in ours] == [row.candidate for row in theirs]


def test_plan_carries_the_prediction_and_the_conditions():
    solution = grid(Problem(random_tables(5), (LINK,), Objective.THROUGHPUT, 0.5))
    row, plan = solution.best, solution.plan
    for name in ("cut", "head_structure", "tail_structure", "merge", "precision", "codec"):
        assert getattr(plan, name) == getattr(row.candidate, name)
    for name in ("head_s", "link_s", "tail_s", "accuracy_loss", "payload_bytes"):
        assert getattr(plan, name) == getattr(row.prediction, name)
    assert (plan.objective, plan.lambda_1, plan.link_bps) == ("throughput", 0.5, 8e6)
    assert (plan.epoch, plan.served_by, plan.reason) == (0, "", "")


def test_codecs_that_are_not_allowed_are_not_offered():
    problem = Problem(random_tables(3), (LINK,), codecs=("uint8",), frame_codecs=("raw",))
    codecs = {(r.candidate.cut, r.candidate.codec) for r in ranked(grid(problem))}
    assert codecs == {(0, "raw"), (1, "uint8"), (2, "uint8"), (3, "uint8"), (4, "raw")}


def test_nothing_known_is_an_error_that_says_why():
    tables = flat(structure_loss=np.full((len(Structure), 2, 2), np.nan))
    tables = dataclasses.replace(tables, notes=("nobody measured it",))
    with pytest.raises(CodesignError, match=r"nothing to choose from.*; nobody measured it"):
        grid(Problem(tables, (LINK,)))
    candidate = Candidate(1, Structure.S3, Structure.S3, Merge.FOLD, "fp32", "raw", "server")
    with pytest.raises(CodesignError, match="not among the choices"):
        price(Problem(tables, (LINK,)), dataclasses.replace(candidate, codec="gzip"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"lambda_1": -1.0}, "lambda_1 must be"),
        ({"lambda_1": float("inf")}, "lambda_1 must be"),
        ({"cuts": (1, 9)}, "cut 9 does not exist: cuts are 0 to 4"),
        ({"links": ()}, "no link rate"),
        ({"links": (LINK, LINK)}, "no server at its end"),
        ({"frame_rate_hz": 0.0}, "frame rate must be above 0"),
    ],
)
def test_impossible_problems_are_refused(change, text):
    with pytest.raises(CodesignError, match=text):
        Problem(**{"tables": random_tables(0), "links": (LINK,), **change})


@pytest.mark.parametrize("what", ["structures", "merges", "precisions"])
def test_nothing_to_choose_from_is_refused(what):
    with pytest.raises(CodesignError, match="at least one structure, merge and precision"):
        Axes(**{"structures": (Structure.S3,), what: ()})


def test_arrays_of_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"tail_s has shape \(3, 5, 2\), not \(1, 3, 5, 2\)"):
        flat(tail_s=np.zeros((3, 5, 2)))


@given(seed=seeds, rate=st.floats(1e4, 1e8), share=st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_limits_are_kept_and_cost(seed, rate, share):
    tables = random_tables(seed)
    links = (LinkSpec(rate, transmit_w=2.0),)
    free = grid(Problem(tables, links, lambda_1=0.1))
    rows = ranked(free)
    some = rows[int(share * (len(rows) - 1))].prediction
    limits = Limits(
        accuracy_loss=some.accuracy_loss,
        deadline_s=some.latency_s,
        uplink_bytes_per_s=some.payload_bytes * 5.0,
        robot_energy_j=some.energy_j,
    )
    frame_rate_hz = min(5.0, some.throughput_fps)
    bound = grid(Problem(tables, links, lambda_1=0.1, limits=limits, frame_rate_hz=frame_rate_hz))
    kept = [
        row
        for row in rows
        if row.prediction.accuracy_loss <= limits.accuracy_loss + 1e-9
        and row.prediction.latency_s <= limits.deadline_s + 1e-9
        and row.prediction.payload_bytes * frame_rate_hz <= limits.uplink_bytes_per_s + 1e-3
        and row.prediction.throughput_fps >= frame_rate_hz * (1 - 1e-9)
        and row.prediction.energy_j <= limits.robot_energy_j + 1e-9
    ]
    assert ranked(bound) == kept
    assert bound.best.prediction.objective >= free.best.prediction.objective


def test_energy_is_power_times_time():
    problem = Problem(random_tables(1), (LinkSpec(8e6, 0.01, transmit_w=2.0),))
    for row in ranked(grid(problem))[:20]:
        p = row.prediction
        assert p.energy_j == pytest.approx(10.0 * p.head_s + 2.0 * 8 * p.payload_bytes / 8e6)


def test_energy_of_an_unknown_radio_is_not_zero():
    rows = ranked(grid(Problem(random_tables(1), (LinkSpec(8e6, name="air"),))))
    for row in rows:
        p = row.prediction
        assert (p.energy_j is None) == bool(row.candidate.server)
    with pytest.raises(CodesignError, match=r"radio of link air is not known; give transmit_w"):
        Problem(random_tables(1), (LinkSpec(8e6, name="air"),), limits=Limits(robot_energy_j=0.0))


def test_delay_occupies_no_link():
    for seed in range(20):
        plans = [
            grid(Problem(random_tables(seed), (LinkSpec(8e6, delay_s),), Objective.THROUGHPUT))
            for delay_s in (0.0, 0.0065, 0.02, 1.0)
        ]
        assert len({plan.best.prediction.throughput_fps for plan in plans}) == 1


def test_frames_in_flight_limit_the_pace():
    # Each half takes 20 ms and a frame 10 ms on the link: 50 frames/s, but 1 s of delay each way.
    heads = np.full((3, len(Structure), 2), 0.02)
    tables = flat(head_s=heads, tail_s=heads[None], payload_bytes=np.full((3, 4), 1e4))
    for window, fps in ((None, 50), (1, 1 / 2.05), (41, 20), (200, 50)):
        problem = Problem(*(tables, (LinkSpec(8e6, 1.0),), Objective.THROUGHPUT), window=window)
        cut = grid(problem).best_at(1)
        assert cut.prediction.throughput_fps == pytest.approx(fps)


def test_a_frame_rate_is_a_limit():
    tables = random_tables(5)
    free = ranked(grid(Problem(tables, (LINK,), lambda_1=0.1)))
    rates = sorted(row.prediction.throughput_fps for row in free)
    wanted = rates[len(rates) // 2]
    kept = grid(Problem(tables, (LINK,), lambda_1=0.1, frame_rate_hz=wanted))
    assert ranked(kept) == [row for row in free if row.prediction.throughput_fps >= wanted]
    with pytest.raises(CodesignError, match=r"the frame rate of .* frames/s is missed by"):
        grid(Problem(tables, (LINK,), lambda_1=0.1, frame_rate_hz=rates[-1] * 1.01))


def test_late_with_probability_goes_by_the_distribution():
    # Good 10 s of 11 at 30 Mbit/s, else 2 Mbit/s. All on the robot takes 58 ms; cut 1 sends 57 kB
    # in 15 ms or 228 ms, with 12 ms of work around it.
    heads = np.full((3, len(Structure), 2), 0.058)
    heads[1], tails = 0.006, np.full((3, len(Structure), 2), 0.006)
    heads[0], tails[0], tails[-1] = 1.0, 1.0, 0.0
    sizes = np.full((3, 4), 57e3)
    sizes[-1] = 0.0
    tables = flat(head_s=heads, tail_s=tails[None], payload_bytes=sizes)
    states = RadioState(30e6, 10.0), RadioState(2e6, 1.0)
    radio = LinkSpec.radio(states)
    by_mean = grid(Problem(tables, (LinkSpec(radio.bandwidth_bps),)))
    assert by_mean.best.candidate.cut == 1
    assert price(
        Problem(tables, (radio,), late_share=0.05), by_mean.best.candidate
    ).prediction.latency_s == pytest.approx(0.24)
    careful = grid(Problem(tables, (radio,), late_share=0.05))
    assert careful.best.candidate.cut == 2
    assert careful.best.prediction.latency_s == pytest.approx(0.058)
    # One frame in ten may be late, and the bad state is but one in eleven.
    assert grid(Problem(tables, (radio,), late_share=0.1)).best.candidate.cut == 1
    late = Problem(tables, (radio,), late_share=0.05, limits=Limits(deadline_s=0.05))
    with pytest.raises(CodesignError, match="the deadline of 50 ms is missed by 8 ms"):
        grid(late)
    with pytest.raises(CodesignError, match="late_share needs a link whose rate varies"):
        Problem(tables, (LINK,), late_share=0.05)
    with pytest.raises(CodesignError, match="from 0 to below 1, not 1"):
        Problem(tables, (radio,), late_share=1.0)
    with pytest.raises(CodesignError, match="1 frame in flight or more, not 0"):
        Problem(tables, (radio,), window=0)


def test_memory_of_each_half_is_a_limit():
    tables = random_tables(2)
    evaluation = evaluate(Problem(tables, (LINK,), limits=Limits(robot_memory_bytes=1e6)))
    fits = np.isfinite(evaluation.objective)
    heads = np.argwhere(fits)[:, [0, 1, 4]]
    assert len(heads)
    assert all(tables.head_memory_bytes[tuple(place)] <= 1e6 for place in heads)
    over = tables.tail_memory_bytes[1].min()
    bound = grid(Problem(tables, (LINK,), limits=Limits(server_memory_bytes=over * 0.99)))
    assert all(row.candidate.cut > 1 for row in ranked(bound))
    bare = dataclasses.replace(tables, head_memory_bytes=None, robot_power_w=None)
    with pytest.raises(CodesignError, match=r"robot_memory_bytes cannot be kept: what memory"):
        Problem(bare, (LINK,), limits=Limits(robot_memory_bytes=1.0))
    with pytest.raises(CodesignError, match=r"robot_energy_j cannot be kept: the robot's power"):
        Problem(bare, (LINK,), limits=Limits(robot_energy_j=1.0))
    with pytest.raises(CodesignError, match="deadline_s must be a number from 0 up"):
        Limits(deadline_s=-1.0)


def test_a_limit_that_nothing_keeps_is_named_with_what_is_missing():
    # The best of all takes 0.1 s.
    with pytest.raises(CodesignError, match="the deadline of 40 ms is missed by 60 ms"):
        grid(Problem(flat(), (LinkSpec(1e6),), limits=Limits(deadline_s=0.04)))


def test_limits_that_contradict_each_other_are_named():
    # Cut 0 loses 0.2 and takes 50 ms, the others lose nothing and take 100 ms or more.
    heads = np.full((3, len(Structure), 2), 0.1)
    heads[0] = 0.05
    codec_loss = np.zeros((3, 4, 2, 2))
    codec_loss[0] = 0.2
    tables = flat(head_s=heads, codec_loss=codec_loss)
    limits = Limits(accuracy_loss=0.1, deadline_s=0.09)
    with pytest.raises(CodesignError, match=r"no plan keeps all limits at once.*deadline of 90 ms "
                       r"is missed by 10 ms"):  # fmt: skip
        grid(Problem(tables, (LinkSpec(1e6),), limits=limits))
