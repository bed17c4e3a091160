"""Qualities of the frame's JPEG among which a head may choose under one plan."""

import pytest

from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.cost.model import measured_tables
from codesign_ros.cost.tables import Axes
from codesign_ros.planning.grid import grid
from codesign_ros.planning.problem import Limits, Problem
from codesign_ros.runtime.rate_level import RateLevelChoice
from codesign_ros.types.codec_names import JPEG444_CODECS
from codesign_ros.types.forms import HalfForm, Merge, Structure
from codesign_ros.types.links import LinkSpec

S3, FOLD = Structure.S3, Merge.FOLD
BYTES = dict(zip(("jpeg", *JPEG444_CODECS), (5000.0, 6000.0, 4000.0, 2000.0, 1000.0), strict=True))
ACCURACY = dict(zip(BYTES, (0.84, 0.9, 0.89, 0.87, 0.85), strict=True))


def plan_at(rate_bps, codecs=tuple(BYTES), lambda_1=1.0, **conditions):
    """The plan for a robot that needs 9 s for what the server does in 10 ms."""
    coding_s = {(0, codec): 0.001 for codec in BYTES}
    head = HalfTimes(
        {HalfForm(0): 0.002, HalfForm(2): 9.0},
        codec_s=coding_s,
        codec_bytes={(0, codec): size for codec, size in BYTES.items()},
    )
    tail = HalfTimes({HalfForm(0): 0.01}, codec_s=coding_s)
    rows = [AccuracyRow(FOLD, S3, S3, "fp32", "raw", None, 0.9)]
    rows += [AccuracyRow(FOLD, S3, S3, "fp32", name, 0, ACCURACY[name]) for name in codecs]
    table = AccuracyTable("map50", 0.9, "frames", tuple(rows))
    axes = Axes((S3,), (FOLD,), ("fp32",), (*BYTES, "raw"), ("server",))
    tables = measured_tables(2, head, [tail], axes, table)
    return grid(Problem(tables, (LinkSpec(rate_bps),), lambda_1=lambda_1, **conditions)).plan


@pytest.mark.parametrize(
    ("rate_bps", "codec"),
    [(1e8, "jpeg444.90"), (1e6, "jpeg444.75"), (5e5, "jpeg444.50"), (1e5, "jpeg444.30")],
)
def test_the_thinner_the_link_the_coarser(rate_bps, codec):
    plan = plan_at(rate_bps)
    assert (plan.cut, plan.codec) == (0, codec)
    assert [each.level for each in plan.levels] == [0, 1, 2, 3]
    assert [each.payload_bytes for each in plan.levels] == list(BYTES.values())[1:]
    assert [each.accuracy_loss for each in plan.levels] == pytest.approx([0.0, 0.01, 0.03, 0.05])
    # Which of them the head takes at another rate is what would be planned for that.
    for other_bps, other in ((1e8, 0), (1e5, 3)):
        assert RateLevelChoice(plan, lambda other_bps=other_bps: other_bps).choose() == other


def test_the_budget_bounds_how_coarse():
    plan = plan_at(1e5, limits=Limits(accuracy_loss=0.03))
    assert plan.codec == "jpeg444.50"
    assert [each.level for each in plan.levels] == [0, 1, 2]
    # A deadline bounds how fine.
    plan = plan_at(5e5, limits=Limits(deadline_s=0.06))
    assert [each.level for each in plan.levels] == [2, 3]


def test_what_has_no_row_is_not_offered():
    plan = plan_at(1e5, codecs=("jpeg", "jpeg444.90", "jpeg444.50"))
    assert plan.codec == "jpeg444.50"
    assert [each.level for each in plan.levels] == [0, 2]
    # The camera's own, and the default, stays what it is.
    plan = plan_at(1e5, codecs=("jpeg",))
    assert (plan.codec, plan.levels) == ("jpeg", ())
