"""What a network needs to have in memory: weights, and the activations that are alive at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from codesign_ros.models.network import IMAGE, Network, meta_image, on_meta


def weight_bytes(network: Network) -> tuple[int, ...]:
    """Size of the weights and statistics of each segment [bytes].

    What a segment uses twice counts once; what two segments share counts for each, as either half
    needs it.
    """
    return tuple(
        sum(t.nbytes for t in (*segment.parameters(), *segment.buffers()))
        for segment in network.segments
    )


def peak_live_bytes(network: Network) -> tuple[int, ...]:
    """Size of the largest set of fp32 activations that are alive at once in each segment [bytes].

    Operations run one by one, in order; a tensor lives from the operation that makes it to the last
    one that reads it, so one that a later segment takes (a skip connection) lives on through those
    between. Views and operations in place take no memory of their own, and integers (the places of
    a pooling's maxima) are not counted, as inference engines do not make them. Engines that fuse
    operations need less, those that keep tensors for longer need more.
    """
    network = on_meta(network)
    image = meta_image(network.input_spec)
    trace = _Trace(network)
    made = {IMAGE: image}
    with torch.no_grad(), trace:
        for cut in range(len(network.segments)):
            trace.begin(cut, made.values())
            crossing = [spec.name for spec in network.crossing(cut + 1)]
            made = network.run(made, cut, cut + 1, crossing)
        # The outputs are read at the end.
        trace.begin(len(network.segments), made.values())
    return trace.peaks(len(network.segments))


class _Trace(TorchDispatchMode):
    """Writes down which memory each step makes and reads; step by step, whatever it is."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        weights = (*network.parameters(), *network.buffers())
        self._weights = {_memory(t) for t in weights}
        self._segment_of: list[int] = []
        # By memory: its size, its first and its last step.
        self._lives: dict[int, tuple[int, int, int]] = {}
        # Held until the end, since the address of memory that is gone may be given out again.
        self._held: list[torch.Tensor] = []

    def begin(self, segment: int, tensors: Any) -> None:
        """Begin a segment, before which ``tensors`` were made."""
        self._step(segment, tensors)

    def peaks(self, segments: int) -> tuple[int, ...]:
        """The fullest step of each segment [bytes]."""
        changes = np.zeros(len(self._segment_of) + 1, np.int64)
        for size, first, last in self._lives.values():
            changes[first] += size
            changes[last + 1] -= size
        live_bytes, segment_of = np.cumsum(changes)[:-1], np.array(self._segment_of)
        return tuple(int(live_bytes[segment_of == s].max()) for s in range(segments))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self._step(self._segment_of[-1], tree_leaves((args, kwargs, result)))
        return result

    def _step(self, segment: int, tensors: Any) -> None:
        step = len(self._segment_of)
        self._segment_of.append(segment)
        for tensor in tensors:
            if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
                continue
            memory = _memory(tensor)
            if memory not in self._weights:
                size, first, _ = self._lives.get(
                    memory, (tensor.untyped_storage().nbytes(), step, step)
                )
                self._lives[memory] = (size, first, step)
                self._held.append(tensor)


def _memory(tensor: torch.Tensor) -> int:
    """Which memory a tensor lies in: the same for a tensor and its views."""
    return tensor.untyped_storage()._cdata
