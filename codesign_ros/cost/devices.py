"""Device specifications by name, from ``config/devices.yaml``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from codesign_ros.cost.entries import Entry, read_entries
from codesign_ros.types import NUMBER_BYTES, CodesignError, DeviceSpec

_REQUIRED = ("peak_flops", "memory_bandwidth")
_OPTIONAL = ("aliases", "utilisation", "paper_peak_flops", "memory_bytes", "power_w", "source")


def load_devices(path: Path) -> dict[str, DeviceSpec]:
    """Read all devices of a file, by their names and by their aliases.

    Raises:
        CodesignError: the file cannot be read, an entry is not what a device needs, or two
            devices share a name.
    """
    devices: dict[str, DeviceSpec] = {}
    for entry in read_entries(path, "device", _REQUIRED, _OPTIONAL):
        device = _device(entry)
        for name in (device.name, *_aliases(entry)):
            if name in devices:
                raise CodesignError(f"{entry.where}: {name!r} is {devices[name].name!r} already")
            devices[name] = device
    return devices


def find_device(devices: Mapping[str, DeviceSpec], name: str) -> DeviceSpec:
    """Look a device up by its name or an alias.

    Raises:
        CodesignError: there is none of that name; the text lists those that there are.
    """
    if name not in devices:
        known = ", ".join(sorted({device.name for device in devices.values()}))
        raise CodesignError(f"unknown device {name!r}; known are {known}")
    return devices[name]


def _device(entry: Entry) -> DeviceSpec:
    peaks = entry.fields["peak_flops"]
    if not isinstance(peaks, dict) or "fp32" not in peaks or not set(peaks) <= set(NUMBER_BYTES):
        raise CodesignError(
            f"{entry.where}: peak_flops must give fp32 and may give "
            f"{', '.join(f for f in NUMBER_BYTES if f != 'fp32')}, as {{fp32: 1.0e+12}}"
        )
    utilisation = entry.number("utilisation", 1.0)
    if utilisation > 1:
        raise CodesignError(f"{entry.where}: utilisation is a share, at most 1")
    return DeviceSpec(
        entry.name,
        {f: entry.positive(f"peak_flops of {f}", peak) for f, peak in peaks.items()},
        entry.positive("memory_bandwidth", entry.fields["memory_bandwidth"]),
        utilisation,
        entry.number("paper_peak_flops", None),
        entry.number("memory_bytes", math.inf),
        entry.number("power_w", None),
        entry.text("source"),
    )


def _aliases(entry: Entry) -> list[str]:
    aliases = entry.fields.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(a, str) for a in aliases):
        raise CodesignError(f"{entry.where}: aliases must be a list of names, not {aliases!r}")
    return aliases
