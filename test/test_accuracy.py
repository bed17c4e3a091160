"""Eq. 9 and 10 with numbers worked out by hand, and the table's file."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.cost.accuracy import AccuracyRow, AccuracyTable, total_loss
from codesign_ros.types import CodesignError, Merge, Structure

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
    assert TABLE.structure_loss(S3, PRUNE, "fp32") == pytest.approx(0.80)
    assert TABLE.structure_loss(S3_S1, PRUNE, "fp32") == pytest.approx(0.10)


def test_better_than_the_reference_is_no_loss():
    assert TABLE.structure_loss(S3, FOLD, "fp32") == 0.0


def test_what_was_not_measured_is_not_assumed():
    assert TABLE.structure_loss(S3_S1, FOLD, "fp32") is None
    assert TABLE.structure_loss(S3, FOLD, "int8") is None


def test_codec_loss_is_against_the_same_network_uncut():
    # uint4 at cut 5: 0.96 - 0.94 for the folded network, 0.85 - 0.80 for the pruned one.
    assert TABLE.codec_loss(5, "uint4", "fp32") == pytest.approx(0.05)
    assert TABLE.codec_loss(5, "uint8", "fp32") == 0.0
    assert TABLE.codec_loss(4, "uint4", "fp32") == 0.0
    # Its uncut network was not measured, so nothing can be said about the codec.
    assert TABLE.codec_loss(6, "uint8", "fp32") == 0.0


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


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"reference": None}, "cannot be read"),
        ({"reference": float("nan")}, "nan is not between 0 and 1"),
        ({"rows": [{"cut": None, "merge": "melt"}]}, "'melt' is not a valid Merge"),
        ({"rows": [{"cut": True}]}, "cut must be"),
        ({"rows": [{"cut": 1}]}, "lacks the field 'merge'"),
        ({"rows": 3}, "cannot be read"),
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
