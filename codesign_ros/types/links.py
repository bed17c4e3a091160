"""The link between robot and server: rates, delays, and the states of a radio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from codesign_ros.types.errors import CodesignError


class RadioState(NamedTuple):
    """A state that a radio is in for a while: its rate [bit/s] and how long it lasts [s].

    ``mean_s`` is the mean duration of one stay; samples of a rate are states of equal duration.
    """

    bandwidth_bps: float
    mean_s: float = 1.0


@dataclass(frozen=True)
class LinkSpec:
    """The link between robot and server.

    Attributes:
        bandwidth_bps: beta_s, rate of the uplink over the long run [bit/s].
        delay_s: propagation delay from the robot to the server [s].
        name: what it is called.
        transmit_w: what the robot's radio draws while it sends [W]; None = not known.
        downlink_bps: rate of the way back [bit/s]; None = the uplink's.
        downlink_delay_s: propagation delay of the way back [s]; None = the same as the way there.
        burst_bytes: what the link lets pass at once before its rate holds (a token bucket's depth)
            [bytes]. It counts where latency is the objective, one frame at a time: frames that
            flow leave the bucket empty. Whoever measures the rate must look past it.
        bandwidth_error_bps: how far off ``bandwidth_bps`` may be, a standard deviation [bit/s].
        states: of a rate that varies; ``bandwidth_bps`` is then their mean over time, as
            :meth:`radio` works it out.

    Raises:
        CodesignError: a rate or duration is not above 0, or a delay, a power or a burst is below.
    """

    bandwidth_bps: float
    delay_s: float = 0.0
    name: str = ""
    transmit_w: float | None = None
    downlink_bps: float | None = None
    downlink_delay_s: float | None = None
    burst_bytes: float = 0.0
    states: tuple[RadioState, ...] = ()
    bandwidth_error_bps: float = 0.0

    def __post_init__(self) -> None:
        # Written so that NaN fails too.
        for rate_bps in (
            self.bandwidth_bps,
            self.back_bps,
            *(s.bandwidth_bps for s in self.states),
        ):
            if not rate_bps > 0:
                raise CodesignError(f"the link's rate must be above 0 bit/s, not {rate_bps:g}")
        for delay_s in (self.delay_s, self.back_delay_s):
            if not 0 <= delay_s < math.inf:
                raise CodesignError(f"the link's delay must be 0 s or more, not {delay_s:g}")
        if self.transmit_w is not None and not 0 <= self.transmit_w < math.inf:
            raise CodesignError(
                f"the power of the link's radio must be 0 W or more, not {self.transmit_w:g}"
            )
        if not 0 <= self.burst_bytes < math.inf:
            raise CodesignError(
                f"the link's burst must be 0 bytes or more, not {self.burst_bytes:g}"
            )
        if not 0 <= self.bandwidth_error_bps < math.inf:
            raise CodesignError(
                f"the error of the link's rate must be 0 bit/s or more, not "
                f"{self.bandwidth_error_bps:g}"
            )
        for state in self.states:
            if not 0 < state.mean_s < math.inf:
                raise CodesignError(
                    f"a state of the link must last above 0 s on average, not {state.mean_s:g}"
                )

    @classmethod
    def radio(cls, states: Sequence[RadioState], **more: Any) -> LinkSpec:
        """Make a link of a rate that varies; ``more`` are the other fields.

        Raises:
            CodesignError: there is no state, or as the class.
        """
        if not states:
            raise CodesignError("a radio needs at least one state with its rate and duration")
        total_s = sum(state.mean_s for state in states)
        mean_bps = sum(state.bandwidth_bps * state.mean_s for state in states) / total_s
        return cls(mean_bps, states=tuple(states), **more)

    @property
    def back_bps(self) -> float:
        """Rate of the way back [bit/s]."""
        return self.bandwidth_bps if self.downlink_bps is None else self.downlink_bps

    @property
    def back_delay_s(self) -> float:
        """Propagation delay of the way back [s]."""
        return self.delay_s if self.downlink_delay_s is None else self.downlink_delay_s

    def scaled(self, factor: float) -> LinkSpec:
        """The same with an uplink ``factor`` times as fast, in every state; the way back stays."""
        states = tuple(s._replace(bandwidth_bps=factor * s.bandwidth_bps) for s in self.states)
        return replace(
            self,
            bandwidth_bps=factor * self.bandwidth_bps,
            downlink_bps=self.back_bps,
            states=states,
            bandwidth_error_bps=factor * self.bandwidth_error_bps,
        )

    def at_rate(self, bandwidth_bps: float) -> LinkSpec:
        """The same with an uplink of this steady rate [bit/s]."""
        return replace(self, bandwidth_bps=bandwidth_bps, states=())
