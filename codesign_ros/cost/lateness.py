"""How long all frames but a few take, where the rate of the link and the times of devices vary.

A frame finds a state of the link with the state's share of the time, and a state outlasts a frame.
Within a state T1, T2 and the payload's time vary by themselves, each about its mean with a standard
deviation that is a share of it. All but the share q of the frames then keep, for each state with
P(rate < r) = p <= q,

    T1 + T2 + T3(r) + z((q - p) / (1 - p)) * sqrt((s1 T1)^2 + (s2 T2)^2 + (s3 T3(r))^2),

where z(a) is what a normal deviate exceeds with probability a: of the frames in states as fast as r
or faster, no more than that are later than they would be at r. The least of these is taken. s3 has
both in it, how far the rate may be off and how far payloads vary from frame to frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from codesign_ros.cost.link import ROUNDING, payload_rate_bps
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import LinkSpec

# No frame is so sure that it may be said of all of them.
_LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Spreads:
    """How far one frame's times vary, as shares of their means (standard deviations).

    Attributes:
        head: of T1.
        tail: of T2.

    Raises:
        CodesignError: one is negative or no number.
    """

    head: float = 0.0
    tail: float = 0.0

    def __post_init__(self) -> None:
        for share in (self.head, self.tail):
            if not 0 <= share < float("inf"):
                raise CodesignError(f"how far times vary must be 0 or more, not {share:g}")


STEADY = Spreads()
"""Of devices whose times do not vary, or of which that is not known."""


def varies(link: LinkSpec) -> bool:
    """Tell whether a link's rate is more than one figure."""
    return bool(link.states) or link.bandwidth_error_bps > 0


def margin_s(
    head_s: np.ndarray,
    tail_s: np.ndarray,
    payload_bytes: np.ndarray,
    link: LinkSpec,
    spreads: Spreads,
    late_share: float,
    payload_spread: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Tell what to add to T1 + T2 + T3 so that all but ``late_share`` of the frames keep it [s].

    T3 is that of ``link.round_trip_s`` with the same ``late_share``.

    Args:
        head_s: T1 [s].
        tail_s: T2 [s].
        payload_bytes: what crosses [bytes].
        link: the link.
        spreads: how far T1 and T2 vary.
        late_share: share of the frames that may take longer, 0 to below 1.
        payload_spread: how far payloads vary from frame to frame, as share of their mean.
    """
    kept_s = 8.0 * payload_bytes / payload_rate_bps(link, late_share)
    rate_spread = link.bandwidth_error_bps / link.bandwidth_bps
    of_devices = (spreads.head * head_s) ** 2 + (spreads.tail * tail_s) ** 2
    least: np.ndarray | None = None
    for rate_bps, slower in _rates(link):
        if slower > late_share * (1.0 + ROUNDING):
            break
        payload_s = 8.0 * payload_bytes / rate_bps
        spread_s = np.sqrt(of_devices + (rate_spread**2 + payload_spread**2) * payload_s**2)
        more_s = payload_s - kept_s + _deviations((late_share - slower) / (1.0 - slower)) * spread_s
        least = more_s if least is None else np.minimum(least, more_s)
    assert least is not None  # nothing is slower than the slowest state
    return least


def _rates(link: LinkSpec) -> list[tuple[float, float]]:
    """Rates of the states [bit/s], rising, each with the share of the time when it is lower."""
    if not link.states:
        return [(link.bandwidth_bps, 0.0)]
    total_s = sum(state.mean_s for state in link.states)
    found, slower = [], 0.0
    for state in sorted(link.states):
        found.append((state.bandwidth_bps, slower))
        slower += state.mean_s / total_s
    return found


def _deviations(share: float) -> float:
    """Standard deviations above the mean that a normal deviate exceeds with this probability."""
    return NormalDist().inv_cdf(1.0 - min(max(share, _LEAST_SHARE), 1.0 - _LEAST_SHARE))
