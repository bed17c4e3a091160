"""Frames that were sent at several rate levels of a neck, run again."""

from dataclasses import replace

import pytest

from codesign_ros.data.frames import SourceFrame
from codesign_ros.demo.rerun import rerun
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.evaluation.replay import is_same
from codesign_ros.nodes.camera_node import as_compressed
from codesign_ros.runtime.messages import Result, Stamp, Status
from codesign_ros.types.plan import RateLevel
from support.runtime import plan_for
from support.tiny import tiny_frames

LEVELS = tuple(RateLevel(level, 100.0, 0.0) for level in range(3))


@pytest.fixture(scope="module")
def frames(neck_bundle):
    """Three raw frames."""
    height, width = neck_bundle.input.height, neck_bundle.input.width
    return [
        SourceFrame(number, frame.tobytes(), "rgb8", height, width, 3 * width)
        for number, frame in enumerate(tiny_frames(3, seed=8))
    ]


@pytest.fixture(scope="module")
def source(frames):
    """They as the camera compresses them."""
    return [
        replace(frame, data=data, encoding=encoding, step=0)
        for frame in frames
        for encoding, data in [as_compressed(frame)]
    ]


@pytest.fixture(scope="module")
def by_level(source, neck_bundle):
    """What each rate level makes of them."""
    return [
        evaluate(source, neck_bundle, cut=3, codec=f"neck.{level}").predictions
        for level in range(3)
    ]


def test_each_frame_runs_at_the_level_that_it_was_sent_at(neck_bundle, frames, by_level):
    plan = plan_for(neck_bundle, 7, 3, codec="neck.1", levels=LEVELS)
    sent = (2, 0, 1)
    results = [
        Result(
            stamp=Stamp(number), sequence=number, epoch=7, status=Status.OK, finished_by="server",
            payload_bytes=by_level[level][number].payload_bytes,
        )
        for number, level in enumerate(sent)
    ]  # fmt: skip
    again = list(rerun(frames, neck_bundle, results, [plan]))
    for number, level in enumerate(sent):
        assert again[number].answer == by_level[level][number].answer
        assert again[number].payload_bytes == by_level[level][number].payload_bytes


def test_a_frame_that_was_written_after_another_runs_at_the_level_that_has_its_answer(
    neck_bundle, frames, by_level
):
    """Its payload is smaller than that of any level."""
    plan = plan_for(neck_bundle, 7, 3, codec="neck.1", levels=LEVELS)
    sent = (2, 0, 1)
    results = [
        Result(
            stamp=Stamp(number), sequence=number, epoch=7, status=Status.OK, finished_by="server",
            payload_bytes=1, **vars(by_level[level][number].answer),
        )
        for number, level in enumerate(sent)
    ]  # fmt: skip
    again = list(rerun(frames, neck_bundle, results, [plan]))
    for number, level in enumerate(sent):
        assert again[number].answer == by_level[level][number].answer


def test_a_frame_that_the_robot_finished_runs_in_the_way_that_has_its_answer(
    neck_bundle, frames, source, by_level
):
    plan = plan_for(neck_bundle, 7, 3, codec="neck.1", levels=LEVELS)
    whole = evaluate(source, neck_bundle, cut=neck_bundle.last_cut).predictions
    # The second from what it had computed for the tail at level 2, of which nothing was sent.
    expected = [whole[0].answer, by_level[2][1].answer]
    assert not is_same(expected[1], whole[1].answer)
    results = [
        Result(
            stamp=Stamp(number), sequence=number, epoch=7, status=Status.OK, payload_bytes=0,
            finished_by="fallback", **vars(answer),
        )
        for number, answer in enumerate(expected)
    ]  # fmt: skip
    again = list(rerun(frames, neck_bundle, results, [plan]))
    assert [frame.answer for frame in again] == expected
