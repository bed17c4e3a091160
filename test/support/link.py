"""A link with a token bucket, a queue and unsteady processes at both ends, in simulated time."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from codesign_ros.runtime.link.meter import LinkMeter, LinkTime

PROBE_PERIOD_S = 0.5


@dataclass
class Frames:
    """What the robot sends beside probes: sizes [bytes], a rate [Hz], and how many in flight."""

    size_bytes: int
    rate_hz: float
    window: int = 1
    size_spread: float = 0.1


@dataclass
class SimulatedLink:
    """Carries what a ``LinkMeter`` decides to probe, and frames, over a link of known make.

    Args:
        rate_bps: rate of the bucket [bit/s].
        burst_bytes: what it holds [bytes].
        overhead_bytes: what each message takes on the wire beside its payload [bytes].
        delay_s: there and back [s].
        jitter_s: mean of what each message takes more, exponentially distributed [s].
        stalls_s: once a second (Poisson) a process stands still for up to so long [s].
        busy_s: half of the frames, not probes, take up to so long more: a core is busy with them,
            or has used up its quota [s].
        throttled_s: probes, not frames, take up to so long more: the robot computes while they
            are away, and has used up its quota when they are back.
        starts_full: whether the bucket is full when the robot begins; else others emptied it.
    """

    rate_bps: float
    burst_bytes: int
    seed: int = 0
    overhead_bytes: int = 500
    delay_s: float = 0.004
    jitter_s: float = 0.001
    stalls_s: float = 0.03
    busy_s: float = 0.0
    throttled_s: float = 0.0
    starts_full: bool = True
    meter: LinkMeter = field(default_factory=LinkMeter)

    def __post_init__(self) -> None:
        self.now_s = 100.0
        self.probe_sends: list[tuple[float, int]] = []
        self.announced: list[tuple[float, float, float]] = []
        self.link_times: list[LinkTime] = []
        self._rng = np.random.default_rng(self.seed)
        self._free_s = self.now_s
        self._tokens = float(self.burst_bytes) if self.starts_full else 0.0
        self._events: list[tuple[float, int, str, tuple]] = []
        self._count = 0
        self._in_flight = 0
        self._due_s = 0.0
        self._at(self.now_s, "timer")
        self._stall_s = self._stalled_until_s = self.now_s

    def run(self, duration_s: float, frames: Frames | None = None) -> LinkMeter:
        """Let time pass."""
        end_s = self.now_s + duration_s
        self._frames = frames
        if frames is not None:
            self._due_s = max(self._due_s, self.now_s)
            self._at(self._due_s, "frame")
        while self._events and self._events[0][0] <= end_s:
            self.now_s, _, what, about = heapq.heappop(self._events)
            getattr(self, f"_on_{what}")(*about)
        self.now_s = end_s
        self._events = [event for event in self._events if event[2] != "frame"]
        heapq.heapify(self._events)
        return self.meter

    def _at(self, time_s: float, what: str, *about: object) -> None:
        self._count += 1
        heapq.heappush(self._events, (time_s, self._count, what, about))

    def _on_timer(self) -> None:
        self._probe()
        self._at(self.now_s + PROBE_PERIOD_S, "timer")

    def _on_frame(self) -> None:
        frames = self._frames
        if frames is None or self.now_s < self._due_s or self._in_flight >= frames.window:
            return
        spread = self._rng.uniform(-frames.size_spread, frames.size_spread)
        self._due_s = max(self._due_s + 1 / frames.rate_hz, self.now_s)
        self._in_flight += 1
        self._send(round(frames.size_bytes * (1 + spread)), is_frame=True)
        self._at(self._due_s, "frame")

    def _on_answer(self, key: tuple, is_frame: bool) -> None:
        self.link_times.append(self.meter.answered(key, self.now_s, 0.0))
        self.announced.append((self.now_s, self.meter.bandwidth_bps, self.meter.error_bps))
        if is_frame:
            self._in_flight -= 1
            self._on_frame()
        elif self.meter.learning:
            self._probe()

    def _probe(self) -> None:
        for size in self.meter.probes(self.now_s):
            self.probe_sends.append((self.now_s, size))
            self._send(size, is_frame=False)

    def _send(self, size: int, is_frame: bool) -> None:
        self._count += 1
        key = (is_frame, self._count)
        if not is_frame:
            self.meter.probe_sent(key, size, self.now_s)
        self.meter.sent(key, size, self.now_s, is_frame)
        begin_s = max(self.now_s, self._free_s)
        refilled = self._tokens + self.rate_bps / 8 * (begin_s - self._free_s)
        tokens = min(self.burst_bytes, refilled)
        wire = size + self.overhead_bytes
        self._free_s = begin_s + max(0.0, wire - tokens) * 8 / self.rate_bps
        self._tokens = max(0.0, tokens - wire)
        arrival_s = self._free_s + self.delay_s + self._rng.exponential(self.jitter_s)
        if is_frame and self.busy_s and self._rng.random() < 0.5:
            arrival_s += self._rng.uniform(0, self.busy_s)
        if not is_frame and self.throttled_s:
            arrival_s += self._rng.uniform(0, self.throttled_s)
        # Whatever comes while a process stands still is dealt with when it goes on.
        while arrival_s >= self._stalled_until_s:
            self._stall_s = self._stalled_until_s + self._rng.exponential(1.0)
            self._stalled_until_s = self._stall_s + self._rng.uniform(0, self.stalls_s)
        if arrival_s >= self._stall_s:
            arrival_s = self._stalled_until_s
        self._at(arrival_s, "answer", key, is_frame)
