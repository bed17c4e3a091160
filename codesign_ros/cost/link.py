"""The uplink: how long a payload takes, and what rate the link really has."""

from __future__ import annotations

from collections import deque

import numpy as np

from codesign_ros.types import LinkSpec


def transfer_s(payload_bytes: float, link: LinkSpec) -> float:
    """T_3 = N_e / beta_s of Eq. 7, with bytes made bits, and the one-way delay on top [s]."""
    return 8.0 * payload_bytes / link.bandwidth_bps + link.delay_s


class LinkEstimator:
    """Running estimate of the link's rate from transfers that happened.

    The estimate is the median of the last transfers' rates, each weighted by its bytes: half of
    the bytes went at this rate or a higher one. One stalled or lucky transfer does not move it,
    and small payloads, whose time is mostly delay, hardly count beside large ones.

    Args:
        window: number of transfers that count.
    """

    def __init__(self, window: int = 16) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=window)

    def add(self, payload_bytes: int, duration_s: float) -> None:
        """Take in one transfer.

        Raises:
            ValueError: size or duration is not positive.
        """
        if not (payload_bytes > 0 and duration_s > 0):
            raise ValueError(f"no transfer: {payload_bytes} bytes in {duration_s} s")
        self._samples.append((8.0 * payload_bytes / duration_s, float(payload_bytes)))

    @property
    def bandwidth_bps(self) -> float | None:
        """The estimate [bit/s]; None before the first transfer."""
        if not self._samples:
            return None
        rates, weights = np.array(sorted(self._samples)).T
        reached = np.cumsum(weights)
        return float(rates[np.searchsorted(reached, reached[-1] / 2)])
