"""Which Jetson this is, and the power mode and clocks that its times belong to.

Never ran on a Jetson.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codesign_ros.hardware.clocks import Clock, cpu_clocks, gpu_clock
from codesign_ros.hardware.sysfs import read_text

NVPMODEL = "/usr/sbin/nvpmodel"

# Release of Jetson Linux (L4T) -> JetPack that it is part of.
_JETPACKS = {32: 4, 34: 5, 35: 5, 36: 6, 38: 7, 39: 7}

_RELEASE = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")
_QUERIED = re.compile(r"^NV Power Mode:[ \t]*(\S.*?)[ \t]*$(?:\s*^(\d+)\s*$)?", re.MULTILINE)
_CONFIGURED = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>([^<]*)")
_GPU_CAP = re.compile(r"^GPU\s+MAX_FREQ\s+(-?\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Jetson:
    """What a Jetson says of itself.

    Attributes:
        model: such as ``NVIDIA Jetson Orin Nano Developer Kit``.
        l4t: release of Jetson Linux such as ``36.4.3``; empty = not known.
        jetpack: JetPack's major version; 0 = not known.
    """

    model: str
    l4t: str
    jetpack: int

    def __str__(self) -> str:
        release = f", L4T {self.l4t}" if self.l4t else ""
        return f"{self.model}{release}" + (f" (JetPack {self.jetpack})" if self.jetpack else "")


def find_jetson(root: str | Path = "/") -> Jetson | None:
    """Find out which Jetson this is; None on other machines.

    In a container the device tree is there and the release may not be.

    Args:
        root: where the file system begins.
    """
    root = Path(root)
    release = read_text(root / "etc/nv_tegra_release")
    if not release and "nvidia,tegra" not in read_text(root / "proc/device-tree/compatible"):
        return None
    found = _RELEASE.search(release)
    return Jetson(
        model=read_text(root / "proc/device-tree/model") or "Jetson",
        l4t=f"{found[1]}.{found[2]}" if found else "",
        jetpack=_JETPACKS.get(int(found[1]), 0) if found else 0,
    )


def power_mode(root: str | Path = "/", run: Callable[[Sequence[str]], str] | None = None) -> str:
    """Say in one line what a Jetson is set to: ``15W, GPU 306-918 MHz, clocks follow the load``.

    ``MAXN, GPU 1300 MHz, clocks fixed`` once ``jetson_clocks`` was run. The memory's clock takes
    root to read and is left out. The GPU's upper limit is the mode's own where it is known, so that
    a hot Jetson is not taken for one in another mode. One process is started; a second of waiting
    at most.

    Args:
        root: where the file system begins.
        run: runs a command and returns what it printed, empty if it cannot; None = really.

    Returns:
        Empty on other machines. That a PC's NVIDIA GPU may have its power limited is not looked at.
    """
    root = Path(root)
    if find_jetson(root) is None:
        return ""
    config = read_text(root / "etc/nvpmodel.conf")
    name, number = _active_mode(root, config, run or _run)
    parts = [name] if name else []
    gpu, cpus = gpu_clock(root), cpu_clocks(root)
    if gpu is not None:
        parts += [_gpu_range(gpu, _gpu_cap_mhz(config, number))]
    clocks = [*([gpu] if gpu else []), *cpus]
    if clocks:
        fixed = all(clock.fixed for clock in clocks)
        parts += ["clocks fixed" if fixed else "clocks follow the load"]
    return ", ".join(part for part in parts if part)


def _active_mode(
    root: Path, config: str, run: Callable[[Sequence[str]], str]
) -> tuple[str, int | None]:
    """Name and number of the power mode; empty and None where nothing tells.

    ``nvpmodel -q`` prints them in two lines (a line about the fan may stand before them), or the
    daemon's own file has the number, as in ``pmode:0002 fmode:quiet``.
    """
    queried = _QUERIED.search(run([NVPMODEL, "-q"]))
    if queried:
        return queried[1], int(queried[2]) if queried[2] else None
    stored = re.search(r"pmode:(\d+)", read_text(root / "var/lib/nvpmodel/status"))
    if not stored:
        return "", None
    number = int(stored[1])
    names = {int(mode[1]): mode[2] for mode in _CONFIGURED.finditer(config)}
    return names.get(number, f"mode {number}"), number


def _gpu_cap_mhz(config: str, number: int | None) -> float | None:
    """What a mode lets the GPU run at [MHz], infinity where it sets no limit; None = not known."""
    for mode in _CONFIGURED.finditer(config):
        cap = _GPU_CAP.search(mode[3])
        if int(mode[1]) == number and cap:
            hertz = int(cap[1])
            return hertz / 1e6 if hertz >= 0 else float("inf")
    return None


def _gpu_range(gpu: Clock, cap_mhz: float | None) -> str:
    steps = gpu.steps
    most = gpu.most
    if cap_mhz is not None and steps:
        # Limits between two steps hold at the lower one.
        most = max((step for step in steps if step <= cap_mhz), default=most)
    least = min(steps, default=gpu.least)
    if most is None:
        return ""
    if gpu.fixed or least is None or round(least) == round(most):
        return f"GPU {most:.0f} MHz"
    return f"GPU {least:.0f}-{most:.0f} MHz"


def _run(command: Sequence[str]) -> str:
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1.0
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
