"""Any module of torch as a network that can be cut: traced, gathered into segments, described."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from codesign_ros.models.graph.cuts import Group, find_groups, name_groups
from codesign_ros.models.graph.segment import graph, input_names
from codesign_ros.models.graph.steps import Step, Value, replace_leaves, write_step
from codesign_ros.models.graph.trace import Trace, trace
from codesign_ros.models.network import IMAGE, Network
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

ARCHITECTURE = "graph"
"""Name of imported networks' architecture in the zoo."""

# Of the largest output: the traced network repeats the module's own sums in its own order.
_TOLERANCE = 1e-4
_WEIGHTS = ".weights."


class Imported(NamedTuple):
    """A network and the arguments from which ``zoo.build("graph", args, input)`` makes it again."""

    network: Network
    architecture_args: dict[str, Any]


def import_network(
    module: nn.Module, input: InputSpec, progress: Callable[[str], None] = lambda _: None
) -> Imported:
    """Make a network with cuts from a module of torch.

    Args:
        module: takes normalised images (1, 3, H, W) float32 and returns one tensor or several; it
            is traced in evaluation mode on one image, and is left as it is.
        input: how a frame becomes the input. The network holds for this size and for batch 1.
        progress: is told what is being done.

    Returns:
        The network, in evaluation mode, with the module's weights under their names.

    Raises:
        CodesignError: the module cannot be traced, uses an operation that is not supported, does
            not accept the input, or what was traced answers otherwise than the module.
    """
    progress("tracing")
    module = copy.deepcopy(module).cpu().float().eval()
    traced = trace(module, input)
    if not traced.steps:
        raise CodesignError("the network does nothing with the image")
    progress("looking for cuts")
    groups = find_groups(traced)
    args = _describe(groups, name_groups(groups, traced), traced)
    network = graph(**args, input=input).eval()
    network.load_state_dict(
        {key: traced.weights[key.partition(_WEIGHTS)[2]] for key in network.state_dict()}
    )
    progress("comparing with the module")
    _compare(module, network)
    return Imported(network, args)


def _describe(groups: Sequence[Group], names: Sequence[str], traced: Trace) -> dict[str, Any]:
    """Write the network down as arguments of :func:`codesign_ros.models.graph.segment.graph`."""
    called = {group.output: name for group, name in zip(groups, names, strict=True)}
    called[IMAGE] = IMAGE
    segments = [
        {
            "name": name,
            "inputs": [called[value] for value in group.inputs],
            "steps": [write_step(_renamed(step, group)) for step in group.steps],
        }
        for group, name in zip(groups, names, strict=True)
    ]
    parameters = {n: list(traced.weights[n].shape) for n in sorted(traced.parameters)}
    buffers = {
        name: [str(tensor.dtype).removeprefix("torch."), *tensor.shape]
        for name, tensor in sorted(traced.weights.items())
        if name not in traced.parameters
    }
    return {
        "segments": segments,
        "parameters": parameters,
        "buffers": buffers,
        "outputs": [called[name] for name in traced.outputs],
    }


def _renamed(step: Step, group: Group) -> Step:
    """Let a step call what comes from other segments as its segment does."""
    names = dict(zip(group.inputs, input_names(len(group.inputs)), strict=True))

    def rename(leaf: Any) -> Any:
        is_input = isinstance(leaf, Value) and leaf.name in names
        return Value(names[leaf.name]) if is_input else leaf

    return Step(
        step.name,
        step.op,
        replace_leaves(step.args, rename),
        {key: replace_leaves(value, rename) for key, value in step.kwargs.items()},
        step.pick,
    )


@torch.no_grad()
def _compare(module: nn.Module, network: Network) -> None:
    spec = network.input_spec
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, spec.height, spec.width, generator=generator)
    made = network(image)
    # The module may change its input.
    expected = [t for t in tree_leaves(module(image)) if isinstance(t, torch.Tensor)]
    # A tensor that a module returns twice is one output of the network.
    made = (made,) if isinstance(made, torch.Tensor) else made
    if not all(each.isfinite().all() for each in expected):
        raise CodesignError(
            "the network's answer to random numbers is not finite: are its weights those of this "
            "network (a variance below 0, a scale of 0)?"
        )
    for output in made:
        same = [e for e in expected if e.shape == output.shape]
        if not any(_close(output, each) for each in same):
            raise CodesignError(
                "the traced network does not answer as the module does: it is random, or what it "
                "does depends on the numbers in the image"
            )


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    limit = _TOLERANCE * max(1.0, b.abs().max().item())
    return bool(((a.double() - b.double()).abs() <= limit).all())
