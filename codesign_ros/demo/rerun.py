"""A run of the nodes once more in one process, to compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from codesign_ros.bundle import Bundle
from codesign_ros.data.frames import FrameSource, SourceFrame
from codesign_ros.engines.factory import open_backend
from codesign_ros.evaluation.replay import ReplayedFrame, Runner
from codesign_ros.nodes.camera_node import as_compressed
from codesign_ros.pixels.decode import COMPRESSED
from codesign_ros.runtime.answers import Answer
from codesign_ros.runtime.messages import Result, Status
from codesign_ros.types import NECK_CODECS, Plan


def rerun(
    source: FrameSource, bundle: Bundle, results: Sequence[Result], plans: Sequence[Plan]
) -> Iterator[ReplayedFrame]:
    """Run each frame again, under the plan by which its result came about.

    Args:
        source: what the camera played; raw pictures are compressed as it does.
        bundle: the network.
        results: one for each frame, in frame order.
        plans: those that were in force.

    Yields:
        The answer for each frame; an empty one where the frame was dropped.
    """
    runner = Runner(bundle, open_backend(bundle))
    first = Plan(cut=bundle.last_cut, model_id=bundle.model_id)
    by_epoch = {plan.epoch: plan for plan in plans}
    for frame, result in zip(source, results, strict=False):
        if result.status is not Status.OK:
            yield ReplayedFrame(frame.stamp_ns, Answer(), frame.truth, 0)
            continue
        if frame.encoding not in COMPRESSED:
            encoding, data = as_compressed(frame)
            frame = replace(frame, encoding=encoding, data=data)
        plan = by_epoch.get(result.epoch, first)
        # What the tail did not answer was finished by the robot.
        if result.finished_by == "fallback":
            plan = plan.standby(bundle.last_cut)
        yield _at_its_level(runner, frame, plan, result.payload_bytes)


def _at_its_level(
    runner: Runner, frame: SourceFrame, plan: Plan, payload_bytes: int
) -> ReplayedFrame:
    """Run a frame at the rate level of a neck that it was sent at, which its payload's size tells.

    Where the robot finished a frame nothing crossed, and no level fits: then it is the plan's own.
    """
    own = runner.run(frame, plan)
    others = [NECK_CODECS[each.level] for each in plan.levels]
    for codec in others if own.payload_bytes != payload_bytes else ():
        other = runner.run(frame, replace(plan, codec=codec))
        if other.payload_bytes == payload_bytes:
            return other
    return own
