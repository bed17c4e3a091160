"""Engines built in the background, by a factory that does as it is told."""

import threading
from queue import Queue

import pytest

from codesign_ros.engines.base import EngineKey
from codesign_ros.runtime.engines.build_queue import BackgroundBuilds
from codesign_ros.types.errors import CodesignError

A, B = EngineKey("head", 1), EngineKey("head", 2)


class Factory:
    """Builds when it may; ``failure`` is what a build ends with."""

    def __init__(self):
        self.built, self.failure = [], None
        self.building, self.may_build = threading.Event(), threading.Event()

    def prepare(self, key, progress):
        progress(0.5, "choosing kernels")
        self.building.set()
        while not self.may_build.wait(0.01):
            progress(0.5, "choosing kernels")
        if self.failure:
            raise self.failure
        self.built.append(key)


@pytest.fixture
def factory():
    return Factory()


@pytest.fixture
def done():
    return Queue()


@pytest.fixture
def builds(factory, done):
    builds = BackgroundBuilds(factory.prepare, lambda key, why: done.put((key, why)))
    yield builds
    builds.close()


def test_one_after_the_other_and_each_once(builds, factory, done):
    for key in (A, B, A):
        builds.order(key)
    assert factory.building.wait(10)
    assert builds.status == "head cut 1 S3 fp32: 50 % choosing kernels"
    factory.may_build.set()
    assert [done.get(timeout=10) for _ in range(2)] == [(A, None), (B, None)]
    assert factory.built == [A, B]
    builds.order(A)
    assert done.get(timeout=10) == (A, None)
    assert builds.status == ""


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (CodesignError("operator Foo is refused"), "operator Foo is refused"),
        (KeyError("x"), "unexpected KeyError: 'x'"),
    ],
)
def test_a_failure_costs_one_engine(builds, factory, done, failure, why):
    factory.may_build.set()
    factory.failure = failure
    builds.order(A)
    assert done.get(timeout=10) == (A, why)
    factory.failure = None
    builds.order(B)
    assert done.get(timeout=10) == (B, None)


def test_a_listener_that_fails_costs_no_engine(factory):
    factory.may_build.set()
    told = Queue()

    def listen(key, why):
        told.put(key)
        raise ValueError("nobody foresaw this")

    builds = BackgroundBuilds(factory, listen)
    for key in (A, B):
        builds.order(key)
    assert [told.get(timeout=10) for _ in range(2)] == [A, B]
    builds.close()


def test_closing_gives_up_what_is_under_way(builds, factory, done):
    builds.order(A)
    builds.order(B)
    assert factory.building.wait(10)
    builds.close()
    assert done.empty()
    assert factory.built == []
