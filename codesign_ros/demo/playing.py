"""A robot's camera that plays a recording once, from its first frame to the last result."""

from __future__ import annotations

import time
from collections.abc import Callable

from codesign_ros.nodes.observer import Observer
from codesign_ros.runtime.messages import Result

# The first frame's result must reach all who listen to it [s].
HEARD_TIMEOUT_S = 120.0
# Nothing arrives for so long: something is stuck [s].
STALL_TIMEOUT_S = 30.0
# Time for the last results, duplicates among them, once all frames have one [s].
SETTLE_S = 0.5
_PERIOD_S = 0.05


class Playing:
    """Steers the camera, and sees how far it is.

    Args:
        observer: hears the robot.
        robot: its namespace.
        check: called while something is waited for; raises CodesignError where that is in vain.
        listeners: how many of ours listen to the robot's results.
    """

    def __init__(
        self,
        observer: Observer,
        robot: str,
        check: Callable[[], None] = lambda: None,
        listeners: int = 1,
    ) -> None:
        self._observer = observer
        self._camera, self._head = f"{robot}/camera", f"{robot}/head"
        self._check = check
        self._listeners = listeners
        # Results that came before it played.
        self._before = 0

    @property
    def is_planned(self) -> bool:
        """Whether a plan with a server in reach is in force."""
        plans = self._observer.plans
        return bool(plans) and plans[-1][1].server_available

    @property
    def is_link_measured(self) -> bool:
        """Whether the head knows the link's rate."""
        return float(self._said_by(self._head).get("link_bps", 0)) > 0

    @property
    def frames_sent(self) -> int:
        """Frames that the camera says it sent."""
        return int(self._said_by(self._camera).get("frames", 0))

    @property
    def results(self) -> list[Result]:
        """What came since it played."""
        return [result for _, result in self._observer.results[self._before :]]

    @property
    def is_finished(self) -> bool:
        """Whether the recording is at its end, and every frame that was sent has a result."""
        # Where it plays again, what the camera said last is of the time before: as many frames.
        if self._said_by(self._camera).get("finished") != "True":
            return False
        return len({result.stamp.stamp_ns for result in self.results}) >= self.frames_sent

    def configure(self, pacing: str = "") -> None:
        """Have the camera open the recording, and wait until its results will be heard.

        Args:
            pacing: see the camera's parameter; empty = as it is, and that is ``window``.

        Raises:
            CodesignError: the camera refuses, or somebody is not there in time.
        """
        if pacing:
            self._observer.set_parameter(self._camera, "pacing", pacing)
        self._observer.change_state(self._camera, "configure")
        # A camera that follows the results listens too.
        listeners = self._listeners + (pacing in ("", "window"))
        self.wait(
            lambda: self._is_heard(listeners),
            "the first frame's result to be heard",
            HEARD_TIMEOUT_S,
        )

    def play(self) -> None:
        """Let it play from the recording's start.

        Raises:
            CodesignError: the camera refuses.
        """
        self._before = len(self._observer.results)
        self._observer.change_state(self._camera, "activate")

    def pause(self) -> None:
        """Have it stop; it may play again.

        Raises:
            CodesignError: the camera refuses.
        """
        self._observer.change_state(self._camera, "deactivate")

    def to_end(self, look: Callable[[int], None]) -> bool:
        """Wait until it is finished.

        Args:
            look: called again and again with the number of results so far; what it raises ends
                the waiting.

        Returns:
            False where no result came for ``STALL_TIMEOUT_S``.
        """
        progressed_s, seen = time.monotonic(), 0
        while not self.is_finished:
            if (now := len(self.results)) > seen:
                progressed_s, seen = time.monotonic(), now
            if time.monotonic() - progressed_s > STALL_TIMEOUT_S:
                return False
            look(seen)
            time.sleep(_PERIOD_S)
        look(len(self.results))
        time.sleep(SETTLE_S)
        return True

    def wait(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait for a condition, looking at ``check`` meanwhile.

        Raises:
            CodesignError: it did not come true in time, or ``check`` raised.
        """

        def checked() -> bool:
            self._check()
            return condition()

        self._observer.wait_until(checked, what, timeout_s)

    def _is_heard(self, listeners: int) -> bool:
        """Whether the head knows those who listen to its results, and the camera us.

        DDS brings results to those listeners alone that the sender knows of.
        """
        known = self._observer.knows("result") and self._observer.knows("ground_truth")
        there = self._said_by(self._head).get("listeners result")
        truths = self._said_by(self._camera).get("listeners ground_truth")
        return known and int(there or 0) >= listeners and int(truths or 0) >= self._listeners

    def _said_by(self, node: str) -> dict[str, str]:
        return self._observer.diagnostics.get(node, {})
