"""All policies over one recording, frame by frame side by side, so that each is decoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from codesign_ros.bundle import Bundle
from codesign_ros.data.frames import FrameSource, SourceFrame
from codesign_ros.engines.factory import DEFAULT_BACKEND
from codesign_ros.evaluation.compare.answers import Answers
from codesign_ros.evaluation.compare.arrivals import Arrivals
from codesign_ros.evaluation.compare.robot import Conditions, Outcome, Robot
from codesign_ros.pixels.boxes import DISPLAY_THRESHOLD
from codesign_ros.runtime.answers import Answer
from codesign_ros.types import CodesignError, GroundTruth, Plan

GROUND_TRUTH = "ground truth"
WHOLE_NETWORK = "the uncut network in fp32"
"""What answers are held against: without ground truth, what the whole network says."""


@dataclass(frozen=True)
class Compared:
    """What came of a comparison.

    Attributes:
        outcomes: of each policy that could choose, by name.
        unavailable: why the others could not, by name.
        stamps_ns: of the frames, in order [ns].
        truths: what is in each frame; None = not known.
        truth_is: where that is from, ``GROUND_TRUTH`` or ``WHOLE_NETWORK``.
    """

    outcomes: dict[str, Outcome]
    unavailable: dict[str, str]
    stamps_ns: tuple[int, ...]
    truths: tuple[GroundTruth | None, ...]
    truth_is: str


def compare(
    source: FrameSource,
    bundle: Bundle,
    policies: Sequence[str],
    conditions: Conditions,
    arrivals: Arrivals,
    *,
    backend: str = DEFAULT_BACKEND,
    classes: Sequence[str] | None = None,
    done: Callable[[SourceFrame], None] = lambda frame: None,
) -> Compared:
    """Run every frame of a source under each policy.

    Args:
        source: where frames come from; it must have an end.
        bundle: the network.
        policies: names, or ``cut:N``.
        conditions: what all have alike.
        arrivals: when frames come.
        backend: see ``open_backend``.
        classes: those of a detector's classes that count; None = all.
        done: called after each frame.

    Raises:
        CodesignError: no policy can choose here, there is no frame, or a frame cannot be computed.
    """

    def of_classes(answer: Answer) -> Answer:
        if classes is None:
            return answer
        boxes = tuple(box for box in answer.detections if box.label in classes)
        return replace(answer, detections=boxes)

    whole = Plan(cut=bundle.last_cut, model_id=bundle.model_id)
    robots: list[Robot] = []
    unavailable: dict[str, str] = {}
    stamps_ns: list[int] = []
    truths: list[GroundTruth | None] = []
    references: list[GroundTruth] = []
    with Answers.opened(bundle, backend) as answers:
        for policy in policies:
            try:
                robots.append(Robot(policy, conditions, answers, of_classes))
            except CodesignError as error:
                unavailable[policy] = str(error)
        if not robots:
            raise CodesignError(
                f"no policy can choose here: {'; '.join(unavailable.values()) or 'none was named'}"
            )
        times = arrivals.times_s(_noted(source, stamps_ns, truths, answers, done))
        for number, arrival_s in enumerate(times):
            if not any(truths):
                whole_answer = of_classes(answers.of(number, whole, whole.codec).answer)
                references.append(_as_truth(whole_answer))
            for robot in robots:
                robot.offer(number, arrival_s, arrivals.window)
            answers.release_before(min(robot.oldest for robot in robots))
        if not stamps_ns:
            raise CodesignError("there is no frame to compare policies on")
        outcomes = {robot.policy: robot.finish() for robot in robots}
    known = any(truths)
    return Compared(
        outcomes,
        unavailable,
        tuple(stamps_ns),
        tuple(truths if known else references),
        GROUND_TRUTH if known else WHOLE_NETWORK,
    )


def _noted(
    source: FrameSource,
    stamps_ns: list[int],
    truths: list[GroundTruth | None],
    answers: Answers,
    done: Callable[[SourceFrame], None],
) -> Iterator[int]:
    """Yield the stamps of a source, each frame noted before and told of after."""
    for number, frame in enumerate(source):
        stamps_ns.append(frame.stamp_ns)
        truths.append(frame.truth)
        answers.hold(number, frame)
        yield frame.stamp_ns
        done(frame)


def _as_truth(answer: Answer) -> GroundTruth:
    """What an answer says, as if it were true: the boxes that people see."""
    boxes = (box for box in answer.detections if box.score >= DISPLAY_THRESHOLD)
    return GroundTruth(answer.label, tuple(replace(box, score=1.0) for box in boxes))
