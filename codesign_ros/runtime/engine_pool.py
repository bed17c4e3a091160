"""Warm engines by key, shared by every epoch that needs the same one."""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary

from codesign_ros.engines.base import Engine, EngineKey
from codesign_ros.engines.factory import EngineFactory


class EnginePool:
    """Builds engines and warms them up, once as long as somebody uses them.

    The pool holds no engine by itself: when the last stage that runs an engine is dropped, the
    engine and its memory go too.
    """

    def __init__(self, factory: EngineFactory) -> None:
        self._factory = factory
        self._engines: WeakValueDictionary[EngineKey, Engine] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, key: EngineKey) -> Engine:
        """Return the warm engine for ``key``; build it if it is not there.

        Raises:
            ValueError: that half has no segments.
            CodesignError: the engine cannot be built.
        """
        with self._lock:
            engine = self._engines.get(key)
            if engine is None:
                engine = self._factory.build(key)
                engine.warm_up()
                self._engines[key] = engine
            return engine

    def __len__(self) -> int:
        return len(self._engines)
