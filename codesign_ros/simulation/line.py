"""One direction of a link: a token bucket whose rate may have states that come in turn."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import simpy

from codesign_ros.simulation.link_rate import StateRate
from codesign_ros.types import CodesignError, LinkSpec, RadioState

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
        self._rate = StateRate(LinkSpec.radio(states))
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
        gained = self._rate.bytes_between(self._filled_s, now_s)
        self._tokens = min(self._burst_bytes, self._tokens + gained)
        missing = max(0.0, size_bytes - self._tokens)
        self._tokens = max(0.0, self._tokens - size_bytes)
        # Rounding may put the end of nothing before its beginning.
        self._filled_s = max(now_s, self._rate.across_s(now_s, missing))
        return self._filled_s - now_s
