"""Devices and links by name, from ``config/devices.yaml`` and ``config/links.yaml``."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError, did_you_mean, one_line
from codesign_ros.types.forms import NUMBER_BYTES
from codesign_ros.types.links import LinkSpec, RadioState

Default = TypeVar("Default", float, None)

_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(k|m|g)bps", re.IGNORECASE)
_UNITS_BPS = {"k": 1e3, "m": 1e6, "g": 1e9}
_REQUIRED = ("peak_flops", "memory_bandwidth")
_OPTIONAL = (
    "aliases", "utilisation", "paper_peak_flops", "memory_bytes", "power_w", "source",
    "computes_on",
)  # fmt: skip
_COMPUTES_ON = ("", "cpu", "gpu")
_LINK_FIELDS = (
    "bandwidth_bps", "states", "delay_s", "downlink_bps", "downlink_delay_s", "burst_bytes",
    "transmit_w", "source",
)  # fmt: skip


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
        near = did_you_mean(name, devices)
        raise CodesignError(f"unknown device {name!r}{near}; known are {known}")
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
    computes_on = entry.text("computes_on")
    if computes_on not in _COMPUTES_ON:
        raise CodesignError(f"{entry.where}: computes_on is cpu or gpu, not {computes_on!r}")
    return DeviceSpec(
        entry.name,
        {f: entry.positive(f"peak_flops of {f}", peak) for f, peak in peaks.items()},
        entry.positive("memory_bandwidth", entry.fields["memory_bandwidth"]),
        utilisation,
        entry.number("paper_peak_flops", None),
        entry.number("memory_bytes", math.inf),
        entry.number("power_w", None),
        entry.text("source"),
        computes_on,
    )


def _aliases(entry: Entry) -> list[str]:
    aliases = entry.fields.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(a, str) for a in aliases):
        raise CodesignError(f"{entry.where}: aliases must be a list of names, not {aliases!r}")
    return aliases


def load_links(path: Path) -> dict[str, LinkSpec]:
    """Read all links of a file, by their names.

    Raises:
        CodesignError: the file cannot be read, or an entry is not what a link needs.
    """
    return {entry.name: _link(entry) for entry in read_entries(path, "link", (), _LINK_FIELDS)}


def _link(entry: Entry) -> LinkSpec:
    given = entry.fields if isinstance(entry.fields, dict) else {}
    if ("bandwidth_bps" in given) == ("states" in given):
        raise CodesignError(
            f"{entry.where} needs bandwidth_bps, or states of a rate that varies, and not both"
        )
    more: dict[str, Any] = {
        "delay_s": entry.number("delay_s", 0.0, zero=True),
        "name": entry.name,
        "transmit_w": entry.number("transmit_w", None),
        "downlink_bps": entry.number("downlink_bps", None),
        "downlink_delay_s": entry.number("downlink_delay_s", None, zero=True),
        "burst_bytes": entry.number("burst_bytes", 0.0, zero=True),
    }
    if "bandwidth_bps" in given:
        return LinkSpec(entry.positive("bandwidth_bps", entry.fields["bandwidth_bps"]), **more)
    states = entry.fields["states"]
    if not (
        isinstance(states, list)
        and states
        and all(isinstance(s, dict) and s.keys() == set(RadioState._fields) for s in states)
    ):
        raise CodesignError(
            f"{entry.where}: states must be a list, each as {{bandwidth_bps: 3.0e+7, mean_s: 10.0}}"
        )
    return LinkSpec.radio(
        [RadioState(*(entry.positive(f, s[f]) for f in RadioState._fields)) for s in states],
        **more,
    )


def find_link(links: Mapping[str, LinkSpec], name: str) -> LinkSpec:
    """Look a link up by its name, or make one of a rate such as ``20mbps``, without delay.

    Raises:
        CodesignError: there is none of that name and it is no rate; the text lists those that there
            are. Or the rate is 0.
    """
    if name in links:
        return links[name]
    if rate := _RATE.fullmatch(name):
        number, unit = rate.groups()
        return LinkSpec(float(number) * _UNITS_BPS[unit.lower()], name=name)
    raise CodesignError(
        f"unknown link {name!r}{did_you_mean(name, links)}; known are "
        f"{', '.join(sorted(links))}, or give a rate as 20mbps"
    )


@dataclass(frozen=True)
class Entry:
    """One entry as it was read.

    Attributes:
        where: kind, name and file, with which messages begin.
        name: its key.
        fields: what it says.
    """

    where: str
    name: str
    fields: dict[str, Any]

    def positive(self, field: str, value: Any, zero: bool = False) -> float:
        """Check a value of this entry that must be a finite number above 0 (with ``zero``, or 0).

        Raises:
            CodesignError: it is not that.
        """
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and math.isfinite(value) and (value > 0 or (zero and value == 0)):
            return float(value)
        wanted = "a number of 0 or more" if zero else "a positive number"
        hint = ""
        if isinstance(value, str) and "e" in value.lower():
            # YAML 1.1 takes 4.72e11 and 1e+9 for text.
            hint = " (in YAML a number has a dot and a signed exponent, as 4.72e+11)"
        raise CodesignError(f"{self.where}: {field} must be {wanted}, not {value!r}{hint}")

    def number(self, field: str, default: Default, zero: bool = False) -> float | Default:
        """Read a finite number above 0 (with ``zero``, or 0); ``default`` if it is not given.

        Raises:
            CodesignError: it is not that.
        """
        return self.positive(field, self.fields[field], zero) if field in self.fields else default

    def text(self, field: str) -> str:
        """Read a line of text; empty if it is not given.

        Raises:
            CodesignError: it is not text.
        """
        value = self.fields.get(field, "")
        if not isinstance(value, str):
            raise CodesignError(f"{self.where}: {field} must be text, not {value!r}")
        return " ".join(value.split())


class _OnceLoader(yaml.SafeLoader):
    """Takes no name twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name, times in Counter(names).items():
            if times > 1:
                raise yaml.YAMLError(f"{name!r} is there {times} times")
        return super().construct_mapping(node, deep)


def read_mapping(path: Path, what: str) -> dict[Any, Any]:
    """Read a YAML file; empty if it holds no mapping.

    Raises:
        CodesignError: it cannot be read, or a mapping in it has a name twice.
    """
    try:
        with path.open(encoding="utf-8") as file:
            content = yaml.load(file, _OnceLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise CodesignError(f"cannot read {what} from {path}: {one_line(error)}") from None
    return content if isinstance(content, dict) else {}


def read_entries(
    path: Path, kind: str, required: Collection[str], optional: Collection[str]
) -> list[Entry]:
    """Read a file that maps ``{kind}s`` to entries by name.

    Args:
        path: the file.
        kind: what an entry is, as ``device``.
        required: fields that each must have.
        optional: fields that it may have.

    Raises:
        CodesignError: the file cannot be read, or an entry has other fields than these.
    """
    entries = read_mapping(path, f"{kind}s").get(f"{kind}s")
    if not isinstance(entries, dict) or not entries:
        raise CodesignError(f"{path} names no {kind}s: it needs a mapping '{kind}s'")
    read = []
    for key, fields in entries.items():
        name = str(key)
        where = f"{kind} {name!r} in {path}"
        given = set(fields) if isinstance(fields, dict) else set()
        if missing := [f for f in required if f not in given]:
            raise CodesignError(f"{where} lacks {', '.join(missing)}")
        if unknown := sorted(map(str, given - {*required, *optional})):
            known = ", ".join((*required, *optional))
            raise CodesignError(f"{where} has an unknown field {unknown[0]!r}; known are {known}")
        read.append(Entry(where, name, fields))
    return read
