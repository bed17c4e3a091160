"""The plans that a tail has ready, by epoch, and how long each is still needed."""

from __future__ import annotations

from collections.abc import Callable

from codesign_ros.bundle import Bundle
from codesign_ros.pixels.boxes import Selection
from codesign_ros.runtime.engines.pool import EnginePool
from codesign_ros.runtime.epochs import EpochTable
from codesign_ros.runtime.messages import Embedding
from codesign_ros.runtime.stages.engine_keys import tail_key
from codesign_ros.runtime.stages.leased import LeasedStage
from codesign_ros.runtime.stages.plan_check import check_plan
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.plan import Plan

# A head that has sent nothing for so long needs no old epoch [s].
_HEAD_GONE_S = 10.0


class TailPlans:
    """Epochs with what runs them. The tail's lock is held at all calls but ``build``.

    Args:
        bundle: the network.
        pool: leases its engines.
        selection: which boxes of a detector are answers.
    """

    def __init__(
        self, bundle: Bundle, pool: EnginePool, selection: Callable[[], Selection]
    ) -> None:
        self._bundle = bundle
        self._pool = pool
        self._selection = selection
        nothing = Plan(cut=bundle.last_cut, model_id=bundle.model_id, reason="no plan yet")
        self._epochs: EpochTable[LeasedStage[TailStage] | None] = EpochTable(nothing, None, release)
        # Of each start of a head: when it was heard, and the epochs that it still needs.
        self._needed: dict[int, tuple[float, tuple[int, int]]] = {}

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._epochs.plan

    @property
    def epochs(self) -> tuple[int, ...]:
        """Epochs whose embeddings are accepted, oldest first."""
        return self._epochs.epochs

    @property
    def sessions(self) -> list[int]:
        """The starts of heads that were heard lately."""
        return list(self._needed)

    def build(self, plan: Plan) -> LeasedStage[TailStage] | None:
        """Build and warm the tail of a plan; None where that half is empty.

        Raises:
            CodesignError: the plan is for another network, or it cannot be built.
        """
        check_plan(plan, self._bundle)
        if plan.cut >= len(self._bundle.segments):
            return None
        lease = self._pool.lease(tail_key(plan))
        return LeasedStage(TailStage(self._bundle, plan, lease.thing, self._selection), lease)

    def add(self, plan: Plan, leased: LeasedStage[TailStage] | None) -> None:
        """Have a plan ready.

        Raises:
            CodesignError: its epoch is taken.
        """
        self._epochs.prepare(plan, leased)

    def commit(self, epoch: int) -> None:
        """Put a plan in force.

        Raises:
            CodesignError: the epoch was not prepared.
        """
        self._epochs.commit(epoch)

    def find(self, epoch: int) -> LeasedStage[TailStage] | None:
        """What runs the embeddings of an epoch; None where it is not prepared or has no tail."""
        return self._epochs.find(epoch)

    def drop_drained(self, embedding: Embedding, now_s: float) -> None:
        """Let go of the epochs that no head needs any more, by a sound embedding of one of them.

        Two heads may be there for a while, and neither knows what the other has in flight. None is
        believed beyond the epoch of its own embedding.
        """
        needed = embedding.oldest_epoch, embedding.epoch
        self._needed[embedding.session] = now_s, needed
        self._needed = {
            session: (heard_s, epochs)
            for session, (heard_s, epochs) in self._needed.items()
            if now_s - heard_s <= _HEAD_GONE_S
        }
        self._epochs.drop_before(*(e for _, epochs in self._needed.values() for e in epochs))

    def close(self) -> None:
        """Give all engines back."""
        self._epochs.close()


def release(leased: LeasedStage[TailStage] | None) -> None:
    """Give a tail's engine back, if there is one."""
    if leased is not None:
        leased.release()
