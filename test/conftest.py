"""Options, and fixtures that tests of several rooms share."""

import sys
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import settings

from codesign_ros.bundle import Bundle
from support.sampling import covering
from support.tiny import write_tiny_bundle
from support.tiny_neck import with_losses, write_tiny_neck
from support.two_maps import LATER, TWO, write_two_maps_bundle

# The nodes' tests need ROS 2 and the package's built messages; `make test` has both.
HAS_ROS = all(find_spec(name) for name in ("rclpy", "codesign_ros.msg"))
collect_ignore = [] if HAS_ROS else ["nodes"]

# How long an example takes says nothing where several tests share the machine.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_addoption(parser):
    parser.addoption(
        "--every-combination",
        action="store_true",
        help="run every combination of parameters where otherwise a sample is taken",
    )


@pytest.hookimpl(trylast=True)  # of what -k and -m leave
def pytest_collection_modifyitems(config, items):
    """Leave a sample of each test that is marked ``sample``, and nothing that is ``test_all``."""
    if config.getoption("--every-combination"):
        return
    sampled = [item for item in items if item.get_closest_marker("sample")]
    left_out = {item for item in items if item.get_closest_marker("test_all")}
    for name, group in groupby(sorted(sampled, key=_test_of), _test_of):
        # Values need not be hashable; those of one parameter are the same objects in all items.
        by_combination = {tuple(map(id, item.callspec.params.values())): item for item in group}
        chosen = covering(by_combination, seed=name)
        left_out.update(by_combination[each] for each in by_combination.keys() - set(chosen))
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))


def _test_of(item):
    """The test's name without its parameters."""
    return item.nodeid.partition("[")[0]


@pytest.fixture(autouse=True)
def _one_thread_again():
    """Commands set torch's threads for the whole process; several that wait for each other where
    tests share the cores make what follows many times slower."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory) -> Bundle:
    """A bundle with random weights, input 64 x 96; do not change its files."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny.bundle")


@pytest.fixture(scope="session")
def neck_bundle(tmp_path_factory, tiny_bundle) -> Bundle:
    """The tiny bundle with an untrained neck at cut 3; do not change its files."""
    path = tmp_path_factory.mktemp("bundles") / "neck.bundle"
    return with_losses(write_tiny_neck(path, tiny_bundle), 3)


@pytest.fixture(scope="session")
def two_maps_bundle(tmp_path_factory) -> Bundle:
    """An imported network of which two maps cross cuts 3 and 4; do not change its files."""
    return write_two_maps_bundle(tmp_path_factory.mktemp("bundles") / "two_maps.bundle")


@pytest.fixture(scope="session", params=["one map", "two maps", "own tail"])
def each_neck_bundle(request, tmp_path_factory) -> Bundle:
    """A bundle with an untrained neck at cut 3; do not change its files."""
    if request.param == "one map":
        return request.getfixturevalue("neck_bundle")
    if request.param == "own tail":
        path = tmp_path_factory.mktemp("bundles") / "own_tail.bundle"
        plain = request.getfixturevalue("tiny_bundle")
        return with_losses(write_tiny_neck(path, plain, own_tail=True), 3)
    path = tmp_path_factory.mktemp("bundles") / "two_maps_neck.bundle"
    plain = request.getfixturevalue("two_maps_bundle")
    return with_losses(write_tiny_neck(path, plain, TWO, LATER), TWO)


@pytest.fixture(scope="session")
def engine_cache(tmp_path_factory) -> Path:
    """One directory of exported networks for the whole session; do not change its files."""
    return tmp_path_factory.mktemp("engine_cache")


def pytest_report_header():
    return None if HAS_ROS else "no ROS 2 here: the tests of the nodes are left out"
