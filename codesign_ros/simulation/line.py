"""One direction of a link: a token bucket."""

from __future__ import annotations

from collections.abc import Generator

import simpy

from codesign_ros.simulation.link_rate import LinkRate

Process = Generator[simpy.Event, object, None]
"""What SimPy runs."""


class Line:
    """Carries one message after the other, in the order in which they come.

    The bucket is as that of ``tc tbf``: it holds up to ``burst_bytes``, is full at first, fills at
    the rate, and what finds enough in it passes at once.

    Args:
        env: simulated time.
        rate: over time.
        delay_s: what a message travels beside, which keeps no other [s].
        burst_bytes: see above [bytes].
        overhead_bytes: what crosses with each message, as its headers [bytes].
    """

    def __init__(
        self,
        env: simpy.Environment,
        rate: LinkRate,
        delay_s: float = 0.0,
        burst_bytes: float = 0.0,
        overhead_bytes: float = 0.0,
    ) -> None:
        self.delay_s = delay_s
        self._env = env
        self._rate = rate
        self._overhead_bytes = overhead_bytes
        self._burst_bytes = self._tokens = burst_bytes
        self._filled_s = float(env.now)
        self._free = simpy.Resource(env)
        self.busy_s = 0.0

    def cross(self, size_bytes: float) -> Process:
        """Wait for those before it and pass the bucket; the delay is not in it."""
        with self.turn() as turn:
            yield turn
            yield from self.passes(size_bytes)

    def turn(self) -> simpy.resources.resource.Request:
        """Ask for the line; whoever has it lets messages pass, and gives it back."""
        return self._free.request()

    def passes(self, size_bytes: float) -> Process:
        """Pass the bucket; the line is the caller's."""
        took_s = self._passes_s(size_bytes + self._overhead_bytes)
        self.busy_s += took_s
        yield self._env.timeout(took_s)

    def _passes_s(self, size_bytes: float) -> float:
        """How long a message that begins now needs; takes what it uses out of the bucket."""
        now_s = float(self._env.now)
        if self._burst_bytes:
            gained = self._rate.bytes_between(self._filled_s, now_s)
            self._tokens = min(self._burst_bytes, self._tokens + gained)
        missing = max(0.0, size_bytes - self._tokens)
        self._tokens = max(0.0, self._tokens - size_bytes)
        # Rounding may put the end of nothing before its beginning.
        self._filled_s = max(now_s, self._rate.across_s(now_s, missing))
        return self._filled_s - now_s
