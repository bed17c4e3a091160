"""Eq. 9 and 10 with numbers worked out by hand, and the table's file."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.cost.accuracy import AccuracyTable
from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.planning.objective import total_loss
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Structure

S3, S3_S1 = Structure.S3, Structure.S3_S1
FOLD, PRUNE = Merge.FOLD, Merge.PRUNE


def row(merge, head, tail, value, codec="raw", cut=None, precision="fp32"):
    return AccuracyRow(merge, head, tail, precision, codec, cut, value)


TABLE = AccuracyTable(
    metric="accuracy",
    reference=0.95,
    data="seed 7",
    rows=(
        row(FOLD, S3, S3, 0.96),
        row(PRUNE, S3, S3, 0.15),
        row(PRUNE, S3_S1, S3_S1, 0.85),
        row(PRUNE, S3, S3_S1, 0.01),
        row(FOLD, S3, S3, 0.94, codec="uint4", cut=5),
        row(PRUNE, S3_S1, S3_S1, 0.80, codec="uint4", cut=5),
        row(FOLD, S3, S3, 0.97, codec="uint8", cut=5),
        row(FOLD, S3_S1, S3_S1, 0.10, codec="uint8", cut=6),
    ),
)


def test_structure_loss_is_reference_less_value():
    assert TABLE.structure_loss(S3, PRUNE, "fp32").value == pytest.approx(0.80)
    assert TABLE.structure_loss(S3_S1, PRUNE, "fp32").value == pytest.approx(0.10)


def test_better_than_the_reference_is_no_loss():
    assert TABLE.structure_loss(S3, FOLD, "fp32").value == 0.0


def test_what_was_not_measured_is_not_assumed():
    assert TABLE.structure_loss(S3, PRUNE, "int8-tensor") is None
    assert TABLE.structure_loss(S3, FOLD, "int8-channel") is None
    assert TABLE.structure_loss(S3, Merge.PRUNE_BN, "fp32") is None
    # Folding in fp32 is exact.
    assert TABLE.structure_loss(S3_S1, FOLD, "fp32").value == 0.0


def test_codec_loss_is_against_the_same_network_uncut():
    # uint4 at cut 5: 0.96 - 0.94 for the folded network, 0.85 - 0.80 for the pruned one.
    assert TABLE.codec_loss(5, "uint4", "fp32", FOLD).value == pytest.approx(0.02)
    assert TABLE.codec_loss(5, "uint4", "fp32", PRUNE).value == pytest.approx(0.05)
    assert TABLE.codec_loss(5, "uint8", "fp32", FOLD).value == 0.0
    # Its uncut network was not measured, so nothing can be said about the codec.
    assert TABLE.codec_loss(6, "uint8", "fp32", FOLD) is None


def test_codec_that_was_not_measured_with_a_merge_loses_what_it_loses_with_another():
    assert TABLE.codec_loss(5, "uint4", "fp32", Merge.PRUNE_BN).value == pytest.approx(0.05)


def test_zstd_and_raw_lose_nothing_more():
    assert TABLE.codec_loss(5, "uint4+zstd", "fp32", FOLD).value == pytest.approx(0.02)
    for codec, cut in (("raw", 3), ("raw+zstd", 0)):
        assert TABLE.codec_loss(cut, codec, "int8-tensor", FOLD).value == 0.0


def test_between_measured_cuts_the_larger_loss_of_the_two_counts():
    values = {3: 0.90, 7: 0.94, 9: 0.70}
    rows = [row(FOLD, S3, S3, value, "uint8", cut) for cut, value in values.items()]
    table = AccuracyTable("map50", 0.95, "seed 7", (row(FOLD, S3, S3, 0.95), *rows))
    losses = [table.codec_loss(cut, "uint8", "fp32", FOLD) for cut in range(12)]
    assert set(losses[:3] + losses[10:]) == {None}
    assert [loss.value for loss in losses[3:10]] == pytest.approx(
        [0.05, 0.05, 0.05, 0.05, 0.01, 0.25, 0.25]
    )
    assert table.codec_loss(5, "uint8", "int8-tensor", FOLD) is None
    assert table.codec_loss(5, "fp16", "fp32", FOLD) is None


def test_total_loss_by_hand():
    # A quarter of the load on the head that loses 0.8, the rest on a tail that loses 0.1.
    assert total_loss(0.25, 0.8, 0.1) == pytest.approx(0.275)
    assert total_loss(0.0, 0.8, 0.1) == pytest.approx(0.1)
    assert total_loss(1.0, 0.8, 0.1) == pytest.approx(0.8)


share = st.floats(0.0, 1.0)


@given(share, share, share)
def test_total_loss_lies_between_the_halves(fraction, head, tail):
    total = total_loss(fraction, head, tail)
    assert min(head, tail) - 1e-12 <= total <= max(head, tail) + 1e-12


def test_json_round_trip():
    text = TABLE.to_json()
    assert AccuracyTable.from_json(text) == TABLE
    assert json.loads(text)["rows"][0] == {
        "merge": "fold",
        "head_structure": "S3",
        "tail_structure": "S3",
        "precision": "fp32",
        "codec": "raw",
        "cut": None,
        "value": 0.96,
    }
    assert "details" not in json.loads(text)


def test_another_table_adds_what_is_not_there():
    again = row(FOLD, S3, S3, 0.5)
    new = row(FOLD, S3, S3, 0.95, precision="fp16")
    at_cut = replace(new, codec="uint8", cut=3)
    other = AccuracyTable(TABLE.metric, TABLE.reference + 1e-5, "named otherwise", (new, again))
    extended = TABLE.extended(other)
    assert extended == replace(TABLE, rows=(*TABLE.rows, new))
    assert extended.extended(replace(other, rows=(at_cut,))).rows[-2:] == (new, at_cut)


@pytest.mark.parametrize(
    "change",
    [{"reference": 0.9}, {"metric": "beauty"}, {"details": {"coco.ap": 0.5}}],
)
def test_a_table_of_other_frames_is_not_added(change):
    with pytest.raises(CodesignError, match="measure on the same frames"):
        TABLE.extended(replace(TABLE, **change))


def test_details_are_kept():
    details = {"map50.helmet": 0.75, "coco.ap_small": 0.25}
    measured = AccuracyRow(FOLD, S3, S3, "int8-channel", "raw", None, 0.8, details)
    table = AccuracyTable("map50", 0.9, "seed 7", (measured,), {"map50.helmet": 0.875})
    assert AccuracyTable.from_json(table.to_json()) == table
    assert json.loads(table.to_json())["rows"][0]["details"] == details


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"reference": None}, "cannot be read"),
        ({"reference": float("nan")}, "nan is not between 0 and 1"),
        ({"rows": [{"cut": None, "merge": "melt"}]}, "'melt' is not a valid Merge"),
        ({"rows": [{"cut": True}]}, "cut must be"),
        ({"rows": [{"cut": 1}]}, "lacks the field 'merge'"),
        ({"rows": 3}, "cannot be read"),
        ({"details": 3}, "cannot be read"),
        ({"details": {"coco.ap": 2}}, "2 is not between 0 and 1"),
    ],
)
def test_malformed_tables_are_one_line(change, text):
    content = {**json.loads(TABLE.to_json()), **change}
    with pytest.raises(CodesignError, match=text) as error:
        AccuracyTable.from_json(json.dumps(content))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "[" * 100_000])
def test_not_a_table(text):
    with pytest.raises(CodesignError, match="accuracy table"):
        AccuracyTable.from_json(text)


def test_errors_are_read_where_they_are_and_bounded_where_not():
    sure = replace(row(PRUNE, S3, S3, 0.94), standard_error=0.002)
    same = replace(row(FOLD, S3, S3, 0.95, precision="fp16"), standard_error=0.0)
    sent = replace(row(PRUNE, S3, S3, 0.93, codec="uint4", cut=3), standard_error=0.004)
    table = replace(
        TABLE, data="400 frames", rows=(sure, same, sent, row(PRUNE, S3_S1, S3_S1, 0.9))
    )
    assert AccuracyTable.from_json(table.to_json()) == table
    assert json.loads(table.to_json())["rows"][1]["standard_error"] == 0.0
    assert "standard_error" not in json.loads(table.to_json())["rows"][3]
    assert table.structure_loss(S3, PRUNE, "fp32") == pytest.approx((0.01, 0.002, 0.002))
    assert table.codec_loss(3, "uint4", "fp32", PRUNE) == pytest.approx((0.01, 0.004, 0.004))
    # Without its own the least that it can be: 0.05 * 0.95 of 400 frames.
    bound = (0.05 * 0.95 / 400) ** 0.5
    assert table.structure_loss(S3_S1, PRUNE, "fp32") == pytest.approx((0.05, bound, 1 / 401))
    text = table.to_json().replace('"standard_error": 0.002', '"standard_error": -1')
    with pytest.raises(CodesignError, match="-1 is not between 0 and 1"):
        AccuracyTable.from_json(text)
