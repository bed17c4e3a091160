"""How much of the processor this process may use in the long run, by its cgroup.

Containers and services are given a quota of processor time in each period (cpu.cfs_quota_us of
version 1, cpu.max of version 2; kernel documentation, "CFS Bandwidth Control"). Within a period a
process runs at full speed and then stands still, so that a short run tells nothing of the quota.
"""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def cpu_quota(membership: Path = _MEMBERSHIP, root: Path = _ROOT) -> float | None:
    """Return the least quota of this process's cgroup and those above it [cores]; None = no quota.

    Args:
        membership: lists the process's cgroups, as /proc/self/cgroup.
        root: where cgroups are mounted.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None  # no Linux
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found += [_version_2(folder) for folder in _upwards(root, path)]
        elif "cpu" in controllers.split(","):
            tops = [root / controllers, root / "cpu"]
            found += [_version_1(folder) for top in tops for folder in _upwards(top, path)]
    return min((quota for quota in found if quota is not None), default=None)


def usable_cores() -> float:
    """Return what this process may use of the machine's processors in the long run [cores]."""
    # Which of them it may run on is asked where Linux tells it.
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else min(quota, cores)


def _upwards(top: Path, path: str) -> list[Path]:
    """The folder of a cgroup, those above it, up to the top."""
    parts = [part for part in path.split("/") if part]
    return [top.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]


def _version_1(folder: Path) -> float | None:
    quota_us, period_us = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return _cores(quota_us, period_us)


def _version_2(folder: Path) -> float | None:
    quota_us, _, period_us = _read(folder / "cpu.max").partition(" ")
    return _cores(quota_us, period_us)


def _cores(quota_us: str, period_us: str) -> float | None:
    # "max" and -1 are no quota, and so is a file that is not there.
    if not quota_us.isdecimal() or not period_us.isdecimal() or int(period_us) == 0:
        return None
    return int(quota_us) / int(period_us)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
