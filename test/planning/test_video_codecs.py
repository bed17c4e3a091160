"""H.264 among the codecs of the frame: only where it was timed at both ends and measured."""

from dataclasses import replace

import numpy as np
import pytest

from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.cost.model import measured_tables
from codesign_ros.cost.tables import Axes
from codesign_ros.planning.grid import grid
from codesign_ros.planning.problem import Problem
from codesign_ros.types.forms import HalfForm, Merge, Structure
from codesign_ros.types.links import LinkSpec

S3, FOLD = Structure.S3, Merge.FOLD
CODECS = ("jpeg", "h264.18", "h264.23")
BYTES = dict(zip(CODECS, (40_000.0, 18_000.0, 4_000.0), strict=True))
# On a film that is easier than the table's frames.
ROWS = (
    AccuracyRow(FOLD, S3, S3, "fp32", "raw", None, 0.8),
    AccuracyRow(FOLD, S3, S3, "fp32", "jpeg", 0, 0.79),
    AccuracyRow(FOLD, S3, S3, "fp32", "h264.18", 0, 0.93, unsent=0.95),
    AccuracyRow(FOLD, S3, S3, "fp32", "h264.23", 0, 0.90, unsent=0.95),
    AccuracyRow(FOLD, S3, S3, "fp32", "jpeg+h264.18", 0, 0.90, unsent=0.94),
)


def times(part, codecs=CODECS):
    whole = {HalfForm(0): 0.002, HalfForm(2): 9.0} if part == "head" else {HalfForm(0): 0.01}
    coding_s = {(0, codec): 0.004 for codec in codecs}
    return HalfTimes(whole, codec_s=coding_s, codec_bytes={(0, c): BYTES[c] for c in codecs})


def tables(rows=ROWS, head=CODECS, tail=CODECS, sendable_bytes=0.0):
    table = AccuracyTable("map50", 0.8, "120 frames", rows)
    axes = Axes((S3,), (FOLD,), ("fp32",), (*CODECS, "raw"), ("server",))
    parts = times("head", head), [times("tail", tail)]
    return measured_tables(2, *parts, axes, table, sendable_bytes)


def plan_at(rate_bps, **more):
    return grid(Problem(tables(**more), (LinkSpec(rate_bps),), lambda_1=1.0)).plan


@pytest.mark.parametrize(("rate_bps", "codec"), [(1e9, "jpeg"), (5e6, "h264.18"), (1e6, "h264.23")])
def test_the_thinner_the_link_the_coarser(rate_bps, codec):
    plan = plan_at(rate_bps)
    assert (plan.cut, plan.codec, plan.levels) == (0, codec, ())
    assert plan.accuracy_loss == pytest.approx({"jpeg": 0.01, "h264.18": 0.02}.get(codec, 0.05))


def test_what_was_not_measured_is_never_chosen_and_the_command_is_named():
    assert plan_at(1e6, rows=ROWS[:2]).codec == "jpeg"
    notes = tables(rows=ROWS[:2]).notes
    (note,) = (each for each in notes if "h264" in each)
    assert note == (
        "what the frame loses as h264.18, h264.23 was not measured (measure it on a film: "
        "'codesign accuracy BUNDLE --data mine:7 --frames 300 --codec h264 --add')"
    )


@pytest.mark.parametrize("lacking", ["head", "tail"])
def test_an_end_that_cannot_is_not_asked_to(lacking):
    assert plan_at(1e6, **{lacking: ("jpeg",)}).codec == "jpeg"


def test_of_a_cameras_jpegs_what_is_lost_of_them_counts():
    plan = plan_at(1e6, sendable_bytes=40_000.0)
    assert plan.codec == "h264.18"  # the other was not measured on JPEGs
    assert plan.accuracy_loss == pytest.approx(0.04)


def test_rows_of_a_film_are_added_to_a_table_of_other_frames():
    mine = AccuracyTable("map50", 0.8, "120 frames", ROWS[:2])
    assert mine.video_codecs == ()
    unchanged = replace(ROWS[0], value=0.95)
    film = AccuracyTable("map50", 0.95, "300 frames of mine:7", (unchanged, *ROWS[2:]))
    added = mine.extended(film)
    assert added == replace(mine, rows=ROWS)
    assert added.video_codecs == ("h264.18", "h264.23")
    assert AccuracyTable.from_json(added.to_json()) == added
    assert added.extended(film) == added
    assert added.codec_loss(0, "h264.23", "fp32", FOLD).value == pytest.approx(0.05)
    for cut in (1, 2):
        assert added.codec_loss(cut, "h264.23", "fp32", FOLD) is None
    assert np.isnan(tables().codec_loss[1:, 1:3]).all()
