"""One bundle, factory and pool for all nodes of a process that want the same."""

import contextlib
import shutil
import threading

import pytest

from codesign_ros.bundle import Bundle
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import open_backend
from codesign_ros.runtime.engines import share as engine_share
from codesign_ros.runtime.engines.share import EngineShare
from codesign_ros.types.errors import CodesignError
from support.runtime import PATIENCE_S, no_thread_left


@pytest.fixture
def opened(monkeypatch, engine_cache):
    """Factories as they are made, and how often each was closed."""
    monkeypatch.setenv("CODESIGN_CACHE_DIR", str(engine_cache))
    made = []

    def open_(*args, **kwargs):
        factory = open_backend(*args, **kwargs)
        close, factory.closed = factory.close, 0

        def counted():
            factory.closed += 1
            close()

        factory.close = counted
        made.append(factory)
        return factory

    monkeypatch.setattr(engine_share, "open_backend", open_)
    return made


def test_nodes_that_want_the_same_get_the_same(tiny_bundle, opened):
    engines = EngineShare()
    one = engines.acquire(tiny_bundle.path)
    two = engines.acquire(tiny_bundle.path / ".." / tiny_bundle.path.name)
    assert one.bundle is two.bundle
    assert one.factory is two.factory
    assert one.pool is two.pool
    assert one.bundle.model_id == tiny_bundle.model_id
    assert (one.users, two.users, len(opened)) == (2, 2, 1)
    leases = [share.pool.lease(EngineKey("tail", 4)) for share in (one, two)]
    assert leases[0].thing is leases[1].thing
    assert len(one.pool) == 1
    leases[0].release()
    engines.release(one)
    engines.release(one)  # twice is as good as once
    assert (two.users, opened[0].closed) == (1, 0)
    leases[1].release()
    engines.release(two)
    assert opened[0].closed == 1


def test_a_factory_stays_open_for_the_engines_in_use(tiny_bundle, opened):
    engines = EngineShare()
    share = engines.acquire(tiny_bundle.path)
    lease = share.pool.lease(EngineKey("tail", 4))
    engines.release(share)
    assert opened[0].closed == 0
    with pytest.raises(CodesignError, match="closed"):
        share.pool.lease(EngineKey("tail", 5))
    lease.thing.warm_up()
    again = engines.acquire(tiny_bundle.path)  # a new one, of which the old one is no part
    assert again.factory is not share.factory
    engines.release(again)
    assert [factory.closed for factory in opened] == [0, 1]
    lease.release()
    assert [factory.closed for factory in opened] == [1, 1]


@pytest.mark.parametrize("can_be_built", [True, False])
def test_a_factory_stays_open_for_an_engine_that_is_being_built(
    tiny_bundle, opened, can_be_built, monkeypatch
):
    engines = EngineShare()
    share = engines.acquire(tiny_bundle.path)
    building, go_on = threading.Event(), threading.Event()
    real_build = share.factory.build

    def slow_build(key):
        building.set()
        assert go_on.wait(PATIENCE_S)
        assert opened[0].closed == 0
        if not can_be_built:
            raise CodesignError("out of memory")
        return real_build(key)

    monkeypatch.setattr(share.factory, "build", slow_build)

    def prepare():
        with contextlib.suppress(CodesignError):
            share.pool.lease(EngineKey("tail", 4)).release()

    with no_thread_left():
        thread = threading.Thread(target=prepare)
        thread.start()
        assert building.wait(PATIENCE_S)
        engines.release(share)
        go_on.set()
        thread.join()
    assert opened[0].closed == 1


@pytest.mark.parametrize(
    "other", [{"threads": 2}, {"backend": "torch"}], ids=["threads", "backend"]
)
def test_nodes_that_want_something_else_have_their_own(tiny_bundle, opened, other):
    engines = EngineShare()
    one = engines.acquire(tiny_bundle.path)
    two = engines.acquire(tiny_bundle.path, **other)
    assert one.pool is not two.pool
    assert (two.factory.backend, two.factory.threads) == (
        other.get("backend", "onnxruntime"),
        other.get("threads", 1),
    )
    engines.release(two)
    assert [factory.closed for factory in opened] == [0, 1]
    engines.release(one)


def test_another_share_has_its_own(tiny_bundle, opened):
    shares = EngineShare(), EngineShare()
    pairs = [(engines, engines.acquire(tiny_bundle.path)) for engines in shares]
    assert len(opened) == 2
    for engines, share in pairs:
        engines.release(share)
    assert [factory.closed for factory in opened] == [1, 1]


def test_a_bundle_is_opened_anew_after_the_last(tiny_bundle, tmp_path, opened):
    engines = EngineShare()
    path = tmp_path / "moved.bundle"
    with pytest.raises(CodesignError, match=f"there is no bundle at {path}"):
        engines.acquire(path)
    shutil.copytree(tiny_bundle.path, path)
    share = engines.acquire(path)  # the failure was not kept
    engines.release(share)
    shutil.rmtree(path)
    with pytest.raises(CodesignError, match="there is no bundle"):
        engines.acquire(path)
    assert [factory.closed for factory in opened] == [1]


def test_a_factory_that_cannot_be_made_is_not_kept(tiny_bundle):
    engines = EngineShare()
    for _ in range(2):
        with pytest.raises(CodesignError, match="abacus"):
            engines.acquire(tiny_bundle.path, backend="abacus")


def test_nodes_that_ask_at_the_same_time_open_it_once(tiny_bundle, opened, monkeypatch):
    engines = EngineShare()
    count = 6
    asked, opening, go_on = threading.Semaphore(0), [], threading.Event()
    real_open = Bundle.open

    def slow_open(path):
        opening.append(path)
        assert go_on.wait(PATIENCE_S)
        return real_open(path)

    monkeypatch.setattr(engine_share.Bundle, "open", slow_open)
    shares = []

    def configure():
        asked.release()
        shares.append(engines.acquire(tiny_bundle.path))

    with no_thread_left():
        threads = [threading.Thread(target=configure) for _ in range(count)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert asked.acquire(timeout=PATIENCE_S)
        go_on.set()
        for thread in threads:
            thread.join()
    assert len(opening) == 1
    assert {share.pool for share in shares} == {shares[0].pool}
    assert shares[0].users == count
    for share in shares:
        engines.release(share)
    assert [factory.closed for factory in opened] == [1]
