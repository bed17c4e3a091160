"""The clocks of GPU and CPU as the kernel lists them: devfreq and cpufreq.

Never ran on a Jetson. What the GPU is called there: 57000000.gpu (Nano), 17000000.gp10b (TX2),
17000000.gv11b (Xavier), 17000000.ga10b (Orin, JetPack 5), 17000000.gpu (Orin, JetPack 6),
gpu-gpc-0 (Thor).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codesign_ros.hardware.sysfs import entries, read_int, read_text

# Of Thor's two the other, gpu-nvd-0, clocks video alone.
_GPU = r"gpu-gpc-\d+|[0-9a-f]+\.(gpu|g[a-z]\d+b)"


@dataclass(frozen=True)
class Clock:
    """One clock and its limits. All values [MHz]; None where the kernel does not tell.

    Attributes:
        name: ``GPU`` or ``CPU``.
        folder: where its files are.
        prefix: of its files' names.
        per_mhz: steps of its files' unit in one MHz.
    """

    name: str
    folder: Path
    prefix: str
    per_mhz: int

    @property
    def current(self) -> float | None:
        """What it runs at now; low when there is nothing to do."""
        return self._read("cur_freq")

    @property
    def least(self) -> float | None:
        """What it may be lowered to."""
        return self._read("min_freq")

    @property
    def most(self) -> float | None:
        """What it may be raised to: the power mode's limit, or less while something cools."""
        return self._read("max_freq")

    @property
    def steps(self) -> list[float]:
        """What the hardware can do, whatever the limits, ascending."""
        words = read_text(self.folder / f"{self.prefix}available_frequencies").split()
        return sorted(int(word) / self.per_mhz for word in words if word.isdecimal())

    @property
    def fixed(self) -> bool:
        """Whether it is held at one value, as by ``jetson_clocks``.

        One that heat has pressed down to its lowest step is not.
        """
        least, most = self.least, self.most
        return most is not None and least == most and most > min(self.steps, default=0.0)

    def _read(self, what: str) -> float | None:
        value = read_int(self.folder / f"{self.prefix}{what}")
        return None if value is None or value <= 0 else value / self.per_mhz


def gpu_clock(root: Path) -> Clock | None:
    """The clock of an integrated GPU; None where there is none."""
    for folder in entries(root / "sys/class/devfreq", _GPU):
        return Clock("GPU", folder, "", 1_000_000)
    return None


def cpu_clocks(root: Path) -> list[Clock]:
    """The clocks of the CPU's clusters."""
    folders = entries(root / "sys/devices/system/cpu/cpufreq", r"policy\d+")
    return [Clock("CPU", folder, "scaling_", 1000) for folder in folders]
