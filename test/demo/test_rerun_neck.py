"""Frames that were sent at several rate levels of a neck, run again."""

from codesign_ros.data.frames import SourceFrame
from codesign_ros.demo.rerun import rerun
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.nodes.camera_node import as_compressed
from codesign_ros.runtime.messages import Result, Stamp, Status
from codesign_ros.types import RateLevel
from support.runtime import plan_for
from support.tiny import tiny_frames


def test_each_frame_runs_at_the_level_that_it_was_sent_at(neck_bundle):
    height, width = neck_bundle.input.height, neck_bundle.input.width
    raw = [
        SourceFrame(number, frame.tobytes(), "rgb8", height, width, 3 * width)
        for number, frame in enumerate(tiny_frames(3, seed=8))
    ]
    source = []
    for frame in raw:
        encoding, data = as_compressed(frame)
        source.append(SourceFrame(frame.stamp_ns, data, encoding, height, width, 0))
    by_level = [
        evaluate(source, neck_bundle, cut=3, codec=f"neck.{level}").predictions
        for level in range(3)
    ]
    levels = tuple(RateLevel(level, 100.0, 0.0) for level in range(3))
    plan = plan_for(neck_bundle, 7, 3, codec="neck.1", levels=levels)
    sent = (2, 0, 1)
    results = [
        Result(
            stamp=Stamp(number), sequence=number, epoch=7, status=Status.OK, finished_by="server",
            payload_bytes=by_level[level][number].payload_bytes,
        )
        for number, level in enumerate(sent)
    ]  # fmt: skip
    again = list(rerun(raw, neck_bundle, results, [plan]))
    for number, level in enumerate(sent):
        assert again[number].answer == by_level[level][number].answer
        assert again[number].payload_bytes == by_level[level][number].payload_bytes
