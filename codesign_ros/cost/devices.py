"""Device specifications by name, from ``config/devices.yaml``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from codesign_ros.types import CodesignError, DeviceSpec

_FIELDS = ("peak_flops", "memory_bandwidth", "utilisation")


def load_devices(path: Path) -> dict[str, DeviceSpec]:
    """Read all devices of a file.

    Raises:
        CodesignError: the file cannot be read, or an entry is not what a device needs.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise CodesignError(f"cannot read devices from {path}: {reason}") from None
    entries = content.get("devices") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise CodesignError(f"{path} names no devices: it needs a mapping 'devices'")
    return {str(name): _device(str(name), entry, path) for name, entry in entries.items()}


def find_device(devices: dict[str, DeviceSpec], name: str) -> DeviceSpec:
    """Look a device up.

    Raises:
        CodesignError: there is none of that name; the text lists those that there are.
    """
    if name not in devices:
        raise CodesignError(f"unknown device {name!r}; known are {', '.join(sorted(devices))}")
    return devices[name]


def _device(name: str, entry: Any, path: Path) -> DeviceSpec:
    if not isinstance(entry, dict) or set(entry) != set(_FIELDS):
        raise CodesignError(f"device {name!r} in {path} needs exactly {', '.join(_FIELDS)}")
    for field in _FIELDS:
        value = entry[field]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value <= 0:
            raise CodesignError(
                f"device {name!r} in {path}: {field} must be a positive number, not {value!r}"
            )
    if entry["utilisation"] > 1:
        raise CodesignError(f"device {name!r} in {path}: utilisation is a share, at most 1")
    return DeviceSpec(name, *(float(entry[field]) for field in _FIELDS))
