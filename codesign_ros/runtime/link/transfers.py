"""The book of what was given to the link and when the news of its arrival came back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

# Transfers that are remembered at most, answered or not.
_REMEMBERED = 64
# An answer that is so much later than one to a later transfer does not come any more [s]:
# embeddings arrive in order, so it could only be to a frame that waits for the tail, and that does
# not wait for more than so many times what that spent on the last one. Nor is it so long [s].
_PATIENCE_S, _TURNS, _MOST_PATIENCE_S = 0.5, 5.0, 6.0
# Answers swap places by so little when a process stands still; by more, the link lost a packet of
# the first and it was sent again [s].
_SWAP_S = 0.05


@dataclass
class Transfer:
    """One embedding on the link.

    Attributes:
        payload_bytes: its size [bytes].
        started_s: when it was given to the link, on the robot's clock [s].
        is_frame: a frame's embedding, not a probe.
        alone: nothing that was sent before it was still unanswered.
        arrived_s: when the news of its arrival was here, less the tail's time [s]; None = not yet,
            or never.
        in_order: it did not arrive after what was sent later, nor before what was sent earlier.
    """

    payload_bytes: int
    started_s: float
    is_frame: bool
    alone: bool
    arrived_s: float | None = None
    in_order: bool = True

    @property
    def duration_s(self) -> float:
        """From its start to the news of its arrival [s]; 0 while there is none."""
        return 0.0 if self.arrived_s is None else self.arrived_s - self.started_s


class TransferBook:
    """Gives transfers back in the order in which they were sent; answers come in any order.

    A probe is answered at once where a frame waits for the tail, so its answer may overtake.
    Not thread safe.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Hashable, Transfer] = OrderedDict()
        # What the tail spent on the newest frame that it answered [s].
        self._remote_s = 0.0

    def sent(self, key: Hashable, payload_bytes: int, now_s: float, is_frame: bool) -> None:
        """Note that one goes to the link now."""
        self._open.pop(key, None)
        alone = all(each.arrived_s is not None for each in self._open.values())
        self._open[key] = Transfer(payload_bytes, now_s, is_frame, alone)
        while len(self._open) > _REMEMBERED:
            self._open.popitem(last=False)

    def answered(self, key: Hashable, now_s: float, remote_s: float) -> Transfer | None:
        """Note the answer to one.

        Args:
            key: which one.
            now_s: when the answer came [s].
            remote_s: what the tail says it spent on it [s]; it may say anything, not a number
                included, and then spent no time.

        Returns:
            The transfer; None if it is not known when it was sent, or it was answered before.
        """
        transfer = self._open.get(key)
        if transfer is None or transfer.arrived_s is not None:
            # It may have been given up too early, and so would the next ones be.
            self._remote_s = max(self._remote_s, remote_s)
            return None
        took_s = now_s - transfer.started_s
        spent_s = min(max(0.0, remote_s), took_s)
        transfer.arrived_s = now_s - spent_s
        if transfer.is_frame:
            self._remote_s = spent_s
        return transfer

    def take_complete(self, now_s: float) -> list[Transfer]:
        """Remove the oldest ones up to the first that may still be answered."""
        complete = []
        while self._open:
            key, first = next(iter(self._open.items()))
            if first.arrived_s is None and not self._overtaken(now_s):
                break
            complete.append(self._open.pop(key))
            self._note_order(first)
        return complete

    def _note_order(self, first: Transfer) -> None:
        """Mark what arrived well before one that was sent earlier, and that one."""
        if first.arrived_s is None:
            return
        for later in self._open.values():
            if later.arrived_s is not None and later.arrived_s < first.arrived_s - _SWAP_S:
                first.in_order = later.in_order = False

    def _overtaken(self, now_s: float) -> bool:
        arrivals_s = [t.arrived_s for t in self._open.values() if t.arrived_s is not None]
        patience_s = min(_PATIENCE_S + _TURNS * self._remote_s, _MOST_PATIENCE_S)
        return min(arrivals_s, default=now_s) < now_s - patience_s
