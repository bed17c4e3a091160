"""One bundle, one engine factory and one pool of engines for all nodes of a process."""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from codesign_ros.bundle import Bundle
from codesign_ros.engines.factory import DEFAULT_BACKEND, EngineFactory, open_backend
from codesign_ros.runtime.engines.leases import Lease, Leases
from codesign_ros.runtime.engines.pool import EnginePool
from codesign_ros.runtime.engines.turns import FairTurns


@dataclass(frozen=True)
class _Wanted:
    bundle: Path
    backend: str
    threads: int
    settings: Hashable


@dataclass(frozen=True)
class _Opened:
    bundle: Bundle
    factory: EngineFactory
    pool: EnginePool
    turns: FairTurns


class Share:
    """What one node has of an ``EngineShare``, until it gives it back.

    Attributes:
        bundle: the network.
        factory: makes its engines.
        pool: its engines that are in use.
        turns: whose frames run next, among all nodes that have the same.
    """

    def __init__(self, lease: Lease[_Opened]) -> None:
        self.bundle = lease.thing.bundle
        self.factory = lease.thing.factory
        self.pool = lease.thing.pool
        self.turns = lease.thing.turns
        self.lease = lease

    @property
    def users(self) -> int:
        """Nodes that have the same bundle, factory and pool, this one among them."""
        return self.lease.users


class EngineShare:
    """Opens a bundle once for all nodes of a process that want it with the same engines.

    They then have one copy of the weights, one CUDA context, and of each engine one. Several nodes
    may ask at the same time on different threads: opening takes long, and all get the same. A
    bundle whose files change is opened anew once nobody uses it any more.
    """

    def __init__(self) -> None:
        self._leases: Leases[_Wanted, _Opened] = Leases(_open, lambda opened: opened.pool.close())

    def acquire(
        self,
        bundle: Path,
        backend: str = DEFAULT_BACKEND,
        threads: int = 1,
        settings: Hashable = None,
    ) -> Share:
        """Open a bundle, or join those who have it open.

        Args:
            bundle: the bundle's directory.
            backend: see ``open_backend``.
            threads: likewise.
            settings: likewise.

        Raises:
            CodesignError: the bundle cannot be read, or the backend cannot be used here. Nothing is
                kept of it: the next call tries again.
        """
        return Share(
            self._leases.lease(_Wanted(Path(os.path.realpath(bundle)), backend, threads, settings))
        )

    def release(self, share: Share) -> None:
        """Give back what ``acquire`` gave; the last one closes the factory.

        Where an engine is still in use, or being built on another thread, that is when it is gone:
        a factory may hold what its engines cannot do without.
        """
        share.lease.release()


def _open(wanted: _Wanted) -> _Opened:
    bundle = Bundle.open(wanted.bundle)
    factory = open_backend(bundle, wanted.backend, threads=wanted.threads, settings=wanted.settings)
    return _Opened(bundle, factory, EnginePool(factory), FairTurns(factory.runs_at_once))
