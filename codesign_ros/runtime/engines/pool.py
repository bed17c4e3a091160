"""Warm engines by key, shared by every epoch and every node that needs the same one."""

from __future__ import annotations

from codesign_ros.engines.base import Engine, EngineKey
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.hardware.heap import give_back_freed
from codesign_ros.runtime.engines.leases import Lease, Leases


class EnginePool:
    """Builds engines and warms them up, once as long as somebody uses them.

    The pool holds no engine by itself: the last lease that is given back closes the engine. An
    engine that is there is had at once, whatever else is being built.

    Args:
        factory: makes the engines.
    """

    def __init__(self, factory: EngineFactory) -> None:
        self._factory = factory
        self._leases: Leases[EngineKey, Engine] = Leases(self._build, _close)

    def lease(self, key: EngineKey) -> Lease[Engine]:
        """Lease the warm engine for ``key``; build it if it is not there.

        Raises:
            ValueError: that half has no segments.
            CodesignError: the engine cannot be built, or the pool is closed.
        """
        return self._leases.lease(key)

    @property
    def builds_ahead(self) -> bool:
        """Whether an engine that is not there may take minutes; see ``EngineFactory``."""
        return self._factory.builds_ahead

    def close(self) -> None:
        """Build nothing any more; close the factory once no engine is left, which may be now."""
        self._leases.close(self._factory.close)

    def __len__(self) -> int:
        """Engines that are there or being built."""
        return len(self._leases)

    def _build(self, key: EngineKey) -> Engine:
        engine = self._factory.build(key)
        try:
            engine.warm_up()
        except BaseException:
            engine.close()
            raise
        give_back_freed()  # what it took to make it is as much again
        return engine


def _close(engine: Engine) -> None:
    engine.close()
    give_back_freed()
