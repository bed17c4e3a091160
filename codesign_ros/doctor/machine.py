"""What is installed on this machine, its clock, and its room on disk."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from codesign_ros.bundle import Bundle, BundleError
from codesign_ros.console import data_size
from codesign_ros.doctor.finding import Finding, fail, ok, warn
from codesign_ros.doctor.shared_memory import Usage, usage_of
from codesign_ros.engines.cache import TAKES_NOTHING

# Distributions that the nodes import, beside torch, which only the export of a form needs.
_NEEDED = (
    "numpy", "opencv-python-headless", "onnxruntime", "onnx", "safetensors", "zstandard", "PyYAML",
    "rosbags", "rich",
)  # fmt: skip
# Others that give the same module.
_INSTEAD = {
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv"),
    "onnxruntime": ("onnxruntime-gpu",),
}
# Whose messages are compiled against numpy 1.
_NUMPY_1 = ("humble", "jazzy")
# A bundle's forms and a log of some days [bytes].
_LEAST_FREE_BYTES = 1_000_000_000
# When this was written; a clock that is before was never set [s since 1970].
_BUILT_S = 1_767_225_600

Version = Callable[[str], str]


def package_version() -> str:
    """Version of this package; empty where it was not installed."""
    try:
        return metadata.version("codesign_ros")
    except metadata.PackageNotFoundError:
        return ""


def versions(environment: Mapping[str, str], version: Version = metadata.version) -> Finding:
    """What runs here, to be compared with the other machine's."""
    distribution = environment.get("ROS_DISTRO", "")
    ros = f"ROS 2 {distribution.capitalize()}" if distribution else "ROS 2 from PyPI"
    found = (
        f"codesign_ros {_find('codesign_ros', version) or 'unknown'}, {ros}, "
        f"Python {platform.python_version()}, {platform.machine()}"
    )
    return ok("versions", found)


def packages(environment: Mapping[str, str], version: Version = metadata.version) -> Finding:
    """Whether the Python packages that the nodes import are there."""
    check, install = "packages", "pip install -r requirements/robot.txt in the nodes' environment"
    found = {name: _find(name, version) for name in _NEEDED}
    missing = [name for name, at in found.items() if not at]
    if missing:
        return fail(check, f"not installed: {', '.join(missing)}", install)
    numpy = found["numpy"]
    if environment.get("ROS_DISTRO") in _NUMPY_1 and not numpy.startswith("1."):
        return fail(
            check,
            f"numpy {numpy}, but the messages of this ROS are compiled against numpy 1",
            install,
        )
    torch = _find("torch", version)
    forms = f"torch {torch}" if torch else "no torch: networks are exported elsewhere"
    return ok(check, f"onnxruntime {found['onnxruntime']}, numpy {numpy}, {forms}")


def _find(name: str, version: Version) -> str:
    for each in (name, *_INSTEAD.get(name, ())):
        try:
            return version(each)
        except metadata.PackageNotFoundError:
            continue
    return ""


def bundle(path: Path) -> Finding:
    """Whether the model bundle here is whole."""
    try:
        opened = Bundle.open(path)
    except BundleError as error:
        change = "copy it from the other machine, or name another with --bundle"
        return fail("bundle", str(error), change)
    return ok("bundle", f"{opened.name}, network {opened.model_id} ({path})")


def folder(
    check: str, path: Path, variable: str, usage: Usage | None = None, *, without: str = ""
) -> Finding:
    """Whether a folder that nodes write to can be written, and has room.

    Args:
        check: what it is for.
        path: the folder; it need not be there yet.
        variable: of the environment, that names another.
        usage: see ``shared_memory.room``.
        without: what happens where it takes nothing; empty = nodes cannot go on.
    """
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    elsewhere = f"name another folder in {variable}"
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        _, free = (usage or usage_of)(there)
    except OSError as error:
        found = f"{path} cannot be written: {error.strerror}"
        if without and error.errno in TAKES_NOTHING:
            return warn(check, f"{found}; {without}", elsewhere)
        return fail(check, found, elsewhere)
    found = f"{data_size(free)} free in {path}"
    if free < _LEAST_FREE_BYTES:
        return warn(check, found, f"free some, or {elsewhere}")
    return ok(check, found)


def log_folder(environment: Mapping[str, str]) -> Path:
    """Where ROS writes its logs."""
    if named := environment.get("ROS_LOG_DIR"):
        return Path(named)
    return Path(environment.get("ROS_HOME") or Path.home() / ".ros") / "log"


def clock(now_s: float | None = None) -> Finding:
    """Whether the clock was ever set.

    Args:
        now_s: what it shows [s since 1970]; None = look.
    """
    shown_s = time.time() if now_s is None else now_s
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(shown_s))
    if shown_s < _BUILT_S:
        change = "timedatectl set-ntp true, or date -s; nodes go on, stamps and logs are wrong"
        return warn("clock", f"{text}: it was never set", change)
    return ok("clock", text)


def processors(quota: float | None, count: int | None = None) -> Finding:
    """How many cores there are for nodes, and whether a container has less.

    Args:
        quota: of this process's cgroup [cores]; None = it has none.
        count: of cores; None = look.
    """
    cores = count or len(os.sched_getaffinity(0))
    if quota is not None and quota < cores:
        return warn(
            "processors",
            f"{cores}, of which this container may use {quota:g} in the long run: short "
            "measurements are faster than what follows",
            "start it without a limit (--cpus), or with --cpuset-cpus in its place",
        )
    return ok("processors", str(cores))
