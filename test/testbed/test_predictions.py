"""Plans that are drawn for the link, and their errors."""

import math
import re

import pytest

from codesign_ros.runtime.messages import Result, Stamp
from codesign_ros.testbed.predictions import (
    Choice,
    Compared,
    compared,
    draw_choices,
    median_and_worst,
)
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

CHOICE = Choice(8, "S3", "fp32", "raw")


def row(predicted_ms, measured_ms):
    return Compared(CHOICE, 16e6, 9, predicted_ms, measured_ms, 70.0, 1e5, 1e5, 16e6)


BOTH = ("fp32", "int8-channel")


def test_plans_differ_need_the_link_and_are_the_same_each_time(tiny_bundle):
    drawn = draw_choices(tiny_bundle, BOTH, 1e9, 60, seed=3)
    assert drawn == draw_choices(tiny_bundle, BOTH, 1e9, 60, seed=3)
    assert drawn != draw_choices(tiny_bundle, BOTH, 1e9, 60, seed=4)
    assert len(set(drawn)) == 60
    assert {each.codec for each in drawn if each.cut == 0} <= {"raw", "jpeg"}
    assert {each.cut for each in drawn} <= set(range(tiny_bundle.last_cut))
    assert {each.precision for each in drawn} == set(BOTH)


def test_all_plans_can_be_drawn_and_no_more(tiny_bundle):
    count = (2 + 4 * (tiny_bundle.last_cut - 1)) * 1 * 4
    drawn = draw_choices(tiny_bundle, ("fp32",), 1e9, count, 0)
    assert {each.cut for each in drawn} == set(range(tiny_bundle.last_cut))
    with pytest.raises(CodesignError, match=f"at 1000 Mbit/s there are {count} plans"):
        draw_choices(tiny_bundle, ("fp32",), 1e9, count + 1, 0)


def test_frames_that_the_link_cannot_carry_are_not_drawn(tiny_bundle):
    (frame,) = tiny_bundle.crossings[0]
    # A frame as it is takes half a second and a bit more than is allowed.
    rate_bps = 8 * math.prod(frame.shape) / 0.56
    with pytest.raises(CodesignError) as refused:
        draw_choices(tiny_bundle, ("fp32",), rate_bps, 10_000, 0)
    count = int(re.search(r"there are (\d+) plans", str(refused.value)).group(1))
    drawn = draw_choices(tiny_bundle, ("fp32",), rate_bps, count, 0)
    assert {each.codec for each in drawn if each.cut == 0} == {"jpeg"}
    for each in drawn:
        if each.codec == "raw":
            values = sum(math.prod(spec.shape) for spec in tiny_bundle.crossings[each.cut])
            assert 32 * values / rate_bps <= 0.55


def test_the_planner_is_left_one_plan():
    assert CHOICE.planner == {"structures": ["S3"], "precisions": ["fp32"], "codecs": ["raw"]}
    assert Choice(0, "S3", "fp32", "jpeg").planner["frame_codecs"] == ["jpeg"]


def test_errors():
    rows = [
        row((30.0, 20.0, 10.0), (30.0, 20.0, 10.0)),
        row((33.0, 22.0, 11.0), (30.0, 20.0, 10.0)),
        row((15.0, 10.0, 5.0), (30.0, 20.0, 10.0)),
    ]
    assert [each.error for each in rows] == pytest.approx([0.0, 0.1, -0.5])
    assert median_and_worst(rows) == pytest.approx((0.1, 0.5))
    assert math.isclose(rows[1].to_json()["error"], 0.1)
    with pytest.raises(CodesignError, match="no plan could be run"):
        median_and_worst([])


def test_only_what_the_server_answered_is_compared():
    def result(number, finished_by, link_s):
        return Result(
            stamp=Stamp(number), sequence=number, epoch=1, finished_by=finished_by, head_s=0.01,
            encode_s=0.002, link_s=link_s, decode_s=0.001, tail_s=0.02, response_s=0.1,
        )  # fmt: skip

    plan = Plan(cut=8, head_s=0.012, link_s=0.03, tail_s=0.021)
    served = [result(n, "server", 0.04) for n in range(5)]
    late = [result(n, "fallback", 0.0) for n in range(5, 20)]
    found = compared(CHOICE, 16e6, plan, served + late)
    assert found.frames == 5
    assert found.measured_ms == pytest.approx((12.0, 40.0, 21.0))
    assert found.error == pytest.approx(63 / 73 - 1)
    assert compared(CHOICE, 16e6, plan, served[1:] + late) is None
