"""The line between a head and a tail that train together: named tensors, both ways, nothing else.

It stands on ``torch.distributed`` with gloo, point to point. Its object collectives pickle and are
not used: both sides know from the cut which tensors come, their shapes and types.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist

from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import TensorSpec

ROLES = ("head", "tail")
"""The two sides, in the order of their ranks."""

# For a side to be there at all: it imports torch and builds its network [s].
_START_S = 60.0


class PeerError(CodesignError):
    """The other side went away, or did not answer in time."""


class SplitLink:
    """One side's end of the line; a process has one at a time.

    Args:
        role: ``head`` or ``tail``.
        rendezvous: where the sides meet: ``file:///PATH`` of a file that does not exist yet and
            both see, or ``tcp://HOST:PORT`` of the head.
        timeout_s: how long to wait for each message [s]; for the other side to come, at least 60 s.

    Attributes:
        sent_bytes: size of all tensors sent so far; the counts that go before them do not count.
        received_bytes: the same for those received.

    Raises:
        PeerError: the other side did not come.
    """

    def __init__(self, role: str, rendezvous: str, timeout_s: float) -> None:
        self._rank = ROLES.index(role)
        self._peer = 1 - self._rank
        self._timeout_s = timeout_s
        start_s = max(timeout_s, _START_S)
        self.role = role
        self.peer_role = ROLES[self._peer]
        self.sent_bytes = 0
        self.received_bytes = 0
        try:
            dist.init_process_group(
                "gloo",
                init_method=rendezvous,
                rank=self._rank,
                world_size=len(ROLES),
                timeout=timedelta(seconds=start_s),
            )
        except RuntimeError:
            raise PeerError(
                f"the {role} waited {start_s:g} s at {rendezvous} and the {self.peer_role} "
                "did not come: start both within that time"
            ) from None

    def agree(self, *, cut: int, steps: int, crossing: Sequence[TensorSpec]) -> None:
        """Make sure that both sides mean the same before the first tensor.

        Raises:
            CodesignError: cut, number of steps or crossing tensors differ.
            PeerError: the other side is gone.
        """
        what = repr([(spec.name, spec.shape, spec.dtype) for spec in crossing]).encode()
        digest = int.from_bytes(hashlib.sha256(what).digest()[:7], "big")
        theirs = self._swapped([cut, steps, digest])
        for name, own, other in (("cut", cut, theirs[0]), ("steps", steps, theirs[1])):
            if own != other:
                raise CodesignError(
                    f"{name} {own} at the {self.role} but {other} at the {self.peer_role}: "
                    "start both with the same"
                )
        if digest != theirs[2]:
            raise CodesignError(
                f"head and tail are of different networks: other tensors cross at cut {cut}"
            )

    def finish(self) -> None:
        """Wait until the other side has done its last step too."""
        self._swapped([0])

    def send_count(self, count: int) -> None:
        """Announce how many samples the next tensors have."""
        self._exchange(send=[torch.tensor([count])])

    def receive_count(self) -> int:
        """Receive what ``send_count`` sent."""
        count = torch.empty(1, dtype=torch.int64)
        self._exchange(receive=[count])
        return int(count)

    def send(self, tensors: Sequence[torch.Tensor]) -> None:
        """Send tensors; the other side calls ``receive`` with their specs in the same order."""
        whole = [tensor.detach().contiguous() for tensor in tensors]
        self._exchange(send=whole)
        self.sent_bytes += sum(t.nbytes for t in whole)

    def receive(self, specs: Sequence[TensorSpec], count: int) -> list[torch.Tensor]:
        """Receive tensors of ``count`` samples; ``specs`` have batch 1."""
        tensors = [
            torch.empty(count, *spec.shape[1:], dtype=getattr(torch, spec.dtype)) for spec in specs
        ]
        self._exchange(receive=tensors)
        self.received_bytes += sum(t.nbytes for t in tensors)
        return tensors

    def close(self) -> None:
        """End the line; the other side notices at once."""
        dist.destroy_process_group()

    def _swapped(self, numbers: list[int]) -> list[int]:
        theirs = torch.empty(len(numbers), dtype=torch.int64)
        self._exchange(send=[torch.tensor(numbers)], receive=[theirs])
        return [int(number) for number in theirs]

    def _exchange(
        self, send: Sequence[torch.Tensor] = (), receive: Sequence[torch.Tensor] = ()
    ) -> None:
        """Start all transfers, then wait for each; gloo says what goes wrong as RuntimeError."""
        try:
            works = [dist.isend(t, self._peer, tag=tag) for tag, t in enumerate(send)]
            works += [dist.irecv(t, self._peer, tag=tag) for tag, t in enumerate(receive)]
            for work in works:
                assert work is not None  # it is for processes that are neither side
                work.wait(timedelta(seconds=self._timeout_s))
        except RuntimeError as error:
            late = "imed out" in str(error)
            what = f"did not answer for {self._timeout_s:g} s" if late else "went away"
            raise PeerError(f"the {self.peer_role} {what} while the {self.role} waited") from None
