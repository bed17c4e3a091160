"""The link: how long a payload occupies it, and how long one frame is on it.

Propagation delay does not occupy a link: while one frame travels, the next is sent. So the pace of
a pipeline counts the payload's bytes at the uplink's rate (Eq. 7 as it is printed), and the time of
one frame counts that, the delay there, the answer's bytes at the downlink's rate and the delay
back. Plans, policies, limits, energy, fleets and the running planner count by these functions.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from codesign_ros.types.links import LinkSpec

Number = TypeVar("Number", float, np.ndarray)
"""One candidate's value, or those of many as an array."""


def occupancy_s(payload_bytes: Number, link: LinkSpec) -> Number:
    """T_3 = N_e / beta_s of Eq. 7, with bytes made bits: how long a payload keeps the link [s]."""
    return 8.0 * payload_bytes / link.bandwidth_bps


def travel_s(link: LinkSpec, answer_bytes: float | None) -> float:
    """What a frame spends on the link beside its payload: delay there, answer, delay back [s].

    Args:
        link: the link.
        answer_bytes: size of the answer [bytes]; None = 0 s, for mode ``paper``: Eq. 7 and 8 as
            they are printed know neither delay nor answer.
    """
    if answer_bytes is None:
        return 0.0
    return link.delay_s + 8.0 * answer_bytes / link.back_bps + link.back_delay_s


def round_trip_s(
    payload_bytes: Number,
    link: LinkSpec,
    answer_bytes: float | None,
    late_share: float | None = None,
) -> Number:
    """T3 of one frame, there and back, without the server's own time [s].

    Args:
        payload_bytes: what crosses [bytes].
        link: the link.
        answer_bytes: see :func:`travel_s`.
        late_share: see :func:`payload_rate_bps`.
    """
    return 8.0 * payload_bytes / payload_rate_bps(link, late_share) + travel_s(link, answer_bytes)


def saved_by_burst_s(
    payload_bytes: Number, link: LinkSpec, idle_s: Number, late_share: float | None = None
) -> Number:
    """By how much sooner a frame is across, whose link carried nothing for a while before it [s].

    The link's token bucket fills at its rate meanwhile, up to its depth, and so much passes at once
    (RFC 2697). Frames that flow find it empty.

    Args:
        payload_bytes: what crosses [bytes].
        link: the link.
        idle_s: how long it carried nothing [s].
        late_share: see :func:`payload_rate_bps`.
    """
    bytes_s = payload_rate_bps(link, late_share) / 8.0
    filled_bytes = np.minimum(link.burst_bytes, bytes_s * idle_s)
    return np.minimum(payload_bytes, filled_bytes) / bytes_s


def payload_rate_bps(link: LinkSpec, late_share: float | None = None) -> float:
    """The rate by which one frame's payload takes its mean time, or its time with few exceptions.

    Frames are spread evenly over time, a frame finds a state with the state's share of the time,
    and a state outlasts a frame. The mean time of a payload then goes by the harmonic mean of the
    rates, which is below their mean. A frame is the later the lower the rate, so all but
    ``late_share`` of the frames take no longer than at the greatest rate r with
    P(rate < r) <= ``late_share``.

    Args:
        link: the link; without states its rate is the answer.
        late_share: share of the frames that may take longer; None = the mean time.
    """
    if not link.states:
        return link.bandwidth_bps
    states = sorted(link.states)
    total_s = sum(state.mean_s for state in states)
    if late_share is None:
        return total_s / sum(state.mean_s / state.bandwidth_bps for state in states)
    slower_s, kept_bps = 0.0, states[0].bandwidth_bps
    for state in states:
        if slower_s > late_share * total_s * (1.0 + ROUNDING):
            break
        kept_bps = state.bandwidth_bps
        slower_s += state.mean_s
    return kept_bps


ROUNDING = 1e-12
