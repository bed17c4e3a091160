"""Losses as arrays, and what is said of those that are not known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.cost.losses import level, losses, ranges
from codesign_ros.cost.tables import Axes
from codesign_ros.types.forms import Merge, Structure

S3, FULL = Structure.S3, Structure.S3_SS_S1
FOLD, PRUNE = Merge.FOLD, Merge.PRUNE
AXES = Axes((S3, FULL), (FOLD, PRUNE), ("fp32", "int8-tensor"), ("jpeg", "raw", "uint4+zstd"))


def row(value, merge=FOLD, structure=S3, precision="fp32", codec="raw", cut=None):
    return AccuracyRow(merge, structure, structure, precision, codec, cut, value)


TABLE = AccuracyTable(
    "map50",
    0.9,
    "frames",
    (
        row(0.9),
        row(0.5, PRUNE),
        row(0.88, precision="int8-tensor"),
        row(0.85, codec="jpeg", cut=0),
        row(0.8, codec="uint4", cut=2),
        row(0.84, codec="uint4", cut=5),
    ),
)


def test_what_was_measured_is_looked_up_and_the_rest_is_not_known():
    found = losses(TABLE, 8, AXES)
    # By structure, merge and precision.
    expected = [[[0.0, 0.02], [0.4, np.nan]], [[0.0, np.nan], [np.nan, np.nan]]]
    np.testing.assert_allclose(found.structure, expected, atol=1e-12)
    fp32_fold = found.codec[:, :, 0, 0]
    np.testing.assert_allclose(fp32_fold[0], [0.05, 0, np.nan], atol=1e-12)
    # Between cuts 2 and 5 the larger loss of the two; outside nothing is known.
    uint4 = [np.nan, np.nan, 0.1, 0.1, 0.1, 0.06, np.nan, np.nan, np.nan]
    np.testing.assert_allclose(fp32_fold[:, 2], uint4, atol=1e-12)
    assert np.isnan(fp32_fold[1:, 0]).all()
    # A lossless codec needs no measurement, in whatever form.
    assert (found.codec[:, 1] == 0).all()
    assert np.isnan(found.codec[:, 2, 1]).all()


LADDER = AccuracyTable(
    "map50",
    0.9,
    "frames",
    (
        row(0.9),
        row(0.86, codec="jpeg", cut=0),
        row(0.89, codec="jpeg444.75", cut=0),
        row(0.85, codec="jpeg444.30", cut=0),
        row(0.855, codec="jpeg+jpeg444.75", cut=0),
        row(0.81, codec="jpeg+jpeg444.30", cut=0),
    ),
)


def test_a_camera_s_jpeg_that_is_encoded_anew_loses_against_itself():
    axes = Axes(
        (S3,), (FOLD,), ("fp32",), ("jpeg", "jpeg444.30", "jpeg444.75", "jpeg444.90", "raw")
    )
    nan = np.nan

    def at_cut_0(**frames):
        found = losses(LADDER, 8, axes, **frames)
        assert np.isnan(found.codec[1:, :4]).all()
        return found.codec[0, :, 0, 0], [note for note in found.notes if "loses as" in note]

    of_frames, notes = at_cut_0()
    np.testing.assert_allclose(of_frames, [0.04, 0.05, 0.01, nan, 0.0], atol=1e-12)
    (note,) = notes
    assert note.startswith("what the frame loses as jpeg444.90 was not measured (measure it with")
    of_jpegs, notes = at_cut_0(camera_jpegs=True)
    np.testing.assert_allclose(of_jpegs, [0.0, 0.05, 0.005, nan, 0.0], atol=1e-12)
    (note,) = notes
    assert note.startswith("what a camera's JPEG loses as jpeg444.90 was not measured")


def test_what_was_measured_on_frames_says_nothing_of_a_camera_s_jpegs():
    table = replace(LADDER, rows=LADDER.rows[:4])
    axes = Axes((S3,), (FOLD,), ("fp32",), ("jpeg", "jpeg444.75", "raw"))
    found = losses(table, 8, axes, camera_jpegs=True)
    np.testing.assert_array_equal(found.codec[0, :, 0, 0], [0.0, np.nan, 0.0])


def test_notes_name_what_is_missing_and_the_way_out():
    notes = losses(TABLE, 8, Axes((S3, FULL), (FOLD, PRUNE), ("fp32",), AXES.codecs)).notes
    assert any("S3+Ss+S1 prune in fp32" in note and "codesign accuracy" in note for note in notes)
    assert any("uint4 is not offered in every form at cut 1, 6-7" in note for note in notes)
    assert any("uint4 at cut 3-4: its loss is the larger one" in note for note in notes)
    lossless = Axes((S3,), (FOLD,), ("fp32",), ("raw", "raw+zstd"))
    assert losses(TABLE, 8, lossless).notes == ()


@pytest.mark.parametrize("table", [None, AccuracyTable("map50", 0.9, "frames", ())])
def test_without_measurements_nothing_lossy_is_known(table):
    found = losses(table, 3, AXES)
    assert np.isnan(found.codec[:, [0, 2]]).all()
    assert (found.codec[:, 1] == 0).all()
    assert (found.structure[:, 0, 0] == 0).all()
    assert np.isnan(found.structure[:, 1]).all()
    assert np.isnan(found.structure[:, :, 1]).all()


def test_ranges():
    assert ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"


def test_what_frames_cannot_resolve_is_equal():
    # 500 frames resolve 1 / 501 = 0.2 points: 0.05 and 0.19 count as none, 2.0 to 2.15 as 2.0.
    table = AccuracyTable(
        "map50",
        0.9,
        "500 frames of somewhere",
        (
            row(0.8995, precision="int8-tensor"),
            row(0.8981, structure=FULL, precision="int8-tensor"),
            row(0.88, PRUNE, precision="int8-tensor"),
            row(0.8785, PRUNE, FULL, precision="int8-tensor"),
            row(0.85, PRUNE, FULL),
            row(0.9),
            row(0.899, structure=FULL),
        ),
    )
    assert table.frames == 500
    assert table.standard_error(0.02) == pytest.approx((0.02 * 0.98 / 500) ** 0.5)
    assert table.resolution == pytest.approx(table.standard_error(table.resolution))
    found = losses(table, 4, AXES)
    expected = [[[0.0, 0.0], [np.nan, 0.02]], [[0.0, 0.0], [0.05, 0.02]]]
    np.testing.assert_allclose(found.structure, expected, atol=1e-12)
    assert any("at most 0.2 points of map50) count as equal" in note for note in found.notes)
    # Of how many frames it is is not said: nothing is taken for equal.
    assert AccuracyTable("map50", 0.9, "frames", ()).resolution == 0.0


def test_what_stands_in_for_a_measurement_is_equal_to_nothing():
    # 0.1 points at cuts 2 and 5 are within their error, what stands for cuts 3 and 4 is not known.
    table = replace(
        TABLE,
        data="500 frames",
        rows=(row(0.9), row(0.899, codec="uint4", cut=2), row(0.899, codec="uint4", cut=5)),
    )
    found = losses(table, 8, Axes((S3,), (FOLD,), ("fp32",), ("raw", "uint4")))
    np.testing.assert_allclose(found.codec[2:6, 1, 0, 0], [0, 0.001, 0.001, 0], atol=1e-12)
    errors = found.codec_error[2:6, 1, 0, 0]
    np.testing.assert_array_equal(np.isnan(errors), [False, True, True, False])
    assert any("cut 3-4: its loss is the larger" in note for note in found.notes)


def test_a_loss_is_equal_to_another_within_the_errors_that_were_measured():
    values = np.array([0.01, 0.01, 0.03, 0.05, np.nan, 0.05])
    resolutions = np.array([0.02, 0.005, 0.01, 0.025, 0.01, np.nan])
    # From 0 the second is told apart, so the first is as much; 0.03 is, and from there 0.05 is not.
    expected = [0.01, 0.01, 0.03, 0.03, np.nan, 0.05]
    np.testing.assert_allclose(level(values, resolutions), expected, atol=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 0.5))
def test_levels_keep_the_order_and_move_nothing_further_than_the_resolution(values, resolution):
    values = np.array(values)
    levels = level(values, resolution)
    assert (levels <= values).all()
    assert (values - levels <= resolution + 1e-9).all()
    order = np.argsort(values)
    assert (np.diff(levels[order]) >= 0).all()
    steps = np.diff(np.unique(np.append(levels, 0.0)))
    assert (steps > resolution - 1e-9).all()
    np.testing.assert_array_equal(level(levels, resolution), levels)
