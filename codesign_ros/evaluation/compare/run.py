"""All policies over one recording, frame by frame side by side, so that each is decoded once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from codesign_ros.bundle import Bundle
from codesign_ros.data.frames import FrameSource, SourceFrame
from codesign_ros.engines.factory import DEFAULT_BACKEND
from codesign_ros.evaluation.compare.answers import Answers
from codesign_ros.evaluation.compare.arrivals import Arrivals
from codesign_ros.evaluation.compare.outcome import Outcome
from codesign_ros.evaluation.compare.parts import WITHOUT_LATE_SHARE
from codesign_ros.evaluation.compare.robot import Conditions, Robot
from codesign_ros.pixels.boxes import DISPLAY_THRESHOLD
from codesign_ros.runtime.answers import Answer
from codesign_ros.runtime.planner.policy import OURS
from codesign_ros.types.boxes import GroundTruth
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

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

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not known of the frames, a line each."""
        known = sum(truth is not None for truth in self.truths)
        if known == len(self.truths):
            return ()
        return (f"truth is known of {known} of {len(self.truths)} frames",)

    def of(self, policies: Collection[str]) -> Compared:
        """The same of these policies alone.

        Raises:
            CodesignError: none of them could choose.
        """
        outcomes = {name: each for name, each in self.outcomes.items() if name in policies}
        if not outcomes:
            raise nobody_can_choose(self.unavailable)
        return replace(self, outcomes=outcomes)


@dataclass
class Judged:
    """The frames of a recording as they come, and what answers for them are held against.

    Attributes:
        bundle: the network.
        answers: runs it.
        classes: those of a detector's classes that count; None = all.
        stamps_ns: of the frames so far, in order [ns].
    """

    bundle: Bundle
    answers: Answers
    classes: Sequence[str] | None
    stamps_ns: list[int] = field(default_factory=list)
    _truths: list[GroundTruth | None] = field(default_factory=list)
    _references: list[GroundTruth] = field(default_factory=list)
    _is_labelled: bool = False

    def take(self, number: int, frame: SourceFrame) -> None:
        """Take in the next frame; the answers hold it from now on.

        Raises:
            CodesignError: it cannot be computed.
        """
        self.answers.hold(number, frame)
        self.stamps_ns.append(frame.stamp_ns)
        self._truths.append(frame.truth)
        self._is_labelled = self._is_labelled or frame.truth is not None
        if not self._is_labelled:
            whole = Plan(cut=self.bundle.last_cut, model_id=self.bundle.model_id)
            said = self.of_classes(self.answers.of(number, whole, whole.codec).answer)
            self._references.append(_as_truth(said))

    def of_classes(self, answer: Answer) -> Answer:
        """An answer without the boxes of classes that do not count."""
        if self.classes is None:
            return answer
        boxes = tuple(box for box in answer.detections if box.label in self.classes)
        return replace(answer, detections=boxes)

    def compared(self, outcomes: dict[str, Outcome], unavailable: dict[str, str]) -> Compared:
        """What came of all policies on these frames.

        Raises:
            CodesignError: there was no frame.
        """
        if not self.stamps_ns:
            raise CodesignError("there is no frame to compare policies on")
        labelled = self._is_labelled
        return Compared(
            outcomes,
            unavailable,
            tuple(self.stamps_ns),
            tuple(self._truths if labelled else self._references),
            GROUND_TRUTH if labelled else WHOLE_NETWORK,
        )


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
    """Run every frame of a source under each policy, with a simulated link.

    Args:
        source: where frames come from; it must have an end.
        bundle: the network.
        policies: names, ``cut:N``, or ``WITHOUT_LATE_SHARE``.
        conditions: what all have alike.
        arrivals: when frames come.
        backend: see ``open_backend``.
        classes: those of a detector's classes that count; None = all.
        done: called after each frame.

    Raises:
        CodesignError: no policy can choose here, there is no frame, or a frame cannot be computed.
    """
    robots: list[Robot] = []
    unavailable: dict[str, str] = {}
    with Answers.opened(bundle, backend) as answers:
        judged = Judged(bundle, answers, classes)
        for policy in policies:
            chosen, own = policy, conditions
            if policy == WITHOUT_LATE_SHARE:
                problem = replace(conditions.problem, late_share=None)
                chosen, own = OURS, replace(conditions, problem=problem)
            try:
                robots.append(Robot(chosen, own, answers, judged.of_classes, name=policy))
            except CodesignError as error:
                unavailable[policy] = str(error)
        if not robots:
            raise nobody_can_choose(unavailable)
        times = arrivals.times_s(_stamps_of(source, judged, done))
        for number, arrival_s in enumerate(times):
            for robot in robots:
                robot.offer(number, arrival_s, arrivals.window)
            answers.release_before(min(robot.oldest for robot in robots))
        outcomes = {robot.policy: robot.finish() for robot in robots if judged.stamps_ns}
        return judged.compared(outcomes, unavailable)


def nobody_can_choose(unavailable: dict[str, str]) -> CodesignError:
    """Tell that no policy can, and why, each reason once; by name."""
    why = "; ".join(dict.fromkeys(unavailable.values())) or "none was named"
    return CodesignError(f"no policy can choose here: {why}")


def refusals(unavailable: Mapping[str, str]) -> list[str]:
    """Why policies could not choose, by name: a line for each reason, with all that have it."""
    names: dict[str, list[str]] = {}
    for name, why in unavailable.items():
        names.setdefault(why, []).append(name)
    return [f"{', '.join(each)}: {why}" for why, each in names.items()]


def _stamps_of(
    source: FrameSource, judged: Judged, done: Callable[[SourceFrame], None]
) -> Iterator[int]:
    """Yield the stamps of a source, each frame taken in before and told of after."""
    for number, frame in enumerate(source):
        judged.take(number, frame)
        yield frame.stamp_ns
        done(frame)


def _as_truth(answer: Answer) -> GroundTruth:
    """What an answer says, as if it were true: the boxes that people see."""
    boxes = (box for box in answer.detections if box.score >= DISPLAY_THRESHOLD)
    return GroundTruth(answer.label, tuple(replace(box, score=1.0) for box in boxes))
