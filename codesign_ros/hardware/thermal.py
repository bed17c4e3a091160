"""Whether heat, or a draw beyond what the power supply may give, slows this machine down.

Never ran on a Jetson. What counts as throttling there:

- A cooling device that limits clocks is at work (``cur_state`` above 0): cpufreq, devfreq, the
  ``*-throttle-alert`` devices of Orin and Thor, which tell of limits set by firmware, and what the
  Nano has instead. A fan limits nothing, and ``hot-surface-alert`` (70 °C) only warns.
- A zone is at its highest passive trip point and a clock of what it watches is below its limit.
- The count of over-current events rises ("System throttled due to over-current").

A clock that is low without any of these is low for want of work. On a PC: Intel's own count of
throttling rises, or ACPI limits a processor. The throttle reasons of a PC's NVIDIA GPU are not
read: that takes NVML's bindings, which this package does not require.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codesign_ros.hardware.clocks import Clock, cpu_clocks, gpu_clock
from codesign_ros.hardware.sysfs import entries, read_int, read_text

# Cooling devices that limit clocks. The kernel names those of clocks "thermal-cpufreq-0" before
# 5.12, "cpufreq-cpu0" after.
_LIMITS = re.compile(
    r"(thermal-)?(cpu|dev)freq-.*|.*-throttle-alert|(cpu|gpu)-(balanced|critical)|.*-heavy|Processor"
)
_GPU = re.compile(r"gpu|devfreq|g[a-z]\d+b", re.IGNORECASE)
_CPU = re.compile(r"cpu|Processor", re.IGNORECASE)
# Zones on the chip; others (board, charger, skin) have trip points that limit no clock of ours.
_ON_CHIP = re.compile(r"(cpu|gpu|soc|tj|cv)[\d_-]*(-?therm(al)?)?", re.IGNORECASE)
_PACKAGE = "x86_pkg_temp"  # its trip points belong to whoever sets them
_NO_SENSOR = ("PMIC-Die", "thermal-fan-est")  # a constant, and an average of others
_PLAUSIBLE = (-40.0, 150.0)  # a sensor that is switched off reads -256 [°C]
# Clocks go in steps, and what is read at two moments differs.
_BELOW = 0.98


@dataclass(frozen=True)
class _Zone:
    name: str
    file: Path
    trip: float | None

    @property
    def on_chip(self) -> bool:
        return self.name == _PACKAGE or _ON_CHIP.fullmatch(self.name) is not None

    @property
    def celsius(self) -> float | None:
        value = read_int(self.file)
        low, high = _PLAUSIBLE
        return value / 1000 if value is not None and low < value / 1000 < high else None


class Throttle:
    """Watches for throttling by heat. Cheap enough for twice a second; nothing it calls raises.

    Args:
        root: where the file system begins.
        clock_s: a clock that never goes back [s].
        hold_s: a reason stays so long after its signs, which come and go, were last seen [s].
    """

    def __init__(
        self,
        root: str | Path = "/",
        clock_s: Callable[[], float] = time.monotonic,
        hold_s: float = 5.0,
    ) -> None:
        root = Path(root)
        thermal = root / "sys/class/thermal"
        self._clock_s, self._hold_s = clock_s, hold_s
        self._cooling = [
            (kind, folder / "cur_state")
            for folder in entries(thermal, r"cooling_device\d+")
            if _LIMITS.fullmatch(kind := read_text(folder / "type"))
        ]
        self._zones = [_zone(folder) for folder in entries(thermal, r"thermal_zone\d+")]
        cores = [
            folder / "thermal_throttle/core_throttle_count"
            for folder in entries(root / "sys/devices/system/cpu", r"cpu\d+")
        ]
        alarms = [
            file
            for folder in entries(root / "sys/class/hwmon", r"hwmon\d+")
            if read_text(folder / "name") == "soctherm_oc"
            for file in entries(folder, r"oc\d+_event_cnt")
        ]
        self._counters = {
            "CPU throttles itself": _Counter(cores),
            "throttled for over-current": _Counter(alarms),
        }
        self._gpu, self._cpus = gpu_clock(root), cpu_clocks(root)
        # What each clock may be raised to while nothing is hot: a cooling device lowers the limit
        # that the kernel tells. A new power mode is followed the next time that nothing is hot.
        self._limits: dict[Clock, float] = {}
        self._held, self._seen_s = "", 0.0

    def reason(self) -> str:
        """Say in one line why this machine computes slower than it can; empty if it does not.

        Such as ``GPU at 420 of 1300 MHz, 86 °C``.
        """
        now_s = self._clock_s()
        found = self._found()
        if found:
            self._held, self._seen_s = found, now_s
        elif self._held and now_s - self._seen_s >= self._hold_s:
            self._held = ""
        return self._held

    def temperatures(self) -> dict[str, float]:
        """Temperatures of the machine's zones by name [°C], without those that cannot be read."""
        read = {zone.name: zone.celsius for zone in self._zones if zone.name not in _NO_SENSOR}
        return {name: celsius for name, celsius in read.items() if celsius is not None}

    def _found(self) -> str:
        cooling = [kind for kind, file in self._cooling if (read_int(file) or 0) > 0]
        on_chip = [(zone, zone.celsius) for zone in self._zones if zone.on_chip]
        hot = [
            zone.name
            for zone, celsius in on_chip
            if celsius is not None and zone.trip is not None and celsius >= zone.trip
        ]
        events = [words for words, counter in self._counters.items() if counter.rises()]
        if not cooling and not hot and not events:
            self._limits = {clock: most for clock in self._clocks if (most := clock.most)}
            return ""
        words = []
        # A zone of the whole chip stands for both.
        if any(map(_GPU.search, cooling)) or any(not _CPU.match(zone) for zone in hot):
            words += self._lowered([self._gpu] if self._gpu else [])
        if any(map(_CPU.search, cooling)) or any(not _GPU.match(zone) for zone in hot):
            words += self._lowered(self._cpus)
        words += events
        if cooling and not words:
            words = [f"clocks limited by {', '.join(cooling)}"]
        if not words:  # as hot as it may be, and as fast as it can
            return ""
        hottest = max((c for _, c in on_chip if c is not None), default=None)
        return ", ".join([*words, *([f"{hottest:.0f} °C"] if hottest is not None else [])])

    @property
    def _clocks(self) -> list[Clock]:
        return [*([self._gpu] if self._gpu else []), *self._cpus]

    def _lowered(self, clocks: Sequence[Clock]) -> list[str]:
        """Words for the clock that is pressed down most; none if none is."""
        found = []
        for clock in clocks:
            limit, most, current = self._limits.get(clock), clock.most, clock.current
            if limit is not None and most is not None and most < _BELOW * limit:
                found.append((0, most / limit, f"{clock.name} at {most:.0f} of {limit:.0f} MHz"))
            elif current is None:
                continue
            elif limit is None:  # hot since before we looked
                found.append((1, current, f"{clock.name} at {current:.0f} MHz"))
            elif current < _BELOW * limit:  # by firmware, which leaves the limit, or it idles
                words = f"{clock.name} at {current:.0f} of {limit:.0f} MHz"
                found.append((1, current / limit, words))
        return [words for *_, words in sorted(found)[:1]]


class _Counter:
    """Counts of events in several files, as one."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = [file for file in files if read_int(file) is not None]
        self._last = self._sum()

    def rises(self) -> bool:
        """Whether there were more events since the last call."""
        before, self._last = self._last, self._sum()
        return self._last > before

    def _sum(self) -> int:
        return sum(read_int(file) or 0 for file in self._files)


def _zone(folder: Path) -> _Zone:
    """A zone with its highest passive trip point [°C].

    Of several the lower ones limit no clock: on Orin 70 °C warns of a hot surface, 99 °C throttles.
    """
    name = read_text(folder / "type")
    trips = [
        celsius / 1000
        for file in entries(folder, r"trip_point_\d+_type")
        if read_text(file) == "passive"
        and name != _PACKAGE
        and (celsius := read_int(folder / file.name.replace("_type", "_temp"))) is not None
    ]
    return _Zone(name, folder / "temp", max(trips, default=None))
