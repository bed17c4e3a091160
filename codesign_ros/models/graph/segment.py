"""A network written as a graph of plain data, which needs none of the code that it came from.

``import_network`` writes such graphs; :func:`graph` builds a network from one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from codesign_ros.models.graph.ops import operation
from codesign_ros.models.graph.steps import (
    Step,
    Value,
    Weight,
    dtype_of,
    read_step,
    replace_leaves,
)
from codesign_ros.models.network import Network, Segment
from codesign_ros.types.errors import CodesignError, one_line
from codesign_ros.types.tensors import InputSpec

_KEY = "at_"


class GraphSegment(nn.Module):
    """Runs steps one after the other.

    Args:
        inputs: names of the tensors that it takes, in order.
        steps: the steps, each after those whose values it takes; the last one makes the result.
        modules: for some steps, by name, the module that runs in place of the operation; it is
            given the step's values and nothing else.

    Attributes:
        weights: the weights, under the names that they have in the imported network.

    Raises:
        CodesignError: a step names an operation that a graph may not use.
        ValueError: a step takes a value that none before it makes, or two have one name.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        steps: Sequence[Step],
        modules: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.input_names = tuple(inputs)
        self.steps = tuple(steps)
        # The prefix keeps names of steps apart from the methods of ModuleDict.
        self.step_modules = nn.ModuleDict(
            {_KEY + name: module for name, module in (modules or {}).items()}
        )
        self.weights = nn.Module()
        made = set(self.input_names)
        for step in self.steps:
            operation(step.op)
            unknown = [name for name in step.values() if name not in made]
            if unknown:
                raise ValueError(f"step {step.name!r} takes {unknown[0]!r}, made nowhere before it")
            made.add(step.name)
        if not self.steps or len(made) != len(self.input_names) + len(self.steps):
            raise ValueError("steps must be there and have names of their own")

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Run the steps on the inputs, in their order."""
        made = dict(zip(self.input_names, inputs, strict=True))

        def look_up(leaf: Any) -> Any:
            if isinstance(leaf, Value):
                return made[leaf.name]
            return self.weight(leaf.name) if isinstance(leaf, Weight) else leaf

        for step in self.steps:
            module = self.module_of(step)
            if module is not None:
                made[step.name] = module(*(made[name] for name in step.values()))
                continue
            args = replace_leaves(step.args, look_up)
            kwargs = {key: replace_leaves(value, look_up) for key, value in step.kwargs.items()}
            result = operation(step.op)(*args, **kwargs)
            made[step.name] = result if step.pick is None else result[step.pick]
        return made[self.steps[-1].name]

    def module_of(self, step: Step) -> nn.Module | None:
        """Return the module that runs in place of a step's operation, if there is one."""
        return self.step_modules._modules.get(_KEY + step.name)

    def weight(self, name: str) -> torch.Tensor:
        """Look a weight up by its name in the imported network."""
        path, _, own = name.rpartition(".")
        tensor: torch.Tensor = getattr(self.weights.get_submodule(path), own)
        return tensor

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Keep a parameter, or any other tensor as a buffer, under a dotted name in ``weights``."""
        *path, own = name.split(".")
        holder = self.weights
        for part in path:
            if part not in holder._modules:
                holder.add_module(part, nn.Module())
            holder = holder.get_submodule(part)
        if isinstance(tensor, nn.Parameter):
            holder.register_parameter(own, tensor)
        else:
            holder.register_buffer(own, tensor)


def graph(
    segments: Sequence[Mapping[str, Any]],
    parameters: Mapping[str, Sequence[int]],
    buffers: Mapping[str, Sequence[Any]],
    outputs: Sequence[str],
    input: InputSpec,
) -> Network:
    """Build a network, without the values of its weights, from its description.

    Args:
        segments: for each its ``name``, its ``inputs`` (names of segments, or ``image``) and its
            ``steps`` as :func:`codesign_ros.models.graph.steps.write_step` writes them, which call
            the inputs ``in0``, ``in1`` ...
        parameters: shapes of the float32 parameters, by name.
        buffers: element type and shape of all other weights: ``[float32, 3, 1, 1]``. A weight that
            several segments use has a copy in each.
        outputs: names of the segments whose tensors are the answer.
        input: the size that the graph was made for; batch 1.

    Raises:
        CodesignError: the description is not sound, or names an operation that a graph may not use.
    """
    try:
        shapes = {name: (torch.float32, tuple(shape)) for name, shape in parameters.items()}
        shapes.update({n: (dtype_of(dtype), tuple(s)) for n, (dtype, *s) in buffers.items()})
        parts = []
        for part in segments:
            inputs = tuple(part["inputs"])
            steps = [read_step(text) for text in part["steps"]]
            module = GraphSegment(input_names(len(inputs)), steps)
            _add_weights(module, shapes, parameters.keys())
            parts.append(Segment(part["name"], module, inputs))
        return Network(parts, input, outputs)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        text = one_line(error)[:200]
        raise CodesignError(f"the network's graph is not sound: {text}") from None


def input_names(count: int) -> tuple[str, ...]:
    """How the steps of a segment call its inputs."""
    return tuple(f"in{i}" for i in range(count))


def _add_weights(
    segment: GraphSegment,
    shapes: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
    parameters: Collection[str],
) -> None:
    for name in dict.fromkeys(name for step in segment.steps for name in step.weights()):
        dtype, shape = shapes[name]
        tensor = torch.zeros(shape, dtype=dtype)
        segment.put(name, nn.Parameter(tensor) if name in parameters else tensor)
