from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codesign_ros.types.errors import CodesignError
from codesign_ros.wire.neck.tables import TOTAL, CodeTables, frequencies_after, frequencies_of
from support.neck_tables import film_tables, neck_tables

TABLES = neck_tables()
FILM_TABLES = film_tables(TABLES)
AFTER = FILM_TABLES.after


@given(
    weights=hnp.arrays(
        np.int64,
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=40),
        elements=st.one_of(st.integers(0, 50), st.integers(0, 2**62)),
    )
)
def test_frequencies_are_at_least_one_and_sum_up(weights):
    weights[..., 0] += 1
    frequencies = frequencies_of(weights)
    assert frequencies.dtype == np.uint16
    assert frequencies.min() >= 1
    assert (frequencies.sum(-1, np.int64) == TOTAL).all()
    # What comes more often has no lower frequency.
    low, high = weights[..., :-1], weights[..., 1:]
    assert (frequencies[..., 1:] >= frequencies[..., :-1])[high > low].all()


def test_frequencies_by_hand():
    assert frequencies_of(np.array([1, 0])).tolist() == [TOTAL - 1, 1]
    assert frequencies_of(np.array([0.1, 0.1])).tolist() == [TOTAL // 2] * 2
    # 65533 to share: a third each is 21844 and one left, which goes to the first.
    assert frequencies_of(np.array([5, 5, 5])).tolist() == [21846, 21845, 21845]
    assert frequencies_of(np.array([0.0, 2e-300, 1e-300])).tolist() == [1, 43690, 21845]


def test_counts_and_probabilities_give_the_same():
    counts = np.random.default_rng(0).integers(0, 1000, (4, 8, 21)) + 1
    np.testing.assert_array_equal(frequencies_of(counts), frequencies_of(counts * 0.25))
    np.testing.assert_array_equal(frequencies_of(counts), frequencies_of(counts.astype(np.float32)))


@pytest.mark.parametrize(
    "weights", [[0, 0], [-1, 2], [np.nan, 1], [np.inf, 1], [[1, 1], [0, 0]], [-3.0, -1.0]]
)
def test_weights_that_say_nothing_are_refused(weights):
    with pytest.raises(CodesignError, match="finite and not negative"):
        frequencies_of(np.array(weights))


@pytest.mark.parametrize("weights", [1, [1], np.ones(257)])
def test_number_of_symbols_is_bounded(weights):
    with pytest.raises(CodesignError, match="2 to 256 symbols"):
        frequencies_of(np.array(weights))


def changed(array, value):
    array = array.copy()
    array.reshape(-1)[-1] = value
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (5, 5, 7)}, "do not fit each other"),
        ({"shape": (6, 0, 7)}, "do not fit each other"),
        ({"shape": (6, 5)}, "do not fit each other"),
        ({"gains": TABLES.gains[:1]}, "do not fit each other"),
        ({"gains": TABLES.gains[0]}, "do not fit each other"),
        ({"frequencies": TABLES.frequencies[..., :1]}, "do not fit each other"),
        ({"gains": TABLES.gains.astype(float)}, "must be float32"),
        ({"frequencies": TABLES.frequencies.astype(np.int32)}, "must be float32"),
        ({"low": 1}, "must be in -128..127 and hold 0, not 1..21"),
        ({"low": -21}, "must be in -128..127"),
        ({"low": -129}, "must be in -128..127"),
        ({"gains": changed(TABLES.gains, np.nan)}, "above zero and finite"),
        ({"gains": changed(TABLES.gains, 0)}, "above zero and finite"),
        ({"gains": changed(TABLES.gains, 1e-40)}, "above zero and finite"),
        ({"frequencies": changed(TABLES.frequencies, 0)}, "at least 1 and of sum 65536"),
        ({"frequencies": changed(TABLES.frequencies, 9)}, "at least 1 and of sum 65536"),
        ({"after": changed(AFTER, 9)}, "at least 1 and of sum 65536"),
        ({"after": AFTER.astype(np.int64)}, "not float32 and uint16, int64"),
        (
            {"after": AFTER[:, :, :4]},
            r"after a frame before do not fit the others: \(3, 6, 4, 21\)",
        ),
        ({"after": AFTER[:, :, 0]}, "after a frame before do not fit"),
        ({"after": AFTER[0, 0, 0, 0]}, "after a frame before do not fit"),
        ({"after": AFTER[..., :-1]}, "after a frame before do not fit"),
        ({"after": np.repeat(AFTER[:, :, :1], 10923, axis=2)}, "after a frame before do not fit"),
    ],
)
def test_tables_that_make_no_sense_are_refused_in_a_line(change, message):
    with pytest.raises(CodesignError, match=message) as raised:
        replace(TABLES, **change)
    assert "\n" not in str(raised.value)


def test_digest_is_of_all_that_both_ends_need():
    again = CodeTables(TABLES.gains.copy(), TABLES.frequencies.copy(), TABLES.low, TABLES.shape)
    assert again.digest == TABLES.digest
    others = [
        replace(TABLES, gains=changed(TABLES.gains, 9)),
        replace(TABLES, frequencies=TABLES.frequencies[..., ::-1].copy()[:, ::-1]),
        replace(TABLES, low=-9),
        replace(TABLES, shape=(6, 7, 5)),
        FILM_TABLES,
        replace(FILM_TABLES, after=AFTER[..., ::-1]),
    ]
    assert len({TABLES.digest, *(each.digest for each in others)}) == 7


def test_frequencies_after_by_hand():
    """One channel of codes -1, 0, 1: after -1 comes 1, after 0 comes 0, nothing after 1."""
    own = frequencies_of(np.array([[1, 2, 1]]))
    before = np.array([-1, -1, 0, 0]).reshape(2, 1, 1, 2)
    codes = np.array([1, 1, 0, 0]).reshape(2, 1, 1, 2)
    after = frequencies_after(before, codes, own, low=-1, most=1)
    assert after.shape == (1, 3, 3)
    np.testing.assert_array_equal(after[0, 0], frequencies_of(np.array([5, 10, 7])))
    np.testing.assert_array_equal(after[0, 1], frequencies_of(np.array([5, 12, 5])))
    np.testing.assert_array_equal(after[0, 2], own[0])


def test_codes_far_from_zero_before_share_a_row():
    before = np.int8([-9, -2, 0, 1, 2, 3]).reshape(1, 1, 6)
    tables = CodeTables(TABLES.gains[:, :1], TABLES.frequencies[:, :1], -10, (1, 1, 6),
                        AFTER[:, :1])  # fmt: skip
    assert tables.rows_after(before).tolist() == [0, 0, 2, 3, 4, 4]
