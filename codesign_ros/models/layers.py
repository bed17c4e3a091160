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
from codesign_ros.types.errors import CodesignError

_aten = torch.ops.aten

_KINDS = {
    **dict.fromkeys((_aten.convolution,), "conv"),
    **dict.fromkeys((_aten.addmm, _aten.mm, _aten.bmm, _aten.baddbmm), "linear"),
    **dict.fromkeys((_aten.mul, _aten.div), "scale"),
    **dict.fromkeys((_aten.add, _aten.add_, _aten.sub, _aten.rsub), "add"),
    **dict.fromkeys((_aten.relu, _aten.relu_), "relu"),
    **dict.fromkeys(
        (
            _aten.abs, _aten.clamp, _aten.clamp_max, _aten.clamp_min, _aten.elu, _aten.erf,
            _aten.exp, _aten.gelu, _aten.hardsigmoid, _aten.hardswish, _aten.hardtanh,
            _aten.leaky_relu, _aten.log, _aten.maximum, _aten.minimum, _aten.mish, _aten.neg,
            _aten.pow, _aten._prelu_kernel, _aten.reciprocal, _aten.rsqrt, _aten.sigmoid,
            _aten.silu, _aten.silu_, _aten.softplus, _aten.sqrt, _aten.tanh, _aten.where,
        ),
        "elementwise",
    ),
    **dict.fromkeys(
        (_aten.native_batch_norm, _aten._native_batch_norm_legit_no_training), "batch_norm"
    ),
    **dict.fromkeys((_aten.native_layer_norm, _aten.native_group_norm), "norm"),
    **dict.fromkeys((_aten._softmax, _aten._safe_softmax, _aten._log_softmax), "softmax"),
    **dict.fromkeys(
        (
            _aten.adaptive_max_pool2d, _aten._adaptive_avg_pool2d, _aten.amax, _aten.amin,
            _aten.max, _aten.mean, _aten.min, _aten.sum,
        ),
        "pool",
    ),
    **dict.fromkeys(
        (_aten.avg_pool2d, _aten.max_pool2d_with_indices, _aten.upsample_bilinear2d), "window"
    ),
    **dict.fromkeys(
        (
            _aten._to_copy, _aten.cat, _aten.clone, _aten.constant_pad_nd, _aten.index,
            _aten.pixel_shuffle, _aten.reflection_pad2d, _aten.repeat, _aten.roll, _aten.stack,
            _aten.upsample_nearest2d,
        ),
        "copy",
    ),
}  # fmt: skip

# Operations for each element written; what is not here takes one.
_FLOPS_PER_ELEMENT = {"batch_norm": 2, "softmax": 3, "norm": 5, "copy": 0}

# A bilinear enlargement weighs the four points around.
_BILINEAR_WINDOW = (2, 2)

# These move no data: their results are views of their argument.
_VIEWS = {
    _aten.view, _aten._unsafe_view, _aten._reshape_alias, _aten.t, _aten.transpose, _aten.permute,
    _aten.expand, _aten.squeeze, _aten.unsqueeze, _aten.select, _aten.slice, _aten.split,
    _aten.split_with_sizes, _aten.unbind, _aten.as_strided, _aten.as_strided_,
    _aten.detach, _aten.alias,
}  # fmt: skip


@dataclass(frozen=True)
class LayerRecord:
    """One primitive operation, batch 1.

    ``inputs`` are the shapes of the activations it reads (weights not among them), ``output`` the
    shape it writes, ``kernel`` and ``groups`` those of a convolution or a pooling over windows
    (else 1), ``weights`` the number of weight elements it reads, bias included.
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
        """Floating point operations: 2 for each multiply-add of a convolution or matrix product.

        Their bias is not counted apart. Poolings over windows (and bilinear enlargement) take 1 for
        each element of the window of each element they write; other poolings and sums 1 for each
        element they read. For each element they write, BatchNorm takes 2, softmax 3 (difference,
        exponential, division), layer and group norm 5, what only copies none, and all others 1:
        an activation counts as one operation, whatever it takes on a machine.
        """
        if self.kind == "conv":
            taps = math.prod(self.kernel) * self.inputs[0][1] // self.groups
            return 2 * taps * self.output_elements
        if self.kind == "linear":
            return 2 * self.inputs[0][-1] * self.output_elements
        if self.kind == "window":
            return math.prod(self.kernel) * self.output_elements
        if self.kind == "pool":
            return self.input_elements
        return self.output_elements * _FLOPS_PER_ELEMENT.get(self.kind, 1)


def layer_records(network: Network) -> tuple[LayerRecord, ...]:
    """List the operations of ``network`` in evaluation mode, in order, for one frame.

    Raises:
        CodesignError: the network uses an operation whose cost is not known here.
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
                self._weights.update((id(view), view) for view in tree_leaves(result))
            return result
        if not tensors:
            return result  # makes an empty tensor, as BatchNorm does for its workspace
        if operation not in _KINDS:
            raise CodesignError(
                f"segment {self.segment!r} uses {operation}, whose cost is not in the table of "
                "codesign_ros.models.layers"
            )
        kind = _KINDS[operation]
        output = result if isinstance(result, torch.Tensor) else result[0]
        weights = [t for t in tensors if id(t) in self._weights]
        self.records.append(
            LayerRecord(
                segment=self.segment,
                kind=kind,
                inputs=tuple(tuple(t.shape) for t in tensors if id(t) not in self._weights),
                output=tuple(output.shape),
                kernel=_kernel(kind, operation, args),
                groups=args[8] if kind == "conv" else 1,
                weights=sum(t.numel() for t in weights),
            )
        )
        return result


def _kernel(kind: str, operation: Any, args: tuple) -> tuple[int, int]:
    if kind == "conv":
        return args[1].shape[2], args[1].shape[3]
    if kind != "window":
        return 1, 1
    if operation is _aten.upsample_bilinear2d:
        return _BILINEAR_WINDOW
    first, *rest = args[1]
    return first, rest[0] if rest else first
