"""A radio that goes from one state to the next while frames cross it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from codesign_ros.types.errors import CodesignError
from codesign_ros.types.links import RadioState


class Radio:
    """Puts a link into the states of a radio in turn, until it is closed; a context manager.

    Each state lasts as long as the radio stays in it on average, so that every period is like the
    others and policies that are watched for whole periods can be compared.

    Args:
        states: the radio's states, in the order in which they come.
        set_bps: gives the link a rate [bit/s]; called on a thread of its own.

    Raises:
        CodesignError: there are no states.
    """

    def __init__(self, states: Sequence[RadioState], set_bps: Callable[[float], None]) -> None:
        if not states:
            raise CodesignError("the link has no states: give one of config/links.yaml that has")
        self._states = tuple(states)
        self._set_bps = set_bps
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._turn, name="radio", daemon=True)
        self.turns = 0

    def __enter__(self) -> Radio:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    @property
    def period_s(self) -> float:
        """Time from a state to the same one again [s]."""
        return period_s(self._states)

    def _turn(self) -> None:
        try:
            while not self._ended.is_set():
                state = self._states[self.turns % len(self._states)]
                self._set_bps(state.bandwidth_bps)
                self.turns += 1
                self._ended.wait(state.mean_s)
        except CodesignError as error:
            self._failure = error


def period_s(states: Sequence[RadioState]) -> float:
    """Time from a state to the same one again [s]."""
    return sum(state.mean_s for state in states)


def whole_periods_s(states: Sequence[RadioState], least_s: float) -> float:
    """The shortest time of whole periods that is not below another [s]."""
    period = period_s(states)
    return period * max(1, -int(-least_s // period))
