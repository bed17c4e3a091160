"""What rate the link really has in the long run, inferred from all that crossed it."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

LEAST_BPS, MOST_BPS = 2e4, 1e9
"""Rates that are told apart [bit/s]. Beyond, a link is as good as stopped, or as unlimited."""

OVERHEAD_BYTES = 500
"""What a message takes on the wire beside its payload: names, shapes, headers [bytes]."""

# Ratio of neighbouring rates and of neighbouring bursts among the hypotheses.
_RATE_STEP, _BURST_STEP = 1.08, 1.5
_BURSTS_BYTES = (1000 * _BURST_STEP ** np.arange(13)).astype(np.float32)  # up to 130 kB
# No link keeps to the model better than this share of the time that a transfer occupies it, nor a
# bucket to the nearest hypothesis of its size; what is shorter is the processes' doing [s].
_BUSY_NOISE, _BURST_NOISE, _LEAST_NOISE_S = 0.05, 0.2, 1.5e-3
# How late those were that hardly occupy the link by the best hypothesis is noise too, but for the
# worst of so many: a core that is busy with frames, or has used up its quota, is late more often
# than one that only answers probes, and a smaller bucket would explain that well. It is no more
# than a scheduler's period, for a link that changes is off by more [s].
_LATELY, _WORST, _MOST_NOISE_S = 20, 1, 10e-3
# Hypotheses whose likelihood is at least this share of the best one's fit as well: what is off in
# the same way every time would else become a certainty by repetition.
_NO_EVIDENCE = math.exp(-0.5)
# Share of the way that a hypothesis follows an arrival later than it foretold: most lateness is
# that of a busy core and not of the link.
_FOLLOW, _ONE = np.float32(0.1), np.float32(1.0)
# What passes at once, as sure as that, is late by the processes alone, and by no more than they are
# lately no evidence at all: thousands of small frames that come from a busy core would else tell a
# small bucket before a faster link, of which the probes, which then become small, say nothing else.
_SURE_BURST = 0.1
# A late arrival leaves a hypothesis this likelihood as long as it may be a process that stood
# still, and less the later it is than that lasts [s].
_STALL_LATE, _STALL_S = math.exp(-2.0), 0.05
# A rate is not possible where the true one lies on the same side of it with all but this.
_IMPOSSIBLE = 0.1
# Expected changes of the link: abrupt ones [1/s], and steps to a neighbouring rate [1/s].
_JUMPS_S, _STEPS_S = 0.003, 0.06
# They are taken into account so often, for that takes time [s].
_CHANGE_S = 0.1
# Whether the bucket was full or empty at the start matters for so long: the largest fills slowly,
# and is told from a small one by what passes once it has [s].
_EMPTY, _FILLED_S = 1, 30.0
# Share of the abrupt changes that change the burst too: it is how the link is made.
_NEW_BURST = 0.002


class LinkEstimator:
    """Bayesian estimate of the link's long-run rate and of the burst that passes above it.

    The link is a queue behind a token bucket (RFC 2697; Cruz 1991): after a pause, ``burst`` bytes
    pass at once, all others at ``rate``. A transfer of B bytes that starts at s, with T tokens in
    the bucket then, is over at ``max(s, end of the one before) + max(0, B - T) / rate``, and news
    of it is here a delay later. Each hypothesis, a pair of rate and burst on a grid, runs this
    queue with the real sizes and starts, and loses weight by how far off its arrivals are: late
    ones little, for a busy core makes them late too, early ones much, as nothing can.

    Whether the bucket is full when the first transfer comes is not known: others may have used the
    link. Each pair runs from a full and from an empty one at first; else an empty bucket would be
    taken for a small one, and what it lets pass once it has filled for a fast link.

    So a bucket's burst is told from the rate by what a busy link lets pass, small transfers that
    wait behind large ones are understood, and where nothing has been seen that shows the rate, the
    weights stay spread out. The weights are those of a hidden Markov model with rare jumps: many
    transfers make the estimate quiet, a few that do not fit make it move.

    What got no answer took an unknown part of the link: the middleware may have replaced it by a
    newer one before it left. What waited behind it is held until the middleware gives it up, and
    says only that the link is free then.

    Not thread safe.
    """

    def __init__(self) -> None:
        count = round(math.log(MOST_BPS / LEAST_BPS) / math.log(_RATE_STEP)) + 1
        self._log_rates = np.linspace(math.log(LEAST_BPS), math.log(MOST_BPS), count)
        self._bytes_s = (np.exp(self._log_rates)[:, None] / 8).astype(np.float32)
        self._s_per_byte = 1 / self._bytes_s
        # The bucket was full or empty when the first transfer came: rate, burst by either.
        shape = 2, count, len(_BURSTS_BYTES)
        self._weights = np.full(shape, 1 / math.prod(shape))
        # How long the link is still busy, from when the newest transfer started [s].
        self._rest_s = np.zeros(shape, np.float32)
        self._tokens = np.broadcast_to(_BURSTS_BYTES, shape).copy()
        self._tokens[_EMPTY] = 0.0
        self._first_s: float | None = None
        self._started_s, self._now_s = 0.0, -math.inf
        self._blocked_s = -math.inf
        # By how much those were off lately that should have passed nearly at once [s].
        self._off_s: deque[float] = deque([0.0] * _LATELY, maxlen=_LATELY)
        # Probability of all rates below the middle of each; None = to be worked out when asked for.
        self._below: np.ndarray | None = None

    def add(
        self,
        payload_bytes: int,
        started_s: float,
        arrived_s: float | None,
        delay_s: float,
        jitter_s: float,
    ) -> float | None:
        """Take in one transfer, in the order in which they were sent.

        Args:
            payload_bytes: its size [bytes].
            started_s: when it was given to the link [s].
            arrived_s: when the news of its arrival was here, on the same clock [s]; None = there
                was none.
            delay_s: time of a tiny transfer on a free link [s].
            jitter_s: by how much that varies [s].

        Returns:
            What it took beside its way through queue and bucket as the likeliest pair of rate and
            burst has it [s]; None where that says nothing.

        Raises:
            ValueError: size, delay or jitter is negative, or it arrived before it started.
        """
        if min(payload_bytes, delay_s, jitter_s) < 0 or (arrived_s or started_s) < started_s:
            raise ValueError(
                f"no transfer: {payload_bytes} bytes from {started_s} to {arrived_s} s, "
                f"delay {delay_s} s, jitter {jitter_s} s"
            )
        # All of it in single precision and in place: this runs for every frame, on the robot.
        if self._first_s is None:
            self._first_s = self._started_s = started_s
        elif started_s > self._first_s + _FILLED_S and len(self._weights) > 1:
            self._forget_the_start()
        rest_s, tokens = self._rest_s, self._tokens
        rest_s -= started_s - self._started_s
        self._started_s = started_s
        wire_bytes = payload_bytes + OVERHEAD_BYTES
        tokens += self._bytes_s * np.maximum(-rest_s, 0)
        np.minimum(tokens, _BURSTS_BYTES, out=tokens)
        passed_s = tokens * self._s_per_byte
        busy_s = np.maximum(wire_bytes * self._s_per_byte - passed_s, 0)
        np.maximum(tokens - wire_bytes, 0, out=tokens)
        np.maximum(rest_s, 0, out=rest_s)
        rest_s += busy_s
        if arrived_s is None:
            self._blocked_s = math.inf
            return None
        self._let_change(arrived_s)
        late_s = (arrived_s - delay_s - started_s) - rest_s
        if started_s <= self._blocked_s:
            self._blocked_s = min(self._blocked_s, arrived_s)
            rest_s += late_s
            np.maximum(rest_s, 0, out=rest_s)
            return None
        best = self._weights.argmax()
        beside_s = delay_s + float(late_s.flat[best])
        if rest_s.flat[best] < _MOST_NOISE_S:
            self._off_s.append(abs(float(late_s.flat[best])))
        usual_s = sorted(self._off_s)[_LATELY - 1 - _WORST]
        noise_s = max(jitter_s, _LEAST_NOISE_S, min(usual_s, _MOST_NOISE_S))
        is_late = late_s > 0
        passed_s *= busy_s > 0
        passed_s *= _BURST_NOISE
        passed_s *= passed_s
        busy_s *= _BUSY_NOISE
        busy_s *= busy_s
        variance = busy_s + passed_s
        variance += noise_s**2
        off_s = late_s
        if _BURSTS_BYTES[0] < wire_bytes <= self.burst_quantile_bytes(_SURE_BURST):
            off_s = late_s - np.clip(late_s, 0, np.float32(noise_s))
        half = off_s * off_s
        half *= 0.5
        # Student's t with two degrees of freedom, but for a factor that is the same for all, and a
        # heavier tail for a process that stood still. What is early counts twice.
        spread = variance + half
        fit = variance / spread
        precision = 1 / np.sqrt(variance)
        stalled = 1 / (1 + half / _STALL_S**2)
        stalled *= stalled * stalled
        stalled *= _STALL_LATE * precision
        late_fit = np.maximum(fit / np.sqrt(spread), stalled)
        likelihood = np.where(is_late, late_fit, fit * fit * fit * precision)
        np.minimum(likelihood, _NO_EVIDENCE * likelihood.max(), out=likelihood)
        self._weights *= likelihood
        self._weights /= self._weights.sum()
        self._below = None
        late_s *= np.where(is_late, _FOLLOW, _ONE)
        rest_s += late_s
        return beside_s

    def quantile_bps(self, share: float) -> float:
        """The rate below which the true one lies with this probability [bit/s]."""
        if self._below is None:
            weights = self._weights.sum(axis=(0, 2))
            self._below = np.cumsum(weights) - weights / 2
        below, log_rates = self._below, self._log_rates
        # By hand: `np.interp` takes three times as long for a single number.
        at = min(max(1, int(below.searchsorted(share))), len(below) - 1)
        first, second = float(below[at - 1]), float(below[at])
        part = (share - first) / (second - first) if second > first else 0.0
        part = min(max(0.0, part), 1.0)
        return math.exp(log_rates[at - 1] + part * (log_rates[at] - log_rates[at - 1]))

    def is_possible(self, rate_bps: float) -> bool:
        """Whether a rate has not been ruled out: it is among the likeliest 80 %."""
        return self.quantile_bps(_IMPOSSIBLE) <= rate_bps <= self.quantile_bps(1 - _IMPOSSIBLE)

    def doubt(self) -> None:
        """Take the rate for as likely another as the same from here on, the burst for the same."""
        self._weights = (self._weights + self._anywhere()) / 2
        self._below = None

    @property
    def has_filled(self) -> bool:
        """Whether it no longer matters how full the bucket was at the start."""
        return len(self._weights) == 1

    @property
    def spread(self) -> float:
        """Half of the range in which the rate lies with 80 %, as share of the rate."""
        return math.log(self.quantile_bps(0.9) / self.quantile_bps(0.1)) / 2

    @property
    def burst_bytes(self) -> float:
        """The burst [bytes], the most that is likely: it lies below with 90 %."""
        return self.burst_quantile_bytes(0.9)

    def burst_quantile_bytes(self, share: float) -> float:
        """The burst below which the true one lies with this probability [bytes]."""
        below = np.cumsum(self._weights.sum(axis=(0, 1)))
        return float(_BURSTS_BYTES[np.searchsorted(below, share)])

    def _forget_the_start(self) -> None:
        """Go on with the likelier start of each pair of rate and burst, which weighs as both."""
        best = self._weights.argmax(axis=0)[None]
        self._rest_s = np.take_along_axis(self._rest_s, best, axis=0)
        self._tokens = np.take_along_axis(self._tokens, best, axis=0)
        self._weights = self._weights.sum(axis=0, keepdims=True)

    def _let_change(self, now_s: float) -> None:
        """Spread the weights by what may have changed since the last transfer."""
        passed_s = min(1.0, now_s - self._now_s)
        if passed_s < _CHANGE_S:
            return
        self._now_s = now_s
        weights = self._weights
        step = _STEPS_S * passed_s / 2
        moved = (1 - 2 * step) * weights
        moved[:, 1:] += step * weights[:, :-1]
        moved[:, :-1] += step * weights[:, 1:]
        moved[:, 0] += step * weights[:, 0]
        moved[:, -1] += step * weights[:, -1]
        jump = _JUMPS_S * passed_s
        moved *= 1 - jump
        moved += jump * self._anywhere()
        self._weights = moved
        self._below = None

    def _anywhere(self) -> np.ndarray:
        """The weights after an abrupt change: any rate is as likely, the burst mostly the same."""
        starts, rates, bursts = self._weights.shape
        weights = (1 - _NEW_BURST) * self._weights.sum(axis=1, keepdims=True)
        weights += _NEW_BURST / (starts * bursts)
        return np.broadcast_to(weights / rates, self._weights.shape)
