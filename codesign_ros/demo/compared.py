"""Policies compared on real nodes: the recording once under each of them, over DDS."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from codesign_ros.bundle import Bundle
from codesign_ros.data.frames import FrameSource
from codesign_ros.demo.playing import STALL_TIMEOUT_S
from codesign_ros.demo.stage import Stage
from codesign_ros.evaluation.compare.answers import Answers
from codesign_ros.evaluation.compare.outcome import Outcome, PlanInForce
from codesign_ros.evaluation.compare.parts import WITHOUT_CORRECTION
from codesign_ros.evaluation.compare.run import Compared, Judged, nobody_can_choose
from codesign_ros.runtime.answers import Answer, answer_of
from codesign_ros.runtime.messages import DropReason, Result, Status
from codesign_ros.runtime.planner.policy import OURS
from codesign_ros.simulation.pipeline import Finished, Passage
from codesign_ros.testbed.setup import PLANNER
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan


def compare_on_nodes(
    stage: Stage,
    source: FrameSource,
    bundle: Bundle,
    policies: Sequence[str],
    backend: str,
    classes: Sequence[str] | None,
    look: Callable[[str, int], None],
) -> Compared:
    """Play the recording once under each policy.

    Args:
        stage: the nodes.
        source: the same frames, for their truth, or for what the whole network says of them here.
        bundle: the network.
        policies: names, ``cut:N``, or ``WITHOUT_CORRECTION``.
        backend: see ``open_backend``; of the whole network.
        classes: those of a detector's classes that count; None = all.
        look: told the policy and its number of results, again and again.

    Raises:
        CodesignError: no policy can choose here, a node ended, results stayed away, or the camera
            plays other frames.
    """
    unavailable: dict[str, str] = {}
    outcomes: dict[str, Outcome] = {}
    with Answers.opened(bundle, backend) as answers:
        judged = Judged(bundle, answers, classes)
        for number, frame in enumerate(source):
            judged.take(number, frame)
            answers.release_before(number + 1)
    corrects = True
    # The first pass counts nothing: engines, caches and what the planner learns are cold.
    for number, policy in enumerate([policies[0], *policies]):
        try:
            if (policy != WITHOUT_CORRECTION) != corrects:
                corrects = not corrects
                stage.observer.set_parameter(PLANNER, "correct", corrects)
            stage.choose(policy if corrects else OURS)
        except CodesignError as error:
            stage.check()  # a node that ended is no matter of the policy
            unavailable[policy] = str(error)
            continue
        start_s, plans = time.monotonic(), len(stage.observer.plans)
        stage.playing.play()
        if not stage.playing.to_end(partial(look, policy)):
            raise CodesignError(f"{policy}: no result for {STALL_TIMEOUT_S:.0f} s")
        stage.playing.pause()
        if number == 0:
            continue
        in_force = [
            (at_s - start_s, plan) for at_s, plan in stage.observer.plans[max(0, plans - 1) :]
        ]
        outcomes[policy] = outcome_of(
            policy,
            stage.playing.results,
            in_force,
            len(judged.stamps_ns),
            bundle.last_cut,
            judged.of_classes,
        )
    if not outcomes:
        raise nobody_can_choose(unavailable)
    return judged.compared(outcomes, unavailable)


def outcome_of(
    policy: str,
    results: Sequence[Result],
    plans: Sequence[tuple[float, Plan]],
    frames: int,
    last_cut: int,
    of_classes: Callable[[Answer], Answer] = lambda answer: answer,
) -> Outcome:
    """What came of a policy, from the results of all frames.

    Time is the robot's, from the first frame's stamp on. A result tells of all its waiting at once:
    it is the robot's here.

    Args:
        policy: its name.
        results: at least one a frame; frames that cannot be decoded are left out.
        plans: in force, with the time since the begin [s], the first before it.
        frames: how many there should be.
        last_cut: N.
        of_classes: applied to every answer.

    Raises:
        CodesignError: there are results of another number of frames.
    """
    first: dict[int, Result] = {}
    for result in results:
        if result.drop_reason is not DropReason.UNREADABLE:
            first.setdefault(result.stamp.stamp_ns, result)
    if len(first) != frames:
        raise CodesignError(
            f"{policy}: results of {len(first)} frames where the source has {frames}: the camera "
            "plays other frames of it"
        )
    start_ns = min(first)
    passages, answers = [], {}
    for number, (stamp_ns, result) in enumerate(sorted(first.items())):
        arrival_s = 1e-9 * (stamp_ns - start_ns)
        passage = _passage(number, arrival_s, result)
        passages.append(passage)
        if result.status is Status.OK:
            answers[number] = of_classes(answer_of(result))
    return Outcome(
        policy,
        tuple(passages),
        answers,
        tuple(
            PlanInForce.of(plan, max(0.0, at_s), plan.link_bps, last_cut) for at_s, plan in plans
        ),
    )


def _passage(number: int, arrival_s: float, result: Result) -> Passage:
    is_answered = result.status is Status.OK
    took_s = result.response_s if result.response_s > 0 else 0.0  # NaN where it is not known
    head_s, tail_s = result.head_s + result.encode_s, result.queue_s + result.decode_s
    tail_s += result.tail_s
    wait_s = max(0.0, took_s - head_s - result.link_s - tail_s)
    return Passage(
        number=number,
        arrival_s=arrival_s,
        begin_s=arrival_s + wait_s,
        done_s=arrival_s + took_s,
        finished=Finished(result.finished_by) if is_answered else Finished.DROPPED,
        head_s=head_s,
        link_s=result.link_s,
        tail_s=tail_s,
        sent_bytes=float(result.payload_bytes),
    )
