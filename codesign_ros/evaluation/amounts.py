"""Numbers with their units, as people read them."""

from __future__ import annotations


def ms(duration_s: float) -> str:
    """Write a time in ms, with three digits that count where it is short."""
    value = duration_s * 1e3
    return f"{value:.0f} ms" if abs(value) >= 100 else f"{value:.3g} ms"


def points(loss: float) -> str:
    """Write an accuracy loss, 0 to 1, in points of a hundred."""
    value = f"{100 * loss:.3g}"
    return "1 point" if value == "1" else f"{value} points"


def data_size(size_bytes: float) -> str:
    """Write a number of bytes: 61.7 kB."""
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.3g} {unit}"
    return f"{size_bytes:.0f} bytes"


def link_rate(bandwidth_bps: float) -> str:
    """Write a link's rate: 10 Mbit/s."""
    for scale, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bandwidth_bps >= scale:
            return f"{bandwidth_bps / scale:.4g} {unit}"
    return f"{bandwidth_bps:.4g} bit/s"
