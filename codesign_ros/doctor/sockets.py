"""The kernel's buffers for datagrams, and whether any was lost there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from codesign_ros.doctor.finding import Finding, ok, warn
from codesign_ros.hardware.sysfs import read_int, read_text

# What Linux has unless somebody lowers it [bytes]. Fast DDS asks for nothing else.
_USUAL_BYTES = 212_992
_ADVISED_BYTES = 4_194_304
_MEMORY_BYTES = 262_144

# Counters of /proc/net/snmp: what a loss there means, and what to change.
_LOSSES = {
    "Udp.RcvbufErrors": (
        "datagrams found a full receive buffer",
        f"sysctl -w net.core.rmem_default={_ADVISED_BYTES} net.core.rmem_max={_ADVISED_BYTES}",
    ),
    "Udp.SndbufErrors": (
        "datagrams found a full send buffer",
        f"sysctl -w net.core.wmem_default={_ADVISED_BYTES} net.core.wmem_max={_ADVISED_BYTES}",
    ),
    "Ip.ReasmFails": (
        "datagrams missed a fragment",
        "sysctl -w net.ipv4.ipfrag_time=3 net.ipv4.ipfrag_high_thresh=134217728, or a profile of "
        "Fast DDS with maxMessageSize 8000 on both machines",
    ),
}


def buffers(proc: Path = Path("/proc")) -> Finding:
    """Whether a burst of datagrams finds room until a node reads it."""
    check = "socket buffers"
    names = ("rmem_default", "rmem_max", "wmem_default", "wmem_max")
    sizes = {name: read_int(proc / "sys/net/core" / name) for name in names}
    known = {name: size for name, size in sizes.items() if size is not None}
    if not known:
        return ok(check, "their sizes are not told here (a container hides them)")
    small = [name for name, size in known.items() if size < _USUAL_BYTES]
    found = ", ".join(f"{name} {known[name]}" for name in small or known)
    if small:
        values = " ".join(f"net.core.{name}={_ADVISED_BYTES}" for name in small)
        return warn(check, f"small: {found} bytes", f"sysctl -w {values}")
    return ok(check, f"{found} bytes")


def fragments(proc: Path = Path("/proc")) -> Finding:
    """Whether the kernel has room to put fragmented datagrams together."""
    check = "fragments"
    limit = read_int(proc / "sys/net/ipv4/ipfrag_high_thresh")
    if limit is None:
        return ok(check, "the memory for them is not told here")
    if limit < _MEMORY_BYTES:
        change = "sysctl -w net.ipv4.ipfrag_high_thresh=4194304"
        return warn(check, f"{limit} bytes of memory for them hold a few messages alone", change)
    return ok(check, f"{limit} bytes of memory for them")


def counters(proc: Path = Path("/proc")) -> dict[str, int]:
    """Read the kernel's counters of datagrams, e.g. ``Udp.RcvbufErrors``, since it started."""
    found = {}
    lines = [line.split() for line in read_text(proc / "net/snmp").splitlines()]
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        for name, value in zip(names[1:], values[1:], strict=False):
            if value.lstrip("-").isdecimal():
                found[f"{names[0].rstrip(':')}.{name}"] = int(value)
    return found


def losses(before: Mapping[str, int], after: Mapping[str, int]) -> Finding:
    """Whether datagrams were lost on this machine between two readings of ``counters``."""
    check = "lost datagrams"
    counts = {name: after.get(name, 0) - before.get(name, 0) for name in _LOSSES}
    lost = {name: count for name, count in counts.items() if count > 0}
    if lost:
        worst = max(lost, key=lambda name: lost[name])
        words = ", ".join(f"{count} {_LOSSES[name][0]}" for name, count in lost.items())
        return warn(check, f"while we looked, {words}", _LOSSES[worst][1])
    totals = [f"{after[name]} {_LOSSES[name][0]}" for name in _LOSSES if after.get(name, 0) > 0]
    earlier = f" (since the machine started: {', '.join(totals)})" if totals else ""
    return ok(check, f"none while we looked{earlier}")
