"""How much of the link probes may take, and how large the next one should be."""

from __future__ import annotations

from codesign_ros.runtime.head.link_estimate import OVERHEAD_BYTES, LinkEstimator

TINY_BYTES = 64
"""Payload of a probe that shows the delay [bytes]."""

# Of the link's rate, once it is known, probes take at most 5 % in any window: a share flows in all
# the time, and as much may have been saved up at its beginning.
_FLOW_SHARE, _WINDOW_S = 0.025, 10.0
_FIRST_BYTES, _SMALL_BYTES, _LARGEST_BYTES = 2048, 4096, 524_288
# To learn the rate at first, a probe may take so long, should the link be as slow as is likely [s],
# and all of them together so many bytes, before they must keep to the share too.
_LEARNING_S, _LEARNING_BYTES = 0.5, 8_000_000
# Once the rate is known, a large probe is on the link about so long [s], and they are so far apart.
_ON_LINK_S, _PERIOD_S = 0.02, 2.0


class Prober:
    """Decides what probes are sent.

    At first nothing is known of the link. Probes start at 2 kB, each follows the answer to the one
    before, and they double as long as the slowest link that is still likely (5 %) would be done
    with one in half a second. So a bucket is emptied, of any size up to 130 kB, and the rate behind
    it shows; that takes what the bucket holds and some more, and no more than 8 MB. From then on
    all probes together, and what they cost beside their payload, stay below 5 % of the link in any
    10 s: tiny ones, and large ones only where the embeddings themselves do not show the rate. Where
    that share does not even empty the bucket (64 kB at 0.1 Mbit/s), an idle link's change of rate
    does not show until frames cross it.

    Not thread safe.
    """

    def __init__(self) -> None:
        self._credit_bytes = 0.0
        self._refilled_s: float | None = None
        self._learning_bytes = 0
        self._last_bytes = 0
        self._last_large_s = float("-inf")

    @property
    def may_learn(self) -> bool:
        """Whether probes that learn the rate at first may still go beyond the share."""
        return self._learning_bytes < _LEARNING_BYTES

    def tiny_bytes(self, estimator: LinkEstimator, known: bool, now_s: float) -> int:
        """Payload of the tiny probe that may be sent now [bytes]; 0 = none."""
        return self._pay(TINY_BYTES, estimator, known, now_s)

    def large_bytes(
        self, estimator: LinkEstimator, known: bool, sure: bool, frame_bytes: int, now_s: float
    ) -> int:
        """Payload of the large probe that should be sent now [bytes]; 0 = none.

        Args:
            estimator: what the link is like.
            known: the rate was known at some time.
            sure: it is known now.
            frame_bytes: payload of the newest frame [bytes].
            now_s: the time [s].
        """
        slow_bytes_s = estimator.quantile_bps(0.05) / 8
        if not known and self.may_learn:
            likely = max(_SMALL_BYTES, round(slow_bytes_s * _LEARNING_S))
            size = min(max(_FIRST_BYTES, 2 * self._last_bytes), likely, _LARGEST_BYTES)
            self._learning_bytes += size + OVERHEAD_BYTES
        else:
            if sure and now_s - self._last_large_s < _PERIOD_S:
                return 0
            # Much larger than the burst and than the frames: only then do the two tell other
            # pairs of rate and burst from the right one.
            show = 2 * max(estimator.burst_bytes, frame_bytes)
            show += estimator.quantile_bps(0.5) / 8 * _ON_LINK_S
            most = slow_bytes_s * _FLOW_SHARE * _WINDOW_S - OVERHEAD_BYTES
            size = round(min(show, most, _LARGEST_BYTES))
            if size < _FIRST_BYTES or not self._pay(size, estimator, True, now_s):
                return 0
        self._last_bytes, self._last_large_s = size, now_s
        return size

    def _pay(self, size: int, estimator: LinkEstimator, known: bool, now_s: float) -> int:
        """Take a probe from what has been saved up; its size, 0 = there is not enough."""
        bytes_s = estimator.quantile_bps(0.05) / 8 * _FLOW_SHARE
        passed_s = 0.0 if self._refilled_s is None else now_s - self._refilled_s
        self._refilled_s = now_s
        most = bytes_s * _WINDOW_S
        self._credit_bytes = min(most, self._credit_bytes + passed_s * bytes_s)
        cost = size + OVERHEAD_BYTES
        if not known and self.may_learn:
            self._learning_bytes += cost
        elif cost > self._credit_bytes:
            return 0
        else:
            self._credit_bytes -= cost
        return size
