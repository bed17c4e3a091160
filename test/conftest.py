"""Fixtures that tests of several rooms share."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from codesign_ros.bundle import Bundle
from support.tiny import write_tiny_bundle

# The nodes' tests need ROS 2 and the package's built messages; `make test` has both.
HAS_ROS = all(find_spec(name) for name in ("rclpy", "codesign_ros.msg"))
collect_ignore = [] if HAS_ROS else ["nodes"]


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory) -> Bundle:
    """A bundle with random weights, input 64 x 96; do not change its files."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny.bundle")


@pytest.fixture(scope="session")
def engine_cache(tmp_path_factory) -> Path:
    """One directory of exported networks for the whole session; do not change its files."""
    return tmp_path_factory.mktemp("engine_cache")


def pytest_report_header():
    return None if HAS_ROS else "no ROS 2 here: the tests of the nodes are left out"
