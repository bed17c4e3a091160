"""The operations that a network written as a graph may use.

All are functional: they change nothing that they are given, and they call no one's code. A graph
that names another one is refused, so that a bundle from a stranger can do nothing but arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from codesign_ros.types.errors import CodesignError

CONV = "conv2d.default"
LINEAR = "linear.default"
BATCH_NORM = "batch_norm.default"
ADD = "add.Tensor"

_CONVOLUTION_AND_MATRICES = (
    "addmm.default", "baddbmm.default", "bmm.default", "conv1d.default", "conv2d.default",
    "conv2d.padding", "conv_transpose2d.input", "einsum.default", "linear.default",
    "matmul.default", "mm.default", "scaled_dot_product_attention.default",
)  # fmt: skip

_POOLS = (
    "adaptive_avg_pool1d.default", "adaptive_avg_pool2d.default", "adaptive_max_pool2d.default",
    "avg_pool2d.default", "max_pool2d.default", "max_pool2d_with_indices.default",
)  # fmt: skip

_NORMS = (
    "batch_norm.default", "group_norm.default", "instance_norm.default", "layer_norm.default",
    "linalg_vector_norm.default", "rms_norm.default",
)  # fmt: skip

_ELEMENTWISE = (
    "abs.default", "add.Scalar", "add.Tensor", "bitwise_and.Tensor", "bitwise_not.default",
    "bitwise_or.Tensor", "ceil.default", "celu.default", "clamp.Tensor", "clamp.default",
    "clamp_max.default", "clamp_min.default", "cos.default", "div.Scalar", "div.Tensor",
    "div.Tensor_mode", "elu.default", "eq.Scalar", "eq.Tensor", "erf.default", "exp.default",
    "floor.default", "floor_divide.default", "ge.Scalar", "ge.Tensor", "gelu.default",
    "gt.Scalar", "gt.Tensor", "hardsigmoid.default", "hardswish.default", "hardtanh.default",
    "le.Scalar", "le.Tensor", "leaky_relu.default", "log.default", "log_sigmoid.default",
    "logical_and.default", "logical_not.default", "logical_or.default", "lt.Scalar", "lt.Tensor",
    "masked_fill.Scalar", "maximum.default", "minimum.default", "mish.default", "mul.Scalar",
    "mul.Tensor", "ne.Scalar", "ne.Tensor", "neg.default", "pow.Scalar", "pow.Tensor_Scalar",
    "pow.Tensor_Tensor", "prelu.default", "reciprocal.default", "relu.default", "relu6.default",
    "round.default", "rsqrt.default", "rsub.Scalar", "selu.default", "sigmoid.default",
    "sign.default", "silu.default", "sin.default", "softplus.default", "sqrt.default",
    "sub.Scalar", "sub.Tensor", "tanh.default", "to.dtype", "where.ScalarOther", "where.self",
)  # fmt: skip

_REDUCTIONS = (
    "amax.default", "amin.default", "argmax.default", "cumsum.default", "log_softmax.int",
    "logsumexp.default", "max.dim", "mean.default", "mean.dim", "min.dim", "prod.dim_int",
    "softmax.int", "std.correction", "std.dim", "sum.default", "sum.dim_IntList", "topk.default",
    "var.correction", "var.dim",
)  # fmt: skip

_LAYOUT = (
    "cat.default", "chunk.default", "constant_pad_nd.default", "expand.default",
    "flatten.using_ints",
    "flip.default", "gather.default", "index.Tensor", "index_select.default", "movedim.int",
    "pad.default", "permute.default", "pixel_shuffle.default", "pixel_unshuffle.default",
    "reflection_pad2d.default", "repeat.default", "replication_pad2d.default", "reshape.default",
    "roll.default", "select.int", "slice.Tensor", "split.Tensor", "split_with_sizes.default",
    "squeeze.default",
    "squeeze.dim", "squeeze.dims", "stack.default", "transpose.int", "unbind.int",
    "unflatten.int", "unsqueeze.default", "upsample_bicubic2d.vec", "upsample_bilinear2d.vec",
    "upsample_nearest2d.vec",
)  # fmt: skip

_NAMES = (
    *_CONVOLUTION_AND_MATRICES,
    *_POOLS,
    *_NORMS,
    *_ELEMENTWISE,
    *_REDUCTIONS,
    *_LAYOUT,
)


def _find(name: str) -> Callable[..., Any]:
    packet, _, overload = name.partition(".")
    found: Callable[..., Any] = getattr(getattr(torch.ops.aten, packet), overload)
    return found


OPERATIONS = {name: _find(name) for name in _NAMES}
"""Operations of torch's ``aten`` by name and overload, e.g. ``conv2d.default``."""

WEIGHTED = frozenset(_CONVOLUTION_AND_MATRICES)
"""Those whose work grows with the product of two sizes: convolutions, matrix products."""


def operation(name: str) -> Callable[..., Any]:
    """Return the operation of this name.

    Raises:
        CodesignError: a graph may not use it.
    """
    if name not in OPERATIONS:
        raise CodesignError(f"operation {name!r} is not one that a network may use")
    return OPERATIONS[name]
