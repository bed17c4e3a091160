"""The uplink: how long a payload takes, and what rate the link really has."""

from __future__ import annotations

import statistics
from collections import deque

from codesign_ros.types import LinkSpec

# Shorter than this is not a time that can be measured here [s].
_LEAST_S = 1e-5


def transfer_s(payload_bytes: float, link: LinkSpec) -> float:
    """T_3 = N_e / beta_s of Eq. 7, with bytes made bits, and the one-way delay on top [s]."""
    return 8.0 * payload_bytes / link.bandwidth_bps + link.delay_s


class LinkEstimator:
    """Running estimate of the link's delay and rate from transfers that happened.

    A transfer of B bytes takes delay + 8 B / rate, and whatever else happens (a busy core, a queue)
    only adds to that. So the shortest tiny transfer is the delay without disturbance, and the
    fastest large one, with that delay taken off, shows the rate. BBR estimates a path in the same
    way, by the least round trip and the greatest delivery rate of a window (Cardwell et al. 2016).

    Args:
        window: number of large transfers that count; few, so that a change of the link shows soon.
        delay_window: number of tiny transfers that count; more, as one undisturbed is enough.
    """

    # Up to so many bytes a transfer shows the delay, from so many on the rate.
    TINY_BYTES = 256
    LARGE_BYTES = 2048
    # Before so many of each kind, one disturbance would be taken for the link.
    MIN_TRANSFERS = 3

    def __init__(self, window: int = 6, delay_window: int = 20) -> None:
        self._delays_s: deque[float] = deque(maxlen=delay_window)
        self._transfers: deque[tuple[int, float]] = deque(maxlen=window)

    def add(self, payload_bytes: int, duration_s: float) -> None:
        """Take in one transfer.

        Raises:
            ValueError: size or duration is negative.
        """
        if payload_bytes < 0 or duration_s < 0:
            raise ValueError(f"no transfer: {payload_bytes} bytes in {duration_s} s")
        if payload_bytes <= self.TINY_BYTES:
            self._delays_s.append(duration_s)
        elif payload_bytes >= self.LARGE_BYTES:
            self._transfers.append((payload_bytes, duration_s))

    @property
    def delay_s(self) -> float:
        """What a tiny transfer usually takes, disturbances included [s]; 0 before the first."""
        return statistics.median(self._delays_s) if self._delays_s else 0.0

    @property
    def bandwidth_bps(self) -> float:
        """The rate [bit/s]; 0 before some tiny and some large transfers have shown it."""
        if min(len(self._delays_s), len(self._transfers)) < self.MIN_TRANSFERS:
            return 0.0
        least_s = min(self._delays_s)
        # A large transfer that took no longer than a tiny one says that the link is fast.
        return max(8 * n / max(t - least_s, _LEAST_S) for n, t in self._transfers)
