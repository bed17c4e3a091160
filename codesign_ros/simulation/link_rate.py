"""The simulated uplink's rate over time: steady, a radio with states, or a recorded trace."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec

PACKET_BYTES = 1500
"""What one line of a Mahimahi trace lets pass [bytes]."""


_ROUNDING_S = 1e-9


class LinkRate(Protocol):
    """How much passes when. Times are of the simulated clock; some lie before 0."""

    def across_s(self, start_s: float, size_bytes: float) -> float:
        """When a transfer that has the link from ``start_s`` on is across [s]."""

    def mean_bps(self, start_s: float, end_s: float) -> float:
        """Mean rate between two times [bit/s]."""

    def bytes_between(self, start_s: float, end_s: float) -> float:
        """What can pass between two times [bytes]."""


class StateRate:
    """A link that goes through its states in turn, each as long as it lasts on average.

    As on the test bed (``testbed.radio``): every period is like the others, so that policies have
    the same. A steady link has one state. Before 0 the first one holds.

    Args:
        link: the link.
    """

    def __init__(self, link: LinkSpec) -> None:
        states = [(state.bandwidth_bps, state.mean_s) for state in link.states]
        rates_bps, lasts_s = zip(*(states or [(link.bandwidth_bps, 1.0)]), strict=True)
        self._bytes_s = np.array(rates_bps) / 8.0
        self._ends_s = np.cumsum(lasts_s)
        self._passed = np.concatenate(([0.0], np.cumsum(self._bytes_s * lasts_s)))

    def across_s(self, start_s: float, size_bytes: float) -> float:
        """See ``LinkRate``."""
        return self._when(self._until(start_s) + size_bytes)

    def mean_bps(self, start_s: float, end_s: float) -> float:
        """See ``LinkRate``."""
        return 8.0 * self.bytes_between(start_s, end_s) / (end_s - start_s)

    def bytes_between(self, start_s: float, end_s: float) -> float:
        """See ``LinkRate``."""
        return self._until(end_s) - self._until(start_s)

    def _until(self, time_s: float) -> float:
        """What could have passed since 0 [bytes]."""
        if time_s < 0:
            return time_s * float(self._bytes_s[0])
        periods, rest_s = divmod(time_s, float(self._ends_s[-1]))
        ends_s = np.concatenate(([0.0], self._ends_s))
        return periods * float(self._passed[-1]) + float(np.interp(rest_s, ends_s, self._passed))

    def _when(self, passed_bytes: float) -> float:
        """The inverse of ``_until`` [s]."""
        if passed_bytes < 0:
            return passed_bytes / float(self._bytes_s[0])
        periods, rest = divmod(passed_bytes, float(self._passed[-1]))
        ends_s = np.concatenate(([0.0], self._ends_s))
        return periods * float(self._ends_s[-1]) + float(np.interp(rest, self._passed, ends_s))


class TraceRate:
    """A trace in Mahimahi's format, which begins again at its end.

    Each line is a time [ms] at which one packet of ``PACKET_BYTES`` may pass; a time may stand
    there several times (Netravali et al., "Mahimahi", USENIX ATC 2015). Packets of one millisecond
    are spread over it. A payload takes whole packets.

    Args:
        path: the file.

    Raises:
        CodesignError: it cannot be read, or is no such trace.
    """

    def __init__(self, path: Path) -> None:
        times_ms = _read(path)
        self.path = path
        self._period_s = float(times_ms[-1]) * 1e-3
        # Those of one millisecond lie evenly behind the one before; those of 0 end the period.
        _, first, count = np.unique(times_ms, return_index=True, return_counts=True)
        place = np.arange(len(times_ms)) - np.repeat(first, count)
        counts = np.repeat(count, count)
        times_s = (times_ms - (counts - 1 - place) / counts) * 1e-3
        self._times_s = np.sort(np.where(times_s <= 0, times_s + self._period_s, times_s))

    @property
    def bandwidth_bps(self) -> float:
        """Mean rate over the whole trace [bit/s]."""
        return 8.0 * PACKET_BYTES * len(self._times_s) / self._period_s

    def across_s(self, start_s: float, size_bytes: float) -> float:
        """See ``LinkRate``."""
        packets = max(1, int(np.ceil(size_bytes / PACKET_BYTES)))
        periods, place = divmod(self._packets_until(start_s) + packets - 1, len(self._times_s))
        return float(periods * self._period_s + self._times_s[place])

    def mean_bps(self, start_s: float, end_s: float) -> float:
        """See ``LinkRate``."""
        return 8.0 * self.bytes_between(start_s, end_s) / (end_s - start_s)

    def bytes_between(self, start_s: float, end_s: float) -> float:
        """See ``LinkRate``."""
        packets = self._packets_until(end_s) - self._packets_until(start_s)
        return float(PACKET_BYTES * packets)

    def _packets_until(self, time_s: float) -> int:
        """Packets that could have passed from 0 to a time, that one included."""
        periods, rest_s = divmod(time_s, self._period_s)
        # Whoever goes on where a packet ended must not find it again, whatever its time rounds to.
        in_period = int(np.searchsorted(self._times_s, rest_s + _ROUNDING_S, side="right"))
        return int(periods) * len(self._times_s) + in_period


def _read(path: Path) -> np.ndarray:
    """Times of a trace, int64 (n,), rising [ms]."""
    wrong = f"{path} is no trace in Mahimahi's format (a line for each packet, its time in ms"
    try:
        words = path.read_text(encoding="utf-8").split()
    except OSError as error:
        raise CodesignError(f"cannot read the trace {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CodesignError(f"{wrong}): it is no text") from None
    bad = next((word for word in words if not (word.isascii() and word.isdigit())), None)
    if bad is not None:
        raise CodesignError(f"{wrong}): it holds {bad[:20]!r}")
    times_ms = np.array([min(int(word), 2**53) for word in words], np.int64)
    if not len(times_ms) or times_ms[-1] == 0:
        raise CodesignError(f"{wrong}): it lasts no time")
    if np.any(np.diff(times_ms) < 0):
        raise CodesignError(f"{wrong}): its times go back")
    return times_ms
