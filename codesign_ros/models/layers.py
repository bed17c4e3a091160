"""Which primitive operations a network performs, found by running it without numbers.

Every operation that reaches torch's dispatcher is recorded, so none is missed and none is assumed;
one that has no place in the table of kinds is an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from codesign_ros.models.network import IMAGE, Network, meta_image, on_meta

_aten = torch.ops.aten

_KINDS = {
    _aten.convolution: "conv",
    _aten.addmm: "linear",
    _aten.mul: "scale",
    _aten.add: "add",
    _aten.relu: "relu",
    _aten.native_batch_norm: "batch_norm",
    _aten._native_batch_norm_legit_no_training: "batch_norm",
    _aten.mean: "pool",
    _aten.amax: "pool",
    _aten.adaptive_max_pool2d: "pool",
    _aten._adaptive_avg_pool2d: "pool",
}

# These move no data: their result is a view of their argument.
_VIEWS = {_aten.view, _aten._unsafe_view, _aten.t, _aten.detach, _aten.alias}


@dataclass(frozen=True)
class LayerRecord:
    """One primitive operation, batch 1.

    ``inputs`` are the shapes of the activations it reads (weights not among them), ``output`` the
    shape it writes, ``kernel`` and ``groups`` those of a convolution (else 1), ``weights`` the
    number of weight elements it reads, bias included.
    """

    segment: str
    kind: str
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    kernel: tuple[int, int]
    groups: int
    weights: int

    @property
    def input_elements(self) -> int:
        """Number of activation elements read."""
        return sum(math.prod(shape) for shape in self.inputs)

    @property
    def output_elements(self) -> int:
        """Number of elements written."""
        return math.prod(self.output)

    @property
    def flops(self) -> int:
        """Floating point operations: 2 for each multiply-add of a convolution or linear layer.

        Their bias is not counted apart. BatchNorm takes 2 an element, pooling 1 for each element
        it reads, every other operation 1 for each element it writes.
        """
        if self.kind == "conv":
            taps = math.prod(self.kernel) * self.inputs[0][1] // self.groups
            return 2 * taps * self.output_elements
        if self.kind == "linear":
            return 2 * self.inputs[0][1] * self.output_elements
        if self.kind == "pool":
            return self.input_elements
        return self.output_elements * (2 if self.kind == "batch_norm" else 1)


def layer_records(network: Network) -> tuple[LayerRecord, ...]:
    """List the operations of ``network`` in evaluation mode, in order, for one frame.

    Raises:
        NotImplementedError: the network uses an operation whose cost is not known here.
    """
    network = on_meta(network)
    recorder = _Recorder(network)
    made = {IMAGE: meta_image(network.input_spec)}
    with torch.no_grad(), recorder:
        for cut, name in enumerate(network.segment_names):
            recorder.segment = name
            crossing = [spec.name for spec in network.crossing(cut + 1)]
            made = network.run(made, cut, cut + 1, crossing)
    return tuple(recorder.records)


class _Recorder(TorchDispatchMode):
    """Turns each operation that reaches the dispatcher into a record."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.records: list[LayerRecord] = []
        self.segment = ""
        # Held, not only their ids: the id of a tensor that is gone may be given out again.
        self._weights = {id(t): t for t in (*network.parameters(), *network.buffers())}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        operation = func.overloadpacket
        tensors = [a for a in tree_leaves(args) if isinstance(a, torch.Tensor)]
        if operation in _VIEWS:
            if id(tensors[0]) in self._weights:
                self._weights[id(result)] = result
            return result
        if not tensors:
            return result  # makes an empty tensor, as BatchNorm does for its workspace
        if operation not in _KINDS:
            raise NotImplementedError(
                f"segment {self.segment!r} uses {operation}, whose cost is not in the table"
            )
        kind = _KINDS[operation]
        output = result if isinstance(result, torch.Tensor) else result[0]
        weights = [t for t in tensors if id(t) in self._weights]
        is_conv = kind == "conv"
        self.records.append(
            LayerRecord(
                segment=self.segment,
                kind=kind,
                inputs=tuple(tuple(t.shape) for t in tensors if id(t) not in self._weights),
                output=tuple(output.shape),
                kernel=(args[1].shape[2], args[1].shape[3]) if is_conv else (1, 1),
                groups=args[8] if is_conv else 1,
                weights=sum(t.numel() for t in weights),
            )
        )
        return result
