"""Bytes, differences and their errors, of answers that are made up; how they are shown."""

import numpy as np
import pytest
from rich.console import Console

from codesign_ros.evaluation.rate.report import draw, tables
from codesign_ros.evaluation.rate.resampled import MATCHED
from codesign_ros.evaluation.rate.result import Found, SourceResult, Way, results
from codesign_ros.types.errors import CodesignError

CLASSES = ("person", "head")
FRAMES = 200
WAYS = [Way("raw", "raw"), Way("neck at 3", "neck.0 at 3"), Way("jpeg", "jpeg.50")]


def boxes(found):
    """In each frame a person that is found, rightly at all overlaps, or not."""
    return [np.array([(0.5, 0, 1023)][: int(each)], MATCHED) for each in found]


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    raw = rng.random(FRAMES) < 0.8
    lost = raw & (rng.random(FRAMES) < 0.9)
    matched = [boxes(way) for way in (raw, lost, raw)]
    objects = np.tile([1, 0], (FRAMES, 1))
    sent = np.stack([np.full(FRAMES, 9000), np.arange(1, FRAMES + 1), np.full(FRAMES, 70)])
    return Found(objects, sent, matched), raw.mean(), lost.mean()


def test_differences_and_their_errors(found):
    answers, raw_share, lost_share = found
    raw, neck, jpeg = results(WAYS, answers, CLASSES, block=1, count=400, threads=2)
    assert (neck.bytes_mean, neck.bytes_p95) == pytest.approx((100.5, 190.05))
    # Precision 1 up to the recall that is reached, nothing above.
    assert raw.ap.value == pytest.approx(raw_share, abs=0.01)
    assert neck.ap.difference == pytest.approx(lost_share - raw_share, abs=0.01)
    share = raw_share - lost_share
    assert neck.ap.standard_error == pytest.approx(np.sqrt(share * (1 - share) / FRAMES), rel=0.2)
    # Where answers are alike nothing is unsure, however unsure the value itself is.
    assert jpeg.ap == (raw.ap.value, 0.0, 0.0)
    assert neck.map50_by_class["person"] == neck.map50
    assert np.isnan(neck.map50_by_class["head"]).all()
    assert neck.to_json()["map50_by_class"]["head"] == dict.fromkeys(neck.ap._fields)


def test_blocks_of_frames_that_are_alike_make_it_less_sure(found):
    """Ten times each frame: as sure as of one in ten."""
    answers, *_ = found
    often = Found(
        np.repeat(answers.objects, 10, axis=0),
        np.repeat(answers.sent, 10, axis=1),
        [[frame for frame in way for _ in range(10)] for way in answers.matched],
    )
    once, single, block = (
        results(WAYS, each, CLASSES, block=block, count=200, threads=1)[1].ap.standard_error
        for each, block in ((answers, 1), (often, 1), (often, 10))
    )
    assert single < 0.5 * once
    assert block == pytest.approx(once, rel=0.15)


def test_a_way_that_cannot_carry_a_frame_is_left_out(found):
    answers, *_ = found
    answers.sent[1, 7] = -1
    left = results(WAYS, answers, CLASSES, block=1, count=2, threads=1)
    assert [way.name for way in left] == ["raw", "jpeg.50"]


def test_frames_without_objects(found):
    answers, *_ = found
    nothing = Found(np.zeros_like(answers.objects), answers.sent, answers.matched)
    with pytest.raises(CodesignError, match="the 200 frames hold no object of person, head"):
        results(WAYS, nothing, CLASSES, block=1, count=2, threads=1)


def test_what_is_shown(found, tmp_path):
    answers, *_ = found
    ways = results(WAYS, answers, CLASSES, block=20, count=5, threads=1)
    result = SourceResult("a film", FRAMES, 20, ways)
    console = Console(width=110, record=True)
    for table in tables(result):
        console.print(table)
    shown = console.export_text()
    assert "200 frames of a film" in shown
    assert "20 frames at a time" in " ".join(shown.split())
    lines = [line.split() for line in shown.splitlines()]
    (row,) = (line for line in lines if line[:3] == ["jpeg.50", "70", "70"])
    assert row[4:6] == ["+0.00", "\N{PLUS-MINUS SIGN}0.00"]
    file = tmp_path / "it.png"
    draw([result, result], file)
    assert file.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(CodesignError, match=r"cannot write .*: No such file"):
        draw([result], tmp_path / "nowhere" / "it.png")
