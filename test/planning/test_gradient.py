"""The gradient search of the joint problem against hand-worked numbers and the grid."""

import dataclasses

import numpy as np
import pytest

from codesign_ros.planning.candidates import evaluate
from codesign_ros.planning.gradient import (
    GradientResult,
    Relaxation,
    gradient_search,
    gradient_step,
    softmax,
)
from codesign_ros.planning.problem import Candidate, CandidateCost, Limits, Problem, Row
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure
from codesign_ros.types.links import LinkSpec
from support.planning import LINK, price, random_tables

PLAIN = {"structures": (Structure.S3,), "merges": (Merge.FOLD,), "precisions": ("fp32",)}


def hand_problem():
    """One segment. Cut 0 takes 30 ms with JPEG and 70 ms raw, cut 1 takes 55 ms."""
    tables = random_tables(0, segments=1, codecs=("jpeg", "raw"), **PLAIN)
    nothing = np.zeros_like(tables.encode_s)
    return Problem(
        dataclasses.replace(
            tables,
            head_s=np.array([0.0, 0.055]).reshape(2, 1, 1),
            tail_s=np.array([0.010, 0.0]).reshape(1, 2, 1, 1),
            encode_s=nothing,
            decode_s=nothing[None],
            # At 8 Mbit/s a byte takes a microsecond.
            payload_bytes=np.array([[20e3, 60e3], [np.nan, 0.0]]),
            codec_loss=np.zeros_like(tables.codec_loss),
        ),
        links=(LinkSpec(8e6),),
    )


ONE = np.ones(1)


def test_expectation_and_derivatives_by_hand():
    relaxation = Relaxation(evaluate(hand_problem()))
    assert relaxation.sizes == (1, 1, 1, 1, 2, 1)
    # lambda 0.25, JPEG with 3/4: at cut 0 0.75 * 30 + 0.25 * 70 = 40 ms; at cut 1 55 ms whatever
    # the codec; between them 0.75 * 40 + 0.25 * 55 = 43.75 ms, rising by 15 ms a unit of lambda.
    choices = [ONE, ONE, ONE, ONE, np.array([0.75, 0.25]), ONE]
    expected, slope, derivatives = relaxation.expected(0.25, choices)
    assert expected == pytest.approx(0.04375)
    assert slope == pytest.approx(0.015)
    # By JPEG's probability 0.75 * (30 - 40), by raw's 0.75 * (70 - 40); D = 1 everywhere.
    assert derivatives[4] == pytest.approx([-0.0075, 0.0225])


def test_one_step_by_hand():
    relaxation = Relaxation(evaluate(hand_problem()))
    # Both logits 0: p = 1/2 each, at cut 0 50 ms, derivatives by p at lambda 0.5: -10 and 10 ms;
    # by z 1/2 * (g - 0) / T with T = 0.5: -10 and 10. The steepest moves by the rate, 0.2.
    logits = [np.zeros(size) for size in relaxation.sizes]
    depth, moved = gradient_step(relaxation, 0.5, logits, temperature=0.5, rate=0.2)
    assert moved[4] == pytest.approx([0.2, -0.2])
    # Cut 1 takes 55 ms, more than 50: lambda goes to cut 0 by 0.3 * 0.2 * 0.5.
    assert depth == pytest.approx(0.47)
    # A choice with one entry has nothing to move.
    assert moved[0] == pytest.approx([0.0])


def test_hand_problem_is_solved():
    result = gradient_search(hand_problem(), starts=[0.5])
    assert result.best.candidate.cut == 0
    assert result.best.candidate.codec == "jpeg"
    assert result.best.prediction.latency_s == pytest.approx(0.030)
    assert result.report == "gradient search agrees with the grid (1 of 1 starts ended there)"


@pytest.mark.parametrize("seed", range(4))
def test_derivatives_against_differences(seed):
    tables = random_tables(seed, segments=5, servers=2, unknown=0.2)
    relaxation = Relaxation(evaluate(Problem(tables, links=(LINK, LINK), lambda_1=0.3)))
    rng = np.random.default_rng(seed)
    logits = [rng.standard_normal(size) for size in relaxation.sizes]
    for depth in (0.05, 0.31, 0.5, 0.93):
        probabilities = [softmax(each, 1.0) for each in logits]
        _, slope, derivatives = relaxation.expected(depth, probabilities)
        ends = [relaxation.expected(depth + d, probabilities)[0] for d in (1e-5, -1e-5)]
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-8)
        for axis, derivative in enumerate(derivatives):
            p = probabilities[axis]
            gradient = p * (derivative - p @ derivative)
            for entry in range(len(p)):
                ends = []
                for d in (1e-5, -1e-5):
                    z = [each.copy() for each in logits]
                    z[axis][entry] += d
                    ends.append(relaxation.expected(depth, [softmax(e, 1.0) for e in z])[0])
                difference = (ends[0] - ends[1]) / 2e-5
                assert gradient[entry] == pytest.approx(difference, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_at_sure_choices_the_expectation_is_the_candidates_price(seed):
    problem = Problem(random_tables(seed, unknown=0.1), links=(LINK,), lambda_1=0.3)
    evaluation = evaluate(problem)
    relaxation = Relaxation(evaluation)
    places = np.argwhere(np.isfinite(evaluation.objective))
    for place in np.random.default_rng(seed).permutation(places)[:20]:
        sure = [np.eye(size)[i] for size, i in zip(relaxation.sizes, place[1:], strict=True)]
        depth = place[0] / problem.tables.segments
        row = relaxation.rounded(depth, sure)
        assert row.candidate == evaluation.candidate(place)
        if place[0] < problem.tables.segments:  # at cut N the codecs are summed over
            # So sure that what does not exist at the next cut has probability 0 / 0.
            with np.errstate(invalid="ignore", divide="ignore"):
                around = relaxation.expected(depth, [(1 - 1e-9) * p + 1e-9 / len(p) for p in sure])
            assert around[0] == pytest.approx(row.prediction.objective, rel=1e-6)


def smooth_tables(seed, segments=10):
    """Costs that fall to one best cut and rise from there, and choices that do not interact."""
    rng = np.random.default_rng(seed)
    tables = random_tables(seed, segments=segments, codecs=("raw", "uint8"), precisions=("fp32",))
    n, s, p = tables.head_s.shape
    at = np.arange(n) / segments
    extra = 1.0 + 0.1 * np.arange(s)
    payload = np.full((n, 2), 1e5)
    payload[:, 0] = 1e5 * (1.1 - at) ** 2
    payload[:, 1] = payload[:, 0] * rng.uniform(0.3, 0.6)
    payload[0, 1] = payload[-1, 1] = np.nan
    payload[-1, 0] = 0.0
    nothing = np.where(np.isnan(payload), np.nan, 0.0)
    return dataclasses.replace(
        tables,
        head_s=(rng.uniform(0.05, 0.3) * at[:, None, None] * extra[:, None]).repeat(p, 2),
        tail_s=(rng.uniform(0.005, 0.03) * (1 - at)[:, None, None] * extra[:, None])[None],
        payload_bytes=payload,
        encode_s=nothing,
        decode_s=nothing[None],
    )


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_the_grid_where_there_is_one_valley(seed):
    result = gradient_search(
        Problem(smooth_tables(seed), links=(LinkSpec(4e6),), lambda_1=0.2), [0.2, 0.8]
    )
    assert not result.is_stuck, result.report
    assert "agrees" in result.report


@pytest.mark.parametrize("seed", range(6))
def test_never_better_than_the_grid_and_says_where_it_is_stuck(seed):
    problem = Problem(random_tables(seed, unknown=0.1), links=(LINK,), lambda_1=0.1)
    result = gradient_search(problem, starts=[0.2, 0.8], steps=60)
    assert result.gap_s >= 0
    assert len(result.endings) == 2
    for row in result.endings:
        assert row == price(problem, row.candidate)
    assert ("stuck at cut" in result.report) == result.is_stuck


def test_the_report_names_the_choices_it_missed():
    found = Candidate(2, Structure.S3, Structure.S3, Merge.PRUNE, "fp32", "uint8", "server0")
    best = dataclasses.replace(found, cut=3, codec="raw", merge=Merge.FOLD)
    rows = [
        Row(candidate, CandidateCost(*(0.0,) * 6, objective))
        for candidate, objective in ((found, 0.05), (best, 0.0377))
    ]
    result = GradientResult(rows[0], rows[1], (rows[0], rows[0]))
    assert result.report == (
        "gradient search stuck at cut 2, 12.3 ms above the grid's optimum at cut 3 (2 of 2 starts "
        "ended there); it has merge prune instead of fold, codec uint8 instead of raw"
    )


def test_limits_are_kept():
    problem = Problem(random_tables(1), links=(LINK,), lambda_1=0.1)
    limited = dataclasses.replace(problem, limits=Limits(accuracy_loss=0.05))
    for row in gradient_search(limited, starts=[0.3], steps=40).endings:
        assert row.prediction.accuracy_loss <= 0.05
    with pytest.raises(CodesignError, match="deadline"):
        gradient_search(dataclasses.replace(problem, limits=Limits(deadline_s=0.0)))


def test_without_a_server_all_stays_on_the_robot():
    result = gradient_search(Problem(random_tables(0, servers=0), lambda_1=0.1), steps=40)
    assert result.best.candidate.cut == 4
    assert result.best.candidate.server == ""
    assert not result.is_stuck
