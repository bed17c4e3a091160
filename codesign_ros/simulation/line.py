"""One direction of a link: a token bucket whose rate may have states that come in turn."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import simpy

from codesign_ros.types import CodesignError, RadioState

Process = Generator[simpy.Event, object, None]
"""What SimPy runs."""


class Line:
    """Carries one message after the other, in the order in which they come.

    The bucket is as that of ``tc tbf``: it holds up to ``burst_bytes``, is full at first, fills at
    the rate, and what finds enough in it passes at once. States come in turn, each for its mean
    duration, as the test bed's radio does.

    Args:
        env: simulated time.
        states: rates and how long they last; a steady rate is one state.
        delay_s: what a message travels beside, which keeps no other [s].
        burst_bytes: see above [bytes].

    Raises:
        CodesignError: there is no state.
    """

    def __init__(
        self,
        env: simpy.Environment,
        states: Sequence[RadioState],
        delay_s: float = 0.0,
        burst_bytes: float = 0.0,
    ) -> None:
        if not states:
            raise CodesignError("a simulated link needs at least one state with its rate")
        self.delay_s = delay_s
        self._env = env
        self._states = tuple(states)
        self._period_s = sum(state.mean_s for state in states)
        self._burst_bytes = self._tokens = burst_bytes
        self._filled_s = float(env.now)
        self._free = simpy.Resource(env)
        self.busy_s = 0.0

    def cross(self, size_bytes: float) -> Process:
        """Wait for those before it and pass the bucket; the delay is not in it."""
        with self._free.request() as turn:
            yield turn
            took_s = self._passes_s(size_bytes)
            self.busy_s += took_s
            yield self._env.timeout(took_s)

    def _passes_s(self, size_bytes: float) -> float:
        """How long a message that begins now needs; takes what it uses out of the bucket."""
        now_s = float(self._env.now)
        gained = self._bits_between(self._filled_s, now_s) / 8
        self._tokens = min(self._burst_bytes, self._tokens + gained)
        missing_bits = 8 * max(0.0, size_bytes - self._tokens)
        self._tokens = max(0.0, self._tokens - size_bytes)
        end_s = now_s
        while missing_bits > 0:
            rate_bps, left_s = self._state_at(end_s)
            step_s = min(missing_bits / rate_bps, left_s)
            end_s += step_s
            # The last step takes all that is left, whatever rounding says.
            missing_bits = missing_bits - rate_bps * step_s if step_s == left_s else 0.0
        self._filled_s = end_s
        return end_s - now_s

    def _bits_between(self, start_s: float, end_s: float) -> float:
        if len(self._states) == 1:
            return (end_s - start_s) * self._states[0].bandwidth_bps
        bits = 0.0
        while end_s - start_s > 1e-12:
            rate_bps, left_s = self._state_at(start_s)
            step_s = min(left_s, end_s - start_s)
            bits += rate_bps * step_s
            start_s += step_s
        return bits

    def _state_at(self, time_s: float) -> tuple[float, float]:
        """Rate [bit/s] at a time, and how long it lasts from then on [s]."""
        if len(self._states) == 1:
            return self._states[0].bandwidth_bps, float("inf")
        into_s = time_s % self._period_s
        for state in self._states:
            # What rounding leaves of a state is none of it.
            if into_s < state.mean_s - 1e-9:
                return state.bandwidth_bps, state.mean_s - into_s
            into_s = max(0.0, into_s - state.mean_s)
        return self._states[0].bandwidth_bps, self._states[0].mean_s
