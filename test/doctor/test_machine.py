"""What is installed, and room on disk."""

import errno
import os
from importlib.metadata import PackageNotFoundError

import pytest

from codesign_ros.doctor import machine
from codesign_ros.doctor.finding import Verdict

OK, WARN, FAIL = Verdict


def installed(**versions):
    """A look-up of versions: those named, and 1.0 of everything else; None = not there."""

    def version(name):
        at = versions.get(name.replace("-", "_"), "1.0")
        if at is None:
            raise PackageNotFoundError(name)
        return at

    return version


def test_versions_name_the_package_and_ros():
    found = machine.versions({"ROS_DISTRO": "jazzy"}, installed(codesign_ros="0.3.1"))
    assert "codesign_ros 0.3.1, ROS 2 Jazzy" in found.found


@pytest.mark.parametrize(
    ("versions", "distribution", "verdict"),
    [
        ({}, "", OK),
        ({"torch": None}, "", OK),
        ({"zstandard": None}, "", FAIL),
        ({"onnxruntime": None}, "", OK),  # onnxruntime-gpu gives the same module
        ({"onnxruntime": None, "onnxruntime_gpu": None}, "", FAIL),
        ({"numpy": "2.1.0"}, "humble", FAIL),
        ({"numpy": "1.26.4"}, "humble", OK),
        ({"numpy": "2.1.0"}, "kilted", OK),
    ],
)
def test_packages(versions, distribution, verdict):
    found = machine.packages({"ROS_DISTRO": distribution}, installed(**versions))
    assert found.verdict is verdict


def test_a_bundle(tiny_bundle, tmp_path):
    found = machine.bundle(tiny_bundle.path)
    assert (found.verdict, tiny_bundle.model_id in found.found) == (OK, True)
    assert machine.bundle(tmp_path / "none.bundle").verdict is FAIL


def test_room_on_disk(tmp_path):
    new = tmp_path / "a" / "b"
    assert machine.folder("cache", new, "X", lambda _: (10**12, 10**11)).verdict is OK
    found = machine.folder("cache", new, "CODESIGN_CACHE_DIR", lambda _: (10**12, 10**6))
    assert (found.verdict, "CODESIGN_CACHE_DIR" in found.change) == (WARN, True)
    assert not new.exists()


def test_a_folder_that_cannot_be_written(tmp_path):
    file = tmp_path / "file"
    file.touch()
    # With this one nodes end.
    found = machine.folder("cache", file, "CODESIGN_CACHE_DIR", without="nodes go on")
    assert found.verdict is FAIL


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_takes_nothing(tmp_path, monkeypatch, number):
    def refuse(**_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    found = machine.folder("cache", tmp_path, "X", without="nodes go on")
    assert (found.verdict, found.found.endswith("; nodes go on")) == (WARN, True)
    assert machine.folder("logs", tmp_path, "X").verdict is FAIL


def test_where_logs_go(tmp_path):
    assert machine.log_folder({"ROS_LOG_DIR": "/var/log/x", "ROS_HOME": "/r"}).as_posix() == (
        "/var/log/x"
    )
    assert machine.log_folder({"ROS_HOME": "/r"}).as_posix() == "/r/log"


def test_a_clock_that_was_never_set():
    assert machine.clock(3600.0).verdict is WARN
    assert machine.clock(2e9).verdict is OK


def test_a_container_with_less_than_its_cores():
    assert machine.processors(None, 4).verdict is OK
    assert machine.processors(4.0, 4).verdict is OK
    assert machine.processors(1.5, 4).verdict is WARN
