"""When a recording's next frame goes out: by its stamps, at a rate, or by a window of frames."""

from __future__ import annotations

import threading
import time

LONGEST_PAUSE_S = 60.0
"""A pause between two stamps that is longer counts as so long: a robot's clock jumps by years when
it is set [s]."""


class Pacer:
    """Decides when the next frame goes out; this one lets frames out as they come."""

    unanswered = 0

    def wait(self, recorded_ns: int) -> None:
        """Wait until the frame recorded at that time may go out, or playing is to stop."""

    def sent(self, stamp_ns: int) -> None:
        """Note that a frame went out under this stamp."""

    def answered(self, stamp_ns: int) -> None:
        """Note that the result of the frame with this stamp is there."""


class ClockPacer(Pacer):
    """Frames go out as far apart as they were recorded, or at a fixed rate.

    A recorded pause is ``LONGEST_PAUSE_S`` at most.

    Args:
        rate_hz: rate [Hz]; None = by the recorded stamps.
        stopping: set to stop waiting.
    """

    def __init__(self, rate_hz: float | None, stopping: threading.Event) -> None:
        self._rate_hz = rate_hz
        self._stopping = stopping
        self._frames = 0
        self._start_s = 0.0
        self._first_ns = 0
        self._last_ns = 0

    def wait(self, recorded_ns: int) -> None:
        """Wait for the frame's time, counted from the recording's first frame."""
        again = self._rate_hz is None and recorded_ns < self._last_ns  # the recording starts again
        if self._frames == 0 or again:
            self._start_s, self._first_ns = time.monotonic(), recorded_ns
        elif self._rate_hz is None:
            pause_ns = recorded_ns - self._last_ns
            self._first_ns += max(0, pause_ns - int(LONGEST_PAUSE_S * 1e9))
        self._last_ns = recorded_ns
        if self._rate_hz is None:
            offset_s = (recorded_ns - self._first_ns) / 1e9
        else:
            offset_s = self._frames / self._rate_hz
        self._frames += 1
        self._stopping.wait(max(0.0, self._start_s + offset_s - time.monotonic()))


class WindowPacer(Pacer):
    """At most so many frames are on their way; the next goes out when a result comes back.

    Args:
        window: frames in flight.
        timeout_s: go on without a result that takes longer; it counts as unanswered [s].
        stopping: set to stop waiting.
    """

    def __init__(self, window: int, timeout_s: float, stopping: threading.Event) -> None:
        self.unanswered = 0
        self._window = window
        self._timeout_s = timeout_s
        self._stopping = stopping
        self._in_flight: dict[int, float] = {}
        self._changed = threading.Condition()

    def wait(self, recorded_ns: int) -> None:
        """Wait until there is room in the window."""
        with self._changed:
            while len(self._in_flight) >= self._window and not self._stopping.is_set():
                oldest = min(self._in_flight, key=self._in_flight.__getitem__)
                left_s = self._in_flight[oldest] + self._timeout_s - time.monotonic()
                if left_s <= 0:
                    del self._in_flight[oldest]
                    self.unanswered += 1
                else:
                    # Not for long: nobody notifies when playing is to stop.
                    self._changed.wait(min(left_s, 0.1))

    def sent(self, stamp_ns: int) -> None:
        """Enter a frame into the window."""
        with self._changed:
            self._in_flight[stamp_ns] = time.monotonic()

    def answered(self, stamp_ns: int) -> None:
        """Take a frame out of the window."""
        with self._changed:
            if self._in_flight.pop(stamp_ns, None) is not None:
                self._changed.notify_all()


def make_pacer(
    pacing: str, *, rate_hz: float, window: int, timeout_s: float, stopping: threading.Event
) -> Pacer:
    """Make the pacer for ``live``, ``stamps``, ``rate`` or ``window``."""
    if pacing == "window":
        return WindowPacer(window, timeout_s, stopping)
    if pacing == "live":
        return Pacer()
    return ClockPacer(rate_hz if pacing == "rate" else None, stopping)
