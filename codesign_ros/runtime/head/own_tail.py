"""The tail's half on the robot, to finish the frames with whose embedding the server goes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from codesign_ros.bundle import Bundle
from codesign_ros.runtime.engines.leases import Lease
from codesign_ros.runtime.engines.pool import EnginePool
from codesign_ros.runtime.head.book import FrameBook
from codesign_ros.runtime.head.plans import HeadPlans
from codesign_ros.runtime.stages.engine_keys import head_key, tail_key
from codesign_ros.runtime.stages.leased import LeasedStage
from codesign_ros.runtime.stages.tail import TailStage
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

_log = logging.getLogger(__name__)

# A plan that has been in force for so long is worth the memory, and the work, which takes as much
# of the processor as some twenty frames [s].
SETTLED_S = 10.0
# The tail's half must take so much less than the whole network: as share of it.
_WORTH = 0.8
_RUNS = 3


class OwnTail:
    """Leases the tail's engine of the plan in force, where that finishes a frame sooner.

    Both ways are timed once, on the robot, on a thread of its own; the tail's engine is kept as
    long as the plan, which takes its weights and its buffers in memory once more. Where engines are
    built ahead, for minutes, none is: the whole network is there.

    Args:
        bundle: the network.
        pool: leases its engines.
        plans: take the stage.
        book: its lock guards them.
    """

    def __init__(self, bundle: Bundle, pool: EnginePool, plans: HeadPlans, book: FrameBook) -> None:
        self._bundle = bundle
        self._pool = pool
        self._plans = plans
        self._book = book
        self._changed = threading.Condition()
        self._wanted: tuple[Plan, float] | None = None
        self._is_worth: dict[tuple[Hashable, Hashable], bool] = {}
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="own-tail", daemon=True)
        self._thread.start()

    def follow(self, plan: Plan) -> None:
        """Note the plan in force."""
        is_split = plan.server_available and 0 < plan.cut < self._bundle.last_cut
        with self._changed:
            wanted = is_split and not self._pool.builds_ahead
            self._wanted = (plan, time.monotonic() + SETTLED_S) if wanted else None
            self._changed.notify_all()

    def close(self) -> None:
        """Stop; what the plans have taken is theirs."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while (plan := self._next()) is not None:
            try:
                self._get_ready(plan)
            except CodesignError as error:
                _log.warning("the tail's half is not run on the robot: %s", error)
            except Exception:
                self._book.error(f"the tail's half of epoch {plan.epoch} could not be made ready")

    def _next(self) -> Plan | None:
        """Wait for a plan that has settled; None when closed."""
        with self._changed:
            while self._is_open:
                left_s = None if self._wanted is None else self._wanted[1] - time.monotonic()
                if self._wanted is not None and left_s is not None and left_s <= 0:
                    plan, self._wanted = self._wanted[0], None
                    return plan
                self._changed.wait(left_s)
        return None

    def _get_ready(self, plan: Plan) -> None:
        keys = tail_key(plan), head_key(plan.standby(self._bundle.last_cut))
        if not self._is_worth.get(keys, True):
            return
        lease = self._pool.lease(keys[0])
        try:
            if keys not in self._is_worth:
                self._is_worth[keys] = self._is_quicker(lease, self._pool.lease(keys[1]))
            if self._is_worth[keys]:
                stage = TailStage(self._bundle, plan, lease.thing, self._plans.selection)
                with self._book.lock:
                    self._plans.keep_own_tail(LeasedStage(stage, lease.again()))
        finally:
            lease.release()

    @staticmethod
    def _is_quicker(tail: Lease[Any], whole: Lease[Any]) -> bool:
        """Time both ways of finishing a frame; gives back the lease of the whole network."""
        try:
            tail_s, whole_s = quickest_s(
                (lambda: tail.thing.warm_up(runs=1), lambda: whole.thing.warm_up(runs=1))
            )
        finally:
            whole.release()
        return tail_s <= _WORTH * whole_s


def quickest_s(works: Sequence[Callable[[], object]]) -> list[float]:
    """Shortest time that each takes of a few, which are taken in turns [s]."""
    best_s = [float("inf")] * len(works)
    for _ in range(_RUNS):
        for number, work in enumerate(works):
            started_s = time.perf_counter()
            work()
            best_s[number] = min(best_s[number], time.perf_counter() - started_s)
    return best_s
