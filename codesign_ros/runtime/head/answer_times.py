"""How long answers usually take, and from when on one is overdue."""

from __future__ import annotations

# Weights of the newest answer in the mean and in the mean deviation, and how many deviations an
# answer may be later than usual (RFC 6298, Eq. 2.3).
_MEAN_WEIGHT, _DEVIATION_WEIGHT, _DEVIATIONS = 1 / 8, 1 / 4, 4.0
# And so much later in any case [s]: processes stand still for a moment. It is doubled, up to a
# limit, by each answer that was given up too early, and goes back slowly.
_LEAST_S, _MOST_S, _BACK = 0.2, 2.0, 0.98


class AnswerTimes:
    """The retransmission timeout of TCP (RFC 6298), for frames that are finished on the robot.

    Not thread safe.
    """

    def __init__(self) -> None:
        self._mean_s = self._deviation_s = 0.0
        self._slack_s = _LEAST_S

    def add(self, took_s: float) -> None:
        """Take the time from sending an embedding to its answer [s]."""
        if not self._mean_s:
            self._mean_s, self._deviation_s = took_s, took_s / 2
        else:
            off_s = abs(took_s - self._mean_s)
            self._deviation_s += _DEVIATION_WEIGHT * (off_s - self._deviation_s)
            self._mean_s += _MEAN_WEIGHT * (took_s - self._mean_s)
        self._slack_s = max(_LEAST_S, _BACK * self._slack_s)

    def late(self) -> None:
        """Note an answer that came after it was given up."""
        self._slack_s = min(_MOST_S, 2 * self._slack_s)

    @property
    def limit_s(self) -> float | None:
        """How long an answer may take [s]; None before the first."""
        if not self._mean_s:
            return None
        return self._mean_s + _DEVIATIONS * self._deviation_s + self._slack_s
