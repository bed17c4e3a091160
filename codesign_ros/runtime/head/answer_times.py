"""How long answers usually take, and from when on one is overdue."""

from __future__ import annotations

# Weights of the newest answer in the mean and in the mean deviation, and how many deviations an
# answer may be later than usual (RFC 6298, Eq. 2.3).
_MEAN_WEIGHT, _DEVIATION_WEIGHT, _DEVIATIONS = 1 / 8, 1 / 4, 4.0
# And so much later in any case, for processes stand still for a moment: half of the robot's own
# time within limits, or a guess [s]. It is doubled, up to the robot's own time, by each answer that
# was given up too early, and goes back slowly.
_LEAST_S, _MOST_S, _GUESS_S, _BACK = 0.05, 0.5, 0.2, 0.98
# Under a new plan the first answers may take so many times what it predicts, for several frames may
# be on their way at once.
_AT_FIRST = 4.0


class AnswerTimes:
    """The retransmission timeout of TCP (RFC 6298), for frames that the robot can finish itself.

    What is overdue costs the robot its own time, so to wait for much longer than that is no use.
    Not thread safe.

    Attributes:
        own_s: what the robot takes to compute a frame alone [s]; 0 = not known.
    """

    def __init__(self) -> None:
        self.own_s = 0.0
        self._expected_s = self._mean_s = self._deviation_s = 0.0
        self._slack_s = 0.0

    def begin(self, expected_s: float) -> None:
        """Begin anew, with a plan that predicts so long a time [s]; 0 = it predicts nothing."""
        self._expected_s, self._mean_s, self._deviation_s = expected_s, 0.0, 0.0

    def add(self, took_s: float) -> None:
        """Take the time from sending an embedding to its answer [s], which came in time."""
        if not self._mean_s:
            self._mean_s, self._deviation_s = took_s, took_s / 2
        else:
            off_s = abs(took_s - self._mean_s)
            self._deviation_s += _DEVIATION_WEIGHT * (off_s - self._deviation_s)
            self._mean_s += _MEAN_WEIGHT * (took_s - self._mean_s)
        self._slack_s = _BACK * self._slack_s

    def late(self) -> None:
        """Note an answer that came after it was overdue; it counts as one that just was not."""
        if (limit_s := self.limit_s) is None:
            return
        if self._mean_s:
            self.add(limit_s)
        most_s = max(self._least_slack_s, self.own_s)
        self._slack_s = min(most_s, 2 * max(self._slack_s, self._least_slack_s))

    @property
    def usual_s(self) -> float:
        """How long answers usually take [s]; a guess before the first."""
        return self._mean_s or self._expected_s or _GUESS_S

    @property
    def limit_s(self) -> float | None:
        """How long an answer may take [s]; None where nothing is known of it."""
        if self._mean_s:
            slack_s = max(self._slack_s, self._least_slack_s)
            return self._mean_s + _DEVIATIONS * self._deviation_s + slack_s
        return _AT_FIRST * self._expected_s + _GUESS_S if self._expected_s > 0 else None

    @property
    def _least_slack_s(self) -> float:
        return min(_MOST_S, max(_LEAST_S, self.own_s / 2)) if self.own_s else _GUESS_S
