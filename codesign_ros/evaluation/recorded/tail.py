"""A tail tested without its partners: recorded embeddings through it, beside recorded answers."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Column, Table

from codesign_ros.bundle import Bundle
from codesign_ros.console import right, slim_table
from codesign_ros.engines.base import Engine
from codesign_ros.engines.factory import DEFAULT_BACKEND, open_backend
from codesign_ros.evaluation.replay import is_same
from codesign_ros.runtime.answers import Answer
from codesign_ros.runtime.recorded import RecordedFrame
from codesign_ros.runtime.stages.engine_keys import tail_key
from codesign_ros.runtime.stages.plan_check import check_plan
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan


@dataclass
class PlanReplay:
    """What came of the frames of one plan.

    Attributes:
        robot, plan: whose, and which.
        same, different: frames whose recorded answer this tail gives, and gives otherwise.
        unanswered: frames whose answer was not recorded; this tail answers them.
        refused: frames that this tail does not answer, by the reason.
        differing: numbers of the frames that are answered otherwise.
        tail_s, recorded_tail_s: what tails took for a frame, this one and the recorded one [s].
    """

    robot: str
    plan: Plan | None
    same: int = 0
    different: int = 0
    unanswered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    differing: list[int] = field(default_factory=list)
    tail_s: list[float] = field(default_factory=list)
    recorded_tail_s: list[float] = field(default_factory=list)

    @property
    def words(self) -> str:
        """The plan in words."""
        if self.plan is None:
            return "no plan in the bag"
        plan = self.plan
        return f"cut {plan.cut}, {plan.codec}, {plan.precision}, {plan.tail_structure.value}"

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file; times as medians, null where there are none."""
        return {
            "robot": self.robot,
            "epoch": None if self.plan is None else self.plan.epoch,
            "plan": self.words,
            "same": self.same,
            "different": self.different,
            "unanswered": self.unanswered,
            "refused": dict(self.refused),
            "differing": self.differing,
            "tail_s": _median(self.tail_s),
            "recorded_tail_s": _median(self.recorded_tail_s),
        }


def replay_tail(
    frames: Iterable[RecordedFrame],
    bundle: Bundle,
    backend: str = DEFAULT_BACKEND,
    done: Callable[[], None] = lambda: None,
) -> list[PlanReplay]:
    """Run recorded embeddings through the tails of a bundle, each under the plan that it had.

    Args:
        frames: in the order in which they were recorded.
        bundle: the network; may be another than the one that was recorded, which refuses all.
        backend: see ``open_backend``.
        done: called after each frame.

    Returns:
        What came of each plan, in the order in which they come first.
    """
    found: dict[tuple[str, int | None], PlanReplay] = {}
    stages: dict[tuple[str, int], TailStage] = {}
    engines: dict[Any, Engine] = {}
    with contextlib.ExitStack() as stack:
        factory = stack.enter_context(contextlib.closing(open_backend(bundle, backend, threads=1)))

        def stage_of(robot: str, plan: Plan) -> TailStage:
            check_plan(plan, bundle)
            if plan.cut >= bundle.last_cut:
                raise CodesignError("the plan leaves nothing to a tail")
            if (robot, plan.epoch) not in stages:
                key = tail_key(plan)
                if key not in engines:
                    engines[key] = stack.enter_context(contextlib.closing(factory.build(key)))
                stages[robot, plan.epoch] = TailStage(bundle, plan, engines[key])
            return stages[robot, plan.epoch]

        for frame in frames:
            plan = frame.plan
            row = found.setdefault(
                (frame.robot, plan.epoch if plan else None), PlanReplay(frame.robot, plan)
            )
            try:
                answer = _answer(frame, stage_of, row)
            except CodesignError as error:
                row.refused[str(error)] += 1
            else:
                _compare(frame, answer, row)
            done()
    return list(found.values())


def replay_table(rows: Iterable[PlanReplay]) -> Table:
    """One row a plan."""
    table = slim_table(
        "recorded embeddings through this tail",
        Column("robot"),
        *right("epoch"),
        Column("plan"),
        *right("same", "different", "unanswered", "refused", "tail ms", "recorded"),
    )
    for row in rows:
        table.add_row(
            row.robot or "-",
            "-" if row.plan is None else str(row.plan.epoch),
            row.words,
            *map(str, (row.same, row.different, row.unanswered, row.refused.total())),
            *(_ms(_median(times_s)) for times_s in (row.tail_s, row.recorded_tail_s)),
        )
    return table


def _answer(
    frame: RecordedFrame, stage_of: Callable[[str, Plan], TailStage], row: PlanReplay
) -> Answer:
    embedding, plan = frame.embedding, frame.plan
    if plan is None:
        raise CodesignError("the bag has no plan of its epoch, or two of them")
    stage = stage_of(frame.robot, plan)
    if (embedding.model_id, embedding.cut) != (plan.model_id, plan.cut):
        raise CodesignError("it is of another network or cut than the plan of its epoch")
    tensors = stage.decode(embedding.tensors, (embedding.session, embedding.sequence))
    start_s = time.perf_counter()
    answer = stage.run(tensors)
    row.tail_s.append(time.perf_counter() - start_s)
    return answer


def _compare(frame: RecordedFrame, answer: Answer, row: PlanReplay) -> None:
    if frame.answer is None:
        row.unanswered += 1
        return
    row.recorded_tail_s.append(frame.answer.tail_s)
    if is_same(answer, frame.answer):
        row.same += 1
    else:
        row.different += 1
        row.differing.append(frame.embedding.sequence)


def _median(values_s: list[float]) -> float | None:
    return float(np.median(values_s)) if values_s else None


def _ms(value_s: float | None) -> str:
    return "-" if value_s is None else f"{1e3 * value_s:.2f}"
