"""The highest rate of the camera that a policy keeps up with."""

from __future__ import annotations

from collections.abc import Callable

# The search widens by this factor until it has a rate on either side of the limit.
_WIDER = 1.15


def highest_rate(
    lost: Callable[[float], float], start_hz: float, limit: float = 0.05, steps: int = 5
) -> float:
    """Search the highest rate at which no more than a share of the frames is lost.

    From the start upwards while the limit is kept, or downwards while it is not; then by halving.

    Args:
        lost: given a rate [Hz], the share of the frames at it that have no answer.
        start_hz: where to begin, what was reached as fast as results came [Hz].
        limit: the share that may be lost.
        steps: rates that are tried.

    Returns:
        The highest one of the rates that were tried and kept the limit [Hz]; 0 = none did.

    Raises:
        ValueError: the start is not above 0.
    """
    if not start_hz > 0:
        raise ValueError(f"a rate must be above 0 Hz, not {start_hz}")
    kept_hz, failed_hz = 0.0, float("inf")
    rate_hz = start_hz
    for _ in range(steps):
        if lost(rate_hz) <= limit:
            kept_hz = max(kept_hz, rate_hz)
        else:
            failed_hz = min(failed_hz, rate_hz)
        if kept_hz == 0:
            rate_hz = failed_hz / _WIDER
        elif failed_hz == float("inf"):
            rate_hz = kept_hz * _WIDER
        else:
            rate_hz = (kept_hz + failed_hz) / 2
    return kept_hz
