"""The architectures that a bundle can name, one module for each family."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from codesign_ros.models.graph.segment import graph
from codesign_ros.models.network import Network
from codesign_ros.models.zoo.repvgg import mine_repvgg, repvgg
from codesign_ros.models.zoo.yolo import yolo
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

_ARCHITECTURES: dict[str, Callable[..., Network]] = {
    "graph": graph,
    "mine_repvgg": mine_repvgg,
    "repvgg": repvgg,
    "yolo": yolo,
}


def build(architecture: str, args: Mapping[str, Any], input: InputSpec) -> Network:
    """Make an untrained network.

    Args:
        architecture: ``repvgg``, ``mine_repvgg``, ``yolo``, or ``graph`` for an imported network.
        args: the other arguments of the function of that name, e.g. ``{"classes": 3}``.
        input: how a frame becomes the network's input.

    Raises:
        CodesignError: the architecture or one of the arguments is not known, or one is missing.
    """
    if architecture not in _ARCHITECTURES:
        raise CodesignError(
            f"unknown architecture {architecture!r}; known are {', '.join(sorted(_ARCHITECTURES))}"
        )
    make = _ARCHITECTURES[architecture]
    try:
        bound = inspect.signature(make).bind(**args, input=input)
    except TypeError as error:
        raise CodesignError(f"arguments of architecture {architecture!r}: {error}") from None
    return make(*bound.args, **bound.kwargs)
