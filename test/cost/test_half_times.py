"""Times of halves: written and read, stretched, put together."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesign_ros.cost.half_times import Extent, HalfTimes
from codesign_ros.types.forms import BRANCH_STRUCTURES, PRECISIONS, HalfForm, Merge, Structure

S3, S3_SS, S3_S1, FULL = BRANCH_STRUCTURES
INT8 = "int8-tensor"
SCALED = HalfForm(3, S3_SS, precision=INT8)

TIMES = HalfTimes(
    {HalfForm(0): 0.125, HalfForm(3): 0.25, HalfForm(3, precision=INT8): 0.0625, SCALED: 0.5},
    frozenset({SCALED}),
    {(0, "jpeg"): 0.25},
    {(0, "jpeg"): 1234.5},
)

sizes = st.floats(0, 1e300)
forms = st.builds(
    HalfForm, st.integers(0, 200), *map(st.sampled_from, (Structure, Merge, PRECISIONS))
)


@st.composite
def half_times(draw):
    half_s = draw(st.dictionaries(forms, sizes, max_size=8))
    codec_s = draw(st.dictionaries(st.tuples(st.integers(0, 200), st.text()), sizes, max_size=4))
    return HalfTimes(
        half_s,
        frozenset(form for form in half_s if draw(st.booleans())),
        codec_s,
        {key: draw(sizes) for key in codec_s},
        payload_scale={(*key, INT8): draw(sizes) for key in codec_s if draw(st.booleans())},
    )


@given(half_times())
def test_times_survive_being_written(times):
    assert HalfTimes.from_json(json.loads(json.dumps(times.to_json()))) == times


def test_rows_without_a_merge_were_folded():
    halves = [[3, "S3+Ss", "fp32", 0.5, False], [3, "S3", INT8, 0.25, True]]
    times = HalfTimes.from_json({"halves": halves, "codecs": []})
    scaled = HalfForm(3, S3_SS, Merge.FOLD, "fp32")
    assert times == HalfTimes(
        {scaled: 0.5, HalfForm(3, S3, Merge.FOLD, INT8): 0.25}, frozenset({scaled})
    )


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "3",
        '{"halves": 3, "codecs": []}',
        '{"halves": [3], "codecs": []}',
        '{"halves": [[1, "S3", "fold", "fp32", -0.5, true]], "codecs": []}',
        '{"halves": [[1, "S3", "fold", "fp32", NaN, true]], "codecs": []}',
        '{"halves": [[1, "S3", "fold", "fp32", null, true]], "codecs": []}',
        '{"halves": [[Infinity, "S3", "fold", "fp32", 0.5, true]], "codecs": []}',
        '{"halves": [[1, "S3", "fp32", 0.5]], "codecs": []}',
        '{"halves": [[1, "S9", "fold", "fp32", 0.5, true]], "codecs": []}',
        '{"halves": [[1, "S3", "glue", "fp32", 0.5, true]], "codecs": []}',
        '{"halves": [], "codecs": [[0, "jpeg", 0.5, -1]]}',
        '{"halves": [], "codecs": [[0, "jpeg", 0.5]]}',
    ],
)
def test_what_is_something_else_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        HalfTimes.from_json(json.loads(text))


@pytest.mark.parametrize(("slowdown", "factor"), [(0.0, 1), (0.5, 1), (1.0, 1), (4.0, 4)])
def test_a_slower_device_takes_longer_and_sends_the_same(slowdown, factor):
    slow = TIMES.stretched(slowdown)
    assert slow.half_s == {form: factor * time_s for form, time_s in TIMES.half_s.items()}
    assert slow.codec_s == {(0, "jpeg"): 0.25 * factor}
    assert (slow.codec_bytes, slow.estimated) == (TIMES.codec_bytes, TIMES.estimated)


def test_payloads_of_a_precision():
    scaled = replace(TIMES, payload_scale={(0, "jpeg", INT8): 0.5, (1, "raw", INT8): 3.0})
    assert scaled.payload_bytes(INT8) == {(0, "jpeg"): 617.25}
    assert scaled.payload_bytes("fp32") == TIMES.payload_bytes(INT8) == TIMES.codec_bytes


def test_what_was_measured():
    assert TIMES.measured_s.keys() == TIMES.half_s.keys() - {SCALED}
    assert replace(TIMES, estimated=frozenset()).measured_s == TIMES.half_s


def test_newer_times_overwrite_but_spare_what_was_timed():
    older = HalfTimes(
        {HalfForm(3): 1.0, HalfForm(3, S3_SS): 2.0, HalfForm(3, FULL): 4.0, HalfForm(2, FULL): 3.0},
        frozenset({HalfForm(3, FULL), HalfForm(2, FULL)}),
        {(0, "jpeg"): 1.0, (0, "raw"): 2.0},
        {(0, "jpeg"): 10.0, (0, "raw"): 20.0},
    )
    int8 = {HalfForm(3, precision=INT8): 0.5}
    newer = HalfTimes(
        {HalfForm(3): 1.5, HalfForm(3, S3_SS): 2.5, HalfForm(3, FULL): 4.5, HalfForm(3, S3_S1): 3.5}
        | int8,
        frozenset({HalfForm(3, S3_SS), HalfForm(3, FULL), HalfForm(3, S3_S1)}),
        {(0, "jpeg"): 1.5},
        {(0, "jpeg"): 15.0},
    )
    both = older.updated(newer)
    assert both.half_s == {**newer.half_s, HalfForm(3, S3_SS): 2.0, HalfForm(2, FULL): 3.0}
    assert both.estimated == {HalfForm(3, FULL), HalfForm(3, S3_S1), HalfForm(2, FULL)}
    assert both.codec_s == {(0, "jpeg"): 1.5, (0, "raw"): 2.0}
    assert both.codec_bytes == {(0, "jpeg"): 15.0, (0, "raw"): 20.0}
    timed = replace(newer, estimated=frozenset())
    assert older.updated(timed).half_s == {**timed.half_s, HalfForm(2, FULL): 3.0}
    assert older.updated(timed).estimated == {HalfForm(2, FULL)}


@given(half_times(), half_times())
def test_nothing_is_lost_and_what_was_timed_stays_so(older, newer):
    both = older.updated(newer)
    assert both.half_s.keys() == older.half_s.keys() | newer.half_s.keys()
    assert both.measured_s == {**older.measured_s, **newer.measured_s}
    assert both.estimated <= both.half_s.keys()
    assert older.updated(older) == older
    assert HalfTimes({}).updated(newer) == newer.updated(HalfTimes({})) == newer


def test_an_extent_has_s3_in_fp32_and_what_is_asked_for():
    assert Extent((2, 0, 2), (FULL,), (INT8, "fp32")).halves(9) == [
        HalfForm(cut, structure, precision=precision)
        for structure in (S3, FULL)
        for precision in ("fp32", INT8)
        for cut in (0, 2)
    ]
    assert len(Extent().halves(9)) == 10 * len(BRANCH_STRUCTURES)


def test_it_stands_on_values_alone():
    said = subprocess.run(
        [sys.executable, "-c", "import codesign_ros.cost.half_times, sys; print(*sys.modules)"],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    loaded = said.stdout.split()
    assert {name for name in loaded if name.partition(".")[0] == "codesign_ros"} == {
        "codesign_ros",
        "codesign_ros.cost",
        "codesign_ros.cost.half_times",
        "codesign_ros.types",
        "codesign_ros.types.errors",
        "codesign_ros.types.forms",
    }
    assert not {"cv2", "torch", "onnxruntime"} & {*loaded}
