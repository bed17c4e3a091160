"""What rate and delay the link really has, from the transfers that went over it."""

from __future__ import annotations

import statistics
from collections import deque

# Shorter than this is not a time that can be measured here [s].
_LEAST_S = 1e-5


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
    def least_delay_s(self) -> float:
        """What a tiny transfer takes undisturbed [s]; 0 before the first."""
        return min(self._delays_s, default=0.0)

    @property
    def delay_s(self) -> float:
        """What a tiny transfer usually takes, disturbances included [s]; 0 before the first."""
        return statistics.median(self._delays_s) if self._delays_s else 0.0

    @property
    def bandwidth_bps(self) -> float:
        """The rate [bit/s]; 0 before some tiny and some large transfers have shown it."""
        if min(len(self._delays_s), len(self._transfers)) < self.MIN_TRANSFERS:
            return 0.0
        least_s = self.least_delay_s
        # A large transfer that took no longer than a tiny one says that the link is fast.
        return max(8 * n / max(t - least_s, _LEAST_S) for n, t in self._transfers)


class BusyLink:
    """Tells what a transfer took on the link from what it waited for others on the way.

    Transfers that overlap go over the link one after the other, so each by itself seems to be as
    slow as all of them. From the start of the first to the end of the last the link was busy with
    the bytes of all: they count as one transfer. (BBR measures delivery over a flight, not over a
    packet, for the same reason.)
    """

    # Transfers that count as one at most: more would hide a change of the rate.
    MOST = 6
    # A count that starts amid a busy link starts at an arrival, which may have been noted late:
    # over so many transfers that matters little.
    ENOUGH = 3

    def __init__(self) -> None:
        self._until_s = float("-inf")
        self._since_s = 0.0
        self._bytes = 0
        self._count = 0
        self._needed = 1

    def add(
        self, payload_bytes: int, started_s: float, ended_s: float, delay_s: float
    ) -> tuple[tuple[int, float] | None, float]:
        """Take in one transfer, in the order of their ends.

        Args:
            payload_bytes: its size [bytes].
            started_s: when sending began [s].
            ended_s: when the news of its arrival was here, on the same clock [s].
            delay_s: part of that time which does not depend on the size [s].

        Returns:
            The transfer to estimate the rate from (bytes, duration [s]), None where there is none
            yet; and how long this one waited for others [s].
        """
        # The others' news took the delay to come here; the link was free again before that.
        free_s = self._until_s - delay_s
        waited_s = max(0.0, min(free_s, ended_s) - started_s)
        if waited_s == 0 or ended_s < self._until_s:
            self._begin(started_s, needed=1)
        elif self._count == self.MOST:
            self._begin(free_s, needed=self.ENOUGH)
        self._until_s = max(self._until_s, ended_s)
        self._bytes += payload_bytes
        self._count += 1
        enough = self._count >= self._needed
        return (self._bytes, ended_s - self._since_s) if enough else None, waited_s

    def _begin(self, since_s: float, needed: int) -> None:
        self._since_s, self._bytes, self._count, self._needed = since_s, 0, 0, needed
