"""Probes as large as frames, whose answers decide on the return to a server that was left."""

from __future__ import annotations

import math

# A trial is a frame and what the link may let through at once; so many frames where that is not
# known, or would be more; and no more than this [bytes].
_MOST_FRAMES, _MOST_BYTES = 3, 500_000
# Trials begin so far apart at least [s]. After one that failed the link has twice as long for
# others; but no longer than this [s], or half as long where it took long, for a link that is itself
# again would show too late.
_APART_S, _SHARE, _PAUSE_S, _LEAST_SHARE = 1.0, 2.0, 1.0, 0.5

PATIENCE_S = 3.0
"""One that has no answer after so long has failed, whatever else is answered [s]."""


class Trials:
    """When trials are sent, and whether they pass.

    The middleware keeps few embeddings, and answers come in order: where what was sent after a
    trial is answered and the trial is not, it is lost. On a thin link that is usual, for its queue
    holds less than a trial: to wait for such a one would be to wait in vain, and the next is half
    as large, down to one frame.

    Times are of any one steady clock [s]. Not thread safe.
    """

    def __init__(self) -> None:
        # The one that is out: number, when it was sent [s], size [bytes].
        self._out: tuple[int, float, int] | None = None
        self._next_s = -math.inf
        self._most_bytes = _MOST_BYTES

    @property
    def is_out(self) -> bool:
        """Whether the answer to one may still come."""
        return self._out is not None

    def payload_bytes(self, now_s: float, frame_bytes: int, burst_bytes: float) -> int:
        """Payload of the trial that should be sent now [bytes]; 0 = none.

        Args:
            now_s: the time [s].
            frame_bytes: payload of the newest frame [bytes]; 0 = there was none.
            burst_bytes: what the link lets through at once after a pause [bytes]; 0 = not known.
        """
        if self._out is not None and now_s > self._out[1] + PATIENCE_S:
            self._lost(now_s)
        if self._out is not None or now_s < self._next_s:
            return 0
        size = _MOST_FRAMES * frame_bytes
        if burst_bytes > 0:
            size = min(size, round(frame_bytes + burst_bytes))
        return min(max(frame_bytes, min(size, self._most_bytes)), _MOST_BYTES)

    def hold(self, until_s: float) -> None:
        """Send none before a time [s]."""
        self._next_s = max(self._next_s, until_s)

    def sent(self, number: int, payload_bytes: int, now_s: float) -> None:
        """Note that one is sent, as a probe of that number."""
        self._out = number, now_s, payload_bytes
        self._next_s = now_s + _APART_S

    def passes(
        self, number: int, now_s: float, frame_bytes: int, usual_s: float, limit_s: float | None
    ) -> bool:
        """Take the answer to a probe; whether it is the trial, in hardly more time than a frame.

        Args:
            number: of the probe.
            now_s: the time [s].
            frame_bytes: payload of the newest frame [bytes].
            usual_s: what a frame usually takes [s].
            limit_s: what one may take [s]; None = anything.
        """
        if self._out is None or number < self._out[0]:
            return False
        trial, sent_s, payload_bytes = self._out
        if number > trial:
            self._lost(now_s)
            return False
        self._out = None
        more_s = max(0.0, payload_bytes / max(1, frame_bytes) - 1) * usual_s
        took_s = now_s - sent_s
        if limit_s is not None and took_s > limit_s + more_s:
            self._pause(took_s, now_s)
            return False
        self._most_bytes = _MOST_BYTES
        return True

    def _lost(self, now_s: float) -> None:
        assert self._out is not None
        _, sent_s, payload_bytes = self._out
        self._out, self._most_bytes = None, payload_bytes // 2
        self._pause(now_s - sent_s, now_s)

    def _pause(self, took_s: float, now_s: float) -> None:
        pause_s = min(_SHARE * took_s, max(_PAUSE_S, _LEAST_SHARE * took_s))
        self.hold(now_s + pause_s)
