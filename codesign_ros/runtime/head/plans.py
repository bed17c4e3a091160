"""The plans of a head, with what runs each: its half, and the whole network as a stand-by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codesign_ros.bundle import Bundle
from codesign_ros.pixels.boxes import Selection
from codesign_ros.runtime.engines.pool import EnginePool
from codesign_ros.runtime.epochs import EpochTable
from codesign_ros.runtime.head.ledger import Frame
from codesign_ros.runtime.stages.engine_keys import head_key
from codesign_ros.runtime.stages.head import HeadStage
from codesign_ros.runtime.stages.leased import LeasedStage
from codesign_ros.runtime.stages.plan_check import check_plan
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan


@dataclass
class PlanStages:
    """What runs under a plan: its head, and the whole network where the server does not answer.

    ``own_tail`` finishes on the robot what the head has computed; None where that is not quicker.
    """

    following: LeasedStage[HeadStage]
    standby: LeasedStage[HeadStage]
    own_tail: LeasedStage[TailStage] | None = None

    def finishing(self, frame: Frame) -> LeasedStage[HeadStage] | LeasedStage[TailStage]:
        """What finishes a frame on the robot."""
        own_tail = self.own_tail
        if own_tail is not None and frame.encoded and own_tail.stage.plan.epoch == frame.epoch:
            return own_tail
        return self.standby

    def release(self) -> None:
        """Give the engines back."""
        for leased in (self.following, self.standby, self.own_tail):
            if leased is not None:
                leased.release()


class HeadPlans:
    """Plans by epoch. Only ``build`` may be called without the lock of the book of frames.

    Args:
        bundle: the network.
        pool: leases its engines.
        selection: asked at every answer which boxes of a detector count.
        rate_bps: asked at every frame how fast the uplink is [bit/s]; 0 = not known.
    """

    def __init__(
        self,
        bundle: Bundle,
        pool: EnginePool,
        selection: Callable[[], Selection],
        rate_bps: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._bundle = bundle
        self._pool = pool
        self._rate_bps = rate_bps
        self.selection = selection
        nothing = Plan(cut=bundle.last_cut, model_id=bundle.model_id, reason="no plan yet")
        self._epochs: EpochTable[PlanStages] = EpochTable(
            nothing, self._stages(nothing), PlanStages.release
        )

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._epochs.plan

    @property
    def stages(self) -> PlanStages:
        """What runs the plan in force."""
        return self._epochs.stage

    @property
    def is_split(self) -> bool:
        """Whether the plan in force sends anything to a server."""
        return self.plan.cut < self._bundle.last_cut

    def tail_of(self, epoch: int) -> str:
        """The tail of an epoch's plan; empty where it has none, or is not kept any more."""
        plan = self._epochs.plan_of(epoch)
        return plan.tail if plan else ""

    def stages_of(self, epoch: int) -> PlanStages:
        """What runs the plan of an epoch; that of the plan in force if it is not kept any more."""
        return self._epochs.find(epoch) or self._epochs.stage

    def answered(self, epoch: int, sequence: int, is_ok: bool) -> None:
        """Note what the tail made of a frame of an epoch; the next ones are written after it."""
        stages = self._epochs.find(epoch)
        if stages is None:
            return
        if is_ok:
            stages.following.stage.heard(sequence)
        else:
            stages.following.stage.forget(sequence)

    def not_sent(self, epoch: int, sequence: int) -> None:
        """Note that a frame that was computed does not get to the tail."""
        stages = self._epochs.find(epoch)
        if stages is not None:
            stages.following.stage.not_sent(sequence)

    def build(self, plan: Plan) -> PlanStages:
        """Build and warm what runs a plan; nothing that runs changes.

        Raises:
            CodesignError: the plan is for another network, or cannot be built.
        """
        check_plan(plan, self._bundle)
        return self._stages(plan)

    def add(self, plan: Plan, stages: PlanStages) -> None:
        """Keep a built plan ready.

        Raises:
            CodesignError: its epoch is in force, was before, or is another planner's.
        """
        self._epochs.prepare(plan, stages)

    def commit(self, epoch: int) -> Plan:
        """Put a plan that is ready in force.

        Raises:
            CodesignError: the epoch was not prepared.
        """
        return self._epochs.commit(epoch)

    def keep_own_tail(self, own_tail: LeasedStage[TailStage]) -> None:
        """Keep what runs the tail's half of a plan, unless it is not the one in force any more."""
        if own_tail.stage.plan.epoch == self.plan.epoch and self.stages.own_tail is None:
            self.stages.own_tail = own_tail
        else:
            own_tail.release()

    def drop_before(self, epoch: int) -> None:
        """Forget the plans before an epoch, never the one in force."""
        self._epochs.drop_before(epoch)

    def close(self) -> None:
        """Let go of all engines."""
        self._epochs.close()

    def _stages(self, plan: Plan) -> PlanStages:
        following = self._stage(plan)
        try:
            return PlanStages(following, self._stage(plan.standby(self._bundle.last_cut)))
        except CodesignError:
            following.release()
            raise

    def _stage(self, plan: Plan) -> LeasedStage[HeadStage]:
        lease = self._pool.lease(head_key(plan)) if plan.cut > 0 else None
        engine = lease.thing if lease else None
        stage = HeadStage(self._bundle, plan, engine, self.selection, self._rate_bps)
        return LeasedStage(stage, lease)
