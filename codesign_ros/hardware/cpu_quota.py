"""How much of the processor this process may use in the long run, by its cgroup.

Containers and services are given a quota of processor time in each period (cpu.cfs_quota_us of
version 1, cpu.max of version 2; kernel documentation, "CFS Bandwidth Control"). Within a period a
process runs at full speed and then stands still, so that a short run tells nothing of the quota.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def cpu_quota(membership: Path = _MEMBERSHIP, root: Path = _ROOT) -> float | None:
    """Return the least quota of this process's cgroup and those above it [cores]; None = no quota.

    Args:
        membership: lists the process's cgroups, as /proc/self/cgroup.
        root: where cgroups are mounted.
    """
    return min((quota for quota, _ in _quotas(membership, root)), default=None)


def cpu_clock(membership: Path = _MEMBERSHIP, root: Path = _ROOT) -> Callable[[], float]:
    """Return what tells the processor time that was used so far of ``usable_cores`` [s].

    Where a quota limits them, that is by all processes which share it; else, or where the cgroup
    does not tell, it is by this process alone.

    Args:
        membership: see ``cpu_quota``.
        root: likewise.
    """
    found = min(_quotas(membership, root), key=lambda quota: quota[0], default=None)
    if found is None or found[0] >= _processors() or used_s(found[1]) is None:
        return time.process_time
    return lambda: used_s(found[1]) or 0.0


def usable_cores() -> float:
    """Return what this process may use of the machine's processors in the long run [cores]."""
    cores, quota = _processors(), cpu_quota()
    return cores if quota is None else min(quota, cores)


def used_s(usage: Path) -> float | None:
    """Return the processor time that a cgroup has used [s]; None where its file does not tell.

    Args:
        usage: the file, cpuacct.usage of version 1 or cpu.stat of version 2.
    """
    text = _read(usage)
    if usage.name == "cpuacct.usage":
        return int(text) / 1e9 if text.isdecimal() else None
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "usage_usec" and value.isdecimal():
            return int(value) / 1e6
    return None


def _processors() -> int:
    # Which of them it may run on is asked where Linux tells it.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _quotas(membership: Path, root: Path) -> Iterator[tuple[float, Path]]:
    """Quotas of a process [cores], and where the time used of each is found."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return  # no Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for folder in _upwards(root, path):
                quota_us, _, period_us = _read(folder / "cpu.max").partition(" ")
                if (cores := _cores(quota_us, period_us)) is not None:
                    yield cores, folder / "cpu.stat"
        elif "cpu" in controllers.split(","):
            for top in (root / controllers, root / "cpu"):
                # The time is counted by a controller of its own, which may be mounted elsewhere.
                counted = top if "cpuacct" in controllers.split(",") else root / "cpuacct"
                for folder in _upwards(top, path):
                    names = "cpu.cfs_quota_us", "cpu.cfs_period_us"
                    if (cores := _cores(*(_read(folder / name) for name in names))) is not None:
                        yield cores, counted / folder.relative_to(top) / "cpuacct.usage"


def _upwards(top: Path, path: str) -> list[Path]:
    """The folder of a cgroup, those above it, up to the top."""
    parts = [part for part in path.split("/") if part]
    return [top.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]


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
