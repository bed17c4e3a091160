"""Whether the robot relies on the server, judged by what comes back and by nothing else.

Planner and tail may be gone together, and nobody is left then to tell the head. So it leaves the
server by itself, and returns by itself when answers come back. The plan in force stays what it is;
it is only not followed meanwhile.
"""

from __future__ import annotations

import math

# Times in a row that an answer was overdue: one alone may be a frame that went lost.
_OVERDUE = 2
# While the robot is on its own, answers must have come for so long before it relies on the server
# again [s]; a return that did not last makes it so many times longer, up to a limit [s].
_PATIENCE_S, _MORE_PATIENCE, _MOST_PATIENCE_S = 0.4, 5.0, 10.0
# They come for so long only if none is further from the next than this [s]: a few probes.
_HOLE_S = 0.75
# A return that lasted so long is forgotten as one that did not [s].
_LASTING_S = 6.0


class Judgement:
    """Follows what is sent to the server and what is answered.

    An overdue answer raises a doubt, and any answer ends it. A doubt that lasts, or a second one
    without an answer in time in between, makes the robot leave.

    A link that comes and goes every few seconds is not worth returning to: after each return that
    did not last, answers must have come for five times as long without a hole, up to a limit. Until
    a return has lasted, and the last doubt is as long ago, the server is on probation.

    Times are of any one steady clock [s]. Not thread safe.
    """

    def __init__(self) -> None:
        self._reason = ""
        self._is_certain = self._is_explained = False
        self._overdue = 0
        self._doubts = False
        self._doubted_s = -math.inf
        # Since when something is unanswered while nothing at all is answered [s].
        self._waiting_since_s = math.inf
        self._back_since_s = math.inf
        self._answered_s = -math.inf
        self._returned_s = self._on_probation_since_s = -math.inf
        self._patience_s = _PATIENCE_S

    @property
    def relies(self) -> bool:
        """Whether frames go to the server as the plan says, a passing doubt aside."""
        return not self._reason

    @property
    def doubts(self) -> bool:
        """Whether an answer is overdue and nothing has come since."""
        return self._doubts

    @property
    def reason(self) -> str:
        """Why the robot is on its own, one line; empty while it relies on the server."""
        return self._reason

    @property
    def is_certain(self) -> bool:
        """Whether the server was left for a reason that is certain."""
        return self._is_certain

    def asked(self, now_s: float) -> None:
        """Note that something was sent to which an answer must come."""
        self._waiting_since_s = min(self._waiting_since_s, now_s)

    def answered(self, now_s: float, *, is_link_busy: bool = False) -> None:
        """Note an answer of any kind.

        ``is_link_busy``: it was with something large, behind which small answers have no hole.
        """
        self._doubts = False
        self._waiting_since_s = math.inf
        if not self.relies:
            has_hole = now_s - self._answered_s > _HOLE_S and not is_link_busy
            self._back_since_s = now_s if has_hole else min(self._back_since_s, now_s)
        self._answered_s = now_s

    def in_time(self) -> None:
        """Note that an answer to a frame came in time."""
        self._overdue = 0

    def overdue(self, now_s: float, sent_s: float) -> None:
        """Note that an answer did not come in time to what was sent at ``sent_s``."""
        self._back_since_s = math.inf
        self._doubts = True
        if sent_s < self._doubted_s:  # its delay is the one that was noticed then
            return
        if self.is_on_probation(now_s):
            self._on_probation_since_s = now_s
        self._doubted_s = now_s
        self._overdue += 1
        if self._overdue >= _OVERDUE:
            self._leave(f"{self._overdue} answers in a row did not come in time", now_s)

    def excuse(self, missed_s: float, now_s: float) -> None:
        """Note that no answer could be heard for so long until now [s], whatever came."""
        if math.isfinite(self._waiting_since_s):
            self._waiting_since_s = min(now_s, self._waiting_since_s + missed_s)

    def check(self, now_s: float, limit_s: float) -> None:
        """Look whether the server has been silent for too long.

        Args:
            now_s: the time [s].
            limit_s: how long the oldest answer may be missing while no other comes [s].
        """
        silent_s = now_s - self._waiting_since_s
        if silent_s > limit_s:
            self._back_since_s = math.inf
            self._leave(f"no answer of any kind for {silent_s:.1f} s", now_s)

    def leave(self, reason: str) -> None:
        """Rely on the server no more, for a reason that is certain, one line.

        It is no sign of a link that comes and goes.
        """
        self._back_since_s = math.inf
        if self.relies:
            self._reason, self._is_certain = reason, True
            self._patience_s = _PATIENCE_S

    def renew(self) -> None:
        """Note that the server has just got a plan ready: the returns before say nothing of it."""
        self._patience_s = _PATIENCE_S

    def explain(self) -> None:
        """Note that the server, which was left, started anew: one answer shows that it is back.

        Where returns did not last, for it does so again and again, the rest of the patience stays.
        """
        self._is_explained = True

    def is_back(self, now_s: float) -> bool:
        """Whether a server that was left has answered for long enough to return to it."""
        patience_s = self._patience_s - (_PATIENCE_S if self._is_explained else 0.0)
        return not self.relies and now_s - self._back_since_s >= patience_s

    def is_on_probation(self, now_s: float) -> bool:
        """Whether it was returned to lately, after it had gone without a word."""
        return self.relies and now_s - self._on_probation_since_s < _LASTING_S

    def return_(self, now_s: float) -> None:
        """Rely on the server again."""
        self._on_probation_since_s = -math.inf if self._is_certain else now_s
        self._reason, self._is_certain, self._is_explained = "", False, False
        self._doubts = False
        self._overdue = 0
        self._waiting_since_s = math.inf
        self._returned_s = now_s

    def _leave(self, reason: str, now_s: float) -> None:
        if not self.relies:
            return
        self._reason = reason
        if now_s - self._returned_s < _LASTING_S:
            self._patience_s = min(_MOST_PATIENCE_S, _MORE_PATIENCE * self._patience_s)
        else:
            self._patience_s = _PATIENCE_S
