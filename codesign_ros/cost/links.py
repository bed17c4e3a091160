"""Links by name, from ``config/links.yaml``, or by their rate."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from codesign_ros.cost.entries import read_entries
from codesign_ros.types import CodesignError, LinkSpec

_RATE = re.compile(r"(\d+(?:\.\d+)?)(k|m|g)bps", re.IGNORECASE)
_UNITS_BPS = {"k": 1e3, "m": 1e6, "g": 1e9}


def load_links(path: Path) -> dict[str, LinkSpec]:
    """Read all links of a file, by their names.

    Raises:
        CodesignError: the file cannot be read, or an entry is not what a link needs.
    """
    entries = read_entries(path, "link", ("bandwidth_bps",), ("delay_s", "transmit_w", "source"))
    return {
        entry.name: LinkSpec(
            entry.positive("bandwidth_bps", entry.fields["bandwidth_bps"]),
            entry.number("delay_s", 0.0, zero=True),
            entry.name,
            entry.number("transmit_w", None),
        )
        for entry in entries
    }


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
        f"unknown link {name!r}; known are {', '.join(sorted(links))}, or give a rate as 20mbps"
    )
