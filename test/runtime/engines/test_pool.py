"""Who owns an engine: built once, closed by its last user, never while somebody has it."""

import random
import threading

import pytest

from codesign_ros.engines.base import EngineKey
from codesign_ros.runtime.engines.pool import EnginePool
from codesign_ros.types.errors import CodesignError
from support.runtime import PATIENCE_S, no_thread_left, wait_until

KEYS = [EngineKey("tail", cut) for cut in range(5)]


class CountedEngine:
    """Fails the test if it is used after its end, or ended twice."""

    def __init__(self, key, factory):
        self.key = key
        self._factory = factory
        self.is_open = True

    def warm_up(self, runs=2):
        assert self.is_open
        self._factory.warmed.append(self.key)
        if self.key in self._factory.too_large:
            raise CodesignError("out of GPU memory")

    def run(self, tensors):
        assert self.is_open, "run after close"
        return tensors

    def close(self):
        assert self.is_open, "closed twice"
        self.is_open = False
        with self._factory.lock:
            self._factory.open.remove(self)


class CountingFactory:
    """Makes ``CountedEngine``; a key in ``held`` is built once its event is set."""

    def __init__(self):
        self.lock = threading.Lock()
        self.open = []
        self.built = []
        self.warmed = []
        self.held = {}
        self.failing = set()
        self.too_large = set()

    def build(self, key):
        with self.lock:
            self.built.append(key)
        if key in self.held:
            assert self.held[key].wait(PATIENCE_S)
        if key in self.failing:
            raise CodesignError(f"operator of cut {key.cut} is not known")
        engine = CountedEngine(key, self)
        with self.lock:
            self.open.append(engine)
        return engine


@pytest.fixture
def factory():
    return CountingFactory()


@pytest.fixture
def pool(factory):
    return EnginePool(factory)


def on_thread(work):
    """Run ``work`` on a thread; return it and the list that gets what was returned or raised."""
    outcome = []

    def run():
        try:
            outcome.append(work())
        except CodesignError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def test_the_last_lease_closes(pool, factory):
    first = pool.lease(KEYS[1])
    second = pool.lease(KEYS[1])
    third = second.again()
    assert first.thing is second.thing is third.thing
    assert (first.users, len(pool), factory.built) == (3, 1, [KEYS[1]])
    for lease in (first, first, second):  # twice is as good as once
        lease.release()
        assert third.thing.is_open
    third.release()
    assert (len(pool), factory.open, third.thing.is_open) == (0, [], False)
    with pytest.raises(CodesignError, match="closed"):
        third.again()


def test_engines_are_warm_before_anybody_has_them(pool, factory):
    pool.lease(KEYS[0]).release()
    assert factory.warmed == [KEYS[0]]


def test_after_the_last_lease_it_is_built_anew(pool, factory):
    pool.lease(KEYS[0]).release()
    lease = pool.lease(KEYS[0])
    assert lease.thing.is_open
    assert len(factory.built) == 2


def test_an_engine_that_is_there_waits_for_no_other_s_build(pool, factory):
    there = pool.lease(KEYS[0])
    factory.held[KEYS[1]] = threading.Event()
    with no_thread_left():
        thread, outcome = on_thread(lambda: pool.lease(KEYS[1]))
        wait_until(lambda: KEYS[1] in factory.built)
        again = pool.lease(KEYS[0])  # on this thread: it would wait for ever
        assert again.thing is there.thing
        other = pool.lease(KEYS[2])
        assert outcome == []
        factory.held[KEYS[1]].set()
        thread.join()
    for lease in (there, again, other, *outcome):
        lease.release()
    assert factory.open == []


def test_all_who_wait_for_a_build_get_the_same(pool, factory):
    factory.held[KEYS[0]] = threading.Event()
    with no_thread_left():
        waiting = [on_thread(lambda: pool.lease(KEYS[0])) for _ in range(8)]
        wait_until(lambda: factory.built)
        factory.held[KEYS[0]].set()
        for thread, _ in waiting:
            thread.join()
    leases = [outcome[0] for _, outcome in waiting]
    assert factory.built == [KEYS[0]]
    assert {lease.thing for lease in leases} == set(factory.open)
    for lease in leases:
        assert lease.thing.is_open
        lease.release()
    assert factory.open == []


def test_a_failed_build_reaches_all_who_wait_and_is_not_kept(pool, factory):
    factory.failing.add(KEYS[0])
    factory.held[KEYS[0]] = threading.Event()
    with no_thread_left():
        waiting = [on_thread(lambda: pool.lease(KEYS[0])) for _ in range(4)]
        wait_until(lambda: pool._leases._kept and pool._leases._kept[KEYS[0]].users == 4)
        factory.held[KEYS[0]].set()
        for thread, _ in waiting:
            thread.join()
    assert [str(outcome[0]) for _, outcome in waiting] == ["operator of cut 0 is not known"] * 4
    assert len(factory.built) == 1
    assert len(pool) == 0
    factory.failing.clear()
    pool.lease(KEYS[0]).release()
    assert factory.open == []


def test_an_engine_that_cannot_warm_up_is_closed(pool, factory):
    factory.too_large.add(KEYS[3])
    with pytest.raises(CodesignError, match="out of GPU memory"):
        pool.lease(KEYS[3])
    assert (len(pool), factory.open) == (0, [])


@pytest.mark.parametrize("seed", range(3))
def test_many_users_on_many_threads(pool, factory, seed):
    """None is left open, none is closed while somebody has it."""

    def use(seed):
        rng = random.Random(seed)
        leases = []
        for _ in range(300):
            if leases and rng.random() < 0.5:
                leases.pop(rng.randrange(len(leases))).release()
            elif leases and rng.random() < 0.3:
                leases.append(rng.choice(leases).again())
            else:
                leases.append(pool.lease(rng.choice(KEYS)))
            for lease in leases:
                lease.thing.run({})
        for lease in leases:
            lease.release()
        return "done"

    with no_thread_left():
        users = [on_thread(lambda n=n: use(10 * seed + n)) for n in range(6)]
        for thread, _ in users:
            thread.join()
    assert [outcome for _, outcome in users] == [["done"]] * 6
    assert (len(pool), factory.open) == (0, [])


def test_what_making_and_closing_frees_is_given_back(monkeypatch):
    factory, given_back = CountingFactory(), []
    monkeypatch.setattr(
        "codesign_ros.runtime.engines.pool.give_back_freed",
        lambda: given_back.append((list(factory.warmed), len(factory.open))),
    )
    pool = EnginePool(factory)
    lease = pool.lease(KEYS[1])
    assert given_back == [([KEYS[1]], 1)]  # once it is warm
    pool.lease(KEYS[1]).release()
    assert len(given_back) == 1
    lease.release()
    assert given_back[1:] == [([KEYS[1]], 0)]  # once it is closed
