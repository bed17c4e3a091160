"""What goes into and comes out of a network or an engine, as TensorRT describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from codesign_ros.types.errors import CodesignError

# TensorRT's names of the types that tensors at the ends of a piece may have. (Its own function for
# this fails in 8.x with numpy 1.24 and later.)
_DTYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32}


@dataclass(frozen=True)
class EngineTensor:
    """An input or output; -1 in ``shape`` is free."""

    name: str
    is_input: bool
    shape: tuple[int, ...]
    dtype: np.dtype


def tensors_of_network(network: Any) -> tuple[EngineTensor, ...]:
    """Return the inputs and then the outputs of a parsed network."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    return tuple(
        EngineTensor(tensor.name, is_input, tuple(tensor.shape), dtype_of(tensor.dtype))
        for tensors, is_input in ((inputs, True), (outputs, False))
        for tensor in tensors
    )


def dtype_of(kind: Any) -> np.dtype:
    """Return a type of TensorRT as numpy's.

    Raises:
        CodesignError: it is none that tensors at the ends of an engine have here.
    """
    if kind.name not in _DTYPES:
        raise CodesignError(
            f"TensorRT makes a tensor {kind.name}, which is none of {', '.join(_DTYPES)}"
        )
    return np.dtype(_DTYPES[kind.name])
