"""A share of one processor core for a group of processes, by cgroups of version 1 or 2."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from codesign_ros.hardware.cpu_quota import used_s
from codesign_ros.types.errors import CodesignError

ROOT = Path("/sys/fs/cgroup")
# Short, so that a quota slows a frame down and does not stop it for a tenth of a second [us].
PERIOD_US = 10_000
_CONTROLLERS = ("cpu", "cpuset", "cpuacct")
_REMOVE_TIMEOUT_S = 5.0


def is_version_2(root: Path = ROOT) -> bool:
    """Whether the machine has the unified hierarchy alone."""
    return (root / "cgroup.controllers").is_file()


class CpuGroup:
    """Processes that share a quota on one core.

    Args:
        name: of the group.
        core: the core that they run on.
        cores: the share of it, above 0 [cores].
        root: where cgroups are mounted.

    Raises:
        CodesignError: the groups cannot be made.
    """

    def __init__(self, name: str, core: int, cores: float, root: Path = ROOT) -> None:
        self._unified = is_version_2(root)
        quota_us = round(cores * PERIOD_US)
        if self._unified:
            self._folders = [root / name]
            values = {"cpu.max": f"{quota_us} {PERIOD_US}", "cpuset.cpus": str(core)}
        else:
            self._folders = [root / controller / name for controller in _CONTROLLERS]
            values = {
                "cpu.cfs_period_us": str(PERIOD_US),
                "cpu.cfs_quota_us": str(quota_us),
                "cpuset.mems": "0",
                "cpuset.cpus": str(core),
            }
        try:
            if self._unified:
                (root / "cgroup.subtree_control").write_text("+cpu +cpuset")
            for folder in self._folders:
                folder.mkdir(exist_ok=True)
            for file, value in values.items():
                self._file(file).write_text(value)
        except OSError as error:
            raise CodesignError(
                f"no cgroup for {name} could be made ({error}); the test bed needs cgroups with "
                "cpu and cpuset that root may write to"
            ) from error

    @property
    def procs(self) -> list[Path]:
        """Files that a process enters the group by, with its number."""
        return [folder / "cgroup.procs" for folder in self._folders]

    def cpu_s(self) -> float:
        """Processor time that the group has used [s]."""
        found_s = used_s(self._file("cpu.stat" if self._unified else "cpuacct.usage"))
        if found_s is None:
            raise CodesignError("the cgroup does not tell how much processor time it has used")
        return found_s

    def remove(self) -> None:
        """Remove the group; its processes must have ended."""
        give_up_s = time.monotonic() + _REMOVE_TIMEOUT_S
        for folder in self._folders:
            while folder.is_dir() and time.monotonic() < give_up_s:
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
                    break
                time.sleep(0.05)  # the last process is just leaving

    def _file(self, name: str) -> Path:
        controller = name.partition(".")[0]
        if self._unified:
            return self._folders[0] / name
        return self._folders[_CONTROLLERS.index(controller)] / name
