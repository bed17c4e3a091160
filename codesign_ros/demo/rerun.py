"""A run of the nodes once more in one process, to compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from codesign_ros.bundle import Bundle
from codesign_ros.data.frames import FrameSource, SourceFrame
from codesign_ros.engines.factory import open_backend
from codesign_ros.evaluation.replay import ReplayedFrame, Runner, is_same
from codesign_ros.nodes.camera_node import as_compressed
from codesign_ros.pixels.decode import COMPRESSED
from codesign_ros.runtime.answers import Answer, answer_of
from codesign_ros.runtime.messages import Result, Status
from codesign_ros.types.plan import Plan


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
        yield _run_as_then(runner, frame, plan, result)


def _run_as_then(runner: Runner, frame: SourceFrame, plan: Plan, result: Result) -> ReplayedFrame:
    """Run a frame in the way in which its result came about; the first of them where none fits.

    At which of its plan's rate levels it was sent, its payload's size tells; if it was written
    after another frame, it is the level with the same answer. What the tail did not answer, the
    robot finished with the whole network or, where that was quicker, from what it had computed for
    the tail, sent or not: it is the way with the same answer too.
    """
    codecs = dict.fromkeys((plan.codec, *plan.level_codecs))
    ways = [replace(plan, codec=codec) for codec in codecs]
    falls_back = result.finished_by == "fallback"
    if falls_back:
        ways.insert(0, plan.standby(runner.bundle.last_cut))
    tried = []
    for way in ways:
        ran = runner.run(frame, way)
        if falls_back:
            fits = is_same(answer_of(result), ran.answer)
        else:
            fits = ran.payload_bytes == result.payload_bytes
        if fits:
            return ran
        tried.append(ran)
    same = (ran for ran in tried if plan.has_neck and is_same(answer_of(result), ran.answer))
    return next(same, tried[0])
