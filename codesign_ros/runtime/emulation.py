"""Plain emulation of a slower device and of a thinner link, on one machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def stretched(work: Callable[[], T], slowdown: float, closing: threading.Event) -> T:
    """Run ``work`` and idle until ``slowdown`` times its own time has passed.

    Args:
        work: what to run.
        slowdown: how many times slower the emulated device is; 0 or 1 = as fast as this machine.
        closing: ends the idling when it is set: where this machine stood still for a moment,
            that may be long.
    """
    start = time.perf_counter()
    result = work()
    if slowdown > 1:
        closing.wait((slowdown - 1) * (time.perf_counter() - start))
    return result


def transmission_s(payload_bytes: int, link_bps: float) -> float:
    """Time a payload occupies an emulated link of ``link_bps`` [bit/s]; 0 = no emulation [s]."""
    return 8 * payload_bytes / link_bps if link_bps > 0 else 0.0
