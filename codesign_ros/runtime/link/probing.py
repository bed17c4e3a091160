"""How much of the link probes may take, and how large the next one should be."""

from __future__ import annotations

from collections import deque

from codesign_ros.runtime.link.estimate import OVERHEAD_BYTES, LinkEstimator

TINY_BYTES = 64
"""Payload of a probe that shows the delay [bytes]."""

# Of the link's rate, once it is known, probes take at most so much in any window: large ones, and
# tiny ones beside them. What is left to 5 % is for what packets take beside a message.
_WINDOW_S, _LARGE_SHARE, _TINY_SHARE = 10.0, 0.042, 0.006
_FIRST_BYTES, _SMALL_BYTES, _LARGEST_BYTES = 2048, 4096, 524_288
# To learn the rate at first, a probe may take so long, should the link be as slow as is likely [s],
# and all of them together so many bytes, before they must keep to the share too.
_LEARNING_S, _LEARNING_BYTES = 0.5, 8_000_000
# Once the rate is known, a large probe is on the link about so long [s], and they are so far apart.
_ON_LINK_S, _PERIOD_S = 0.02, 1.5
# A probe shows the rate only by what of it does not pass at once: it is so many times the burst,
# or at least so many where the share allows no more.
_BURSTS, _LEAST_BURSTS = 2.0, 1.4
# Of the large probes' share, what those take that look whether the rate is still the same.
_USUAL_SHARE = 0.9


class _Allowance:
    """Time of the link that was spent in the window, of a share of it.

    It counts time and not bytes: what was sent before the link became slow took little of it, and
    what was sent before it became fast would take little now.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._spent: deque[tuple[float, int, float]] = deque()

    def left_bytes(self, rate_bps: float, now_s: float) -> float:
        """What may still be sent now [bytes]."""
        while self._spent and self._spent[0][0] <= now_s - _WINDOW_S:
            self._spent.popleft()
        spent_s = sum(8 * size / max(then_bps, rate_bps) for _, size, then_bps in self._spent)
        return rate_bps / 8 * (_WINDOW_S * self._share - spent_s)

    def spend(self, size_bytes: int, rate_bps: float, now_s: float) -> None:
        """Note what is sent now, and the rate [bytes, bit/s]."""
        self._spent.append((now_s, size_bytes, rate_bps))


class Prober:
    """Decides what probes are sent.

    At first nothing is known of the link. Probes start at 2 kB, each follows the answer to the one
    before, and until one shows the rate they double, as long as the slowest link that is still
    likely (10 %) would be done with one in half a second. So a bucket is emptied, of any size up to
    130 kB, and the rate behind it shows; that takes what the bucket holds and some more, and no
    more than 8 MB. From then on all probes together, and what they cost beside their payload, stay
    below 5 % of the link in any 10 s: tiny ones, and large ones only where the embeddings
    themselves do not show the rate.

    That share bounds how soon an idle link's change shows, for a probe must be larger than the
    burst: at 0.8 Mbit/s every 1.5 s for a burst of 1.6 kB, every 10 s for 16 kB. Where a whole
    window's share does not empty the bucket (64 kB below 1.6 Mbit/s), a rise does not show until
    frames cross the link.

    Not thread safe.
    """

    def __init__(self) -> None:
        self._large, self._tiny = _Allowance(_LARGE_SHARE), _Allowance(_TINY_SHARE)
        self._learning_bytes = 0
        self._last_bytes = 0
        self._last_large_s = float("-inf")

    @property
    def may_learn(self) -> bool:
        """Whether probes that learn the rate at first may still go beyond the share."""
        return self._learning_bytes < _LEARNING_BYTES

    def begin_anew(self) -> None:
        """Learn the rate as at first."""
        self._learning_bytes = self._last_bytes = 0

    def tiny_bytes(self, estimator: LinkEstimator, known: bool, now_s: float) -> int:
        """Payload of the tiny probe that may be sent now [bytes]; 0 = none."""
        cost, slow_bps = TINY_BYTES + OVERHEAD_BYTES, estimator.quantile_bps(0.05)
        if not known and self.may_learn:
            self._learning_bytes += cost
        elif cost > self._tiny.left_bytes(slow_bps, now_s):
            return 0
        self._tiny.spend(cost, slow_bps, now_s)
        return TINY_BYTES

    def large_bytes(
        self,
        estimator: LinkEstimator,
        known: bool,
        shows: bool,
        sure: bool,
        frame_bytes: int,
        now_s: float,
    ) -> int:
        """Payload of the large probe that should be sent now [bytes]; 0 = none.

        Args:
            estimator: what the link is like.
            known: the rate was known at some time.
            shows: the one before has shown it.
            sure: it is known now.
            frame_bytes: payload of the newest frame [bytes].
            now_s: the time [s].
        """
        slow_bps = estimator.quantile_bps(0.1)
        if not known and self.may_learn:
            likely = max(_SMALL_BYTES, round(slow_bps / 8 * _LEARNING_S))
            # What has shown it is large enough: links drop what their queues cannot hold, and what
            # is then sent again takes much longer.
            larger = self._last_bytes * (1 if shows else 2)
            size = min(max(_FIRST_BYTES, larger), likely, _LARGEST_BYTES)
            self._learning_bytes += size + OVERHEAD_BYTES
        else:
            # Much larger than the burst and than the frames: only then do the two tell other
            # pairs of rate and burst from the right one.
            burst_bytes = max(estimator.burst_bytes, frame_bytes)
            show = _BURSTS * burst_bytes + slow_bps / 8 * _ON_LINK_S
            whole = slow_bps / 8 * _WINDOW_S * _LARGE_SHARE
            least = _LEAST_BURSTS * burst_bytes + OVERHEAD_BYTES
            # Where the share is little, small probes often rather than a large one seldom, and
            # something is kept for those that follow a surprise.
            count = min(_WINDOW_S / _PERIOD_S, whole * _USUAL_SHARE // least)
            most = whole * _USUAL_SHARE / count if count else whole
            if sure and now_s - self._last_large_s < _WINDOW_S / max(1, count):
                return 0
            left_bytes = self._large.left_bytes(slow_bps, now_s)
            if not sure:
                # A surprise: at once with what is left, where that is likely to tell something.
                likely_bytes = max(estimator.burst_quantile_bytes(0.5), frame_bytes)
                if left_bytes < _LEAST_BURSTS * likely_bytes + OVERHEAD_BYTES:
                    return 0
                most = left_bytes
            size = round(min(show, most, _LARGEST_BYTES)) - OVERHEAD_BYTES
            if size < _FIRST_BYTES or size + OVERHEAD_BYTES > left_bytes:
                return 0
        self._large.spend(size + OVERHEAD_BYTES, slow_bps, now_s)
        self._last_bytes, self._last_large_s = size, now_s
        return size
