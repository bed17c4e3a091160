"""A stage with the lease of the engine that it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from codesign_ros.engines.base import Engine
from codesign_ros.runtime.engines.leases import Lease
from codesign_ros.runtime.stages.head import HeadStage
from codesign_ros.runtime.stages.tail import TailStage

Stage = TypeVar("Stage", HeadStage, TailStage)


@dataclass(frozen=True)
class LeasedStage(Generic[Stage]):
    """A stage, and the lease of its engine that one user has; None where it runs no engine."""

    stage: Stage
    lease: Lease[Engine] | None

    def again(self) -> LeasedStage[Stage]:
        """The same stage for one more user."""
        return LeasedStage(self.stage, self.lease.again() if self.lease else None)

    def release(self) -> None:
        """Give the engine back; the last user's release closes it. Twice is as good as once."""
        if self.lease is not None:
            self.lease.release()
