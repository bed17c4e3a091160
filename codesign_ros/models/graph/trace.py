"""From a module of torch to steps, by ``torch.export``.

What comes out is functional (operations in place are gone), free of what does nothing in evaluation
(dropout, copies), and all that does not depend on the image has been worked out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils._pytree import tree_leaves, tree_map

from codesign_ros.models.graph.export import export
from codesign_ros.models.graph.ops import BATCH_NORM, OPERATIONS, operation
from codesign_ros.models.graph.rewrites import rewrite
from codesign_ros.models.graph.steps import Step, Value, Weight, replace_leaves
from codesign_ros.models.network import IMAGE
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.tensors import InputSpec

_aten = torch.ops.aten

# Their result is their first argument: in evaluation, or since nothing is changed in place.
_DOES_NOTHING = {
    _aten.alias.default, _aten.alpha_dropout.default, _aten.clone.default,
    _aten.contiguous.default, _aten.detach.default, _aten.detach_.default, _aten.dropout.default,
    _aten.feature_dropout.default, _aten.lift_fresh_copy.default,
}  # fmt: skip
_ASSERTIONS = re.compile(r"aten\._?assert|aten\.sym_constrain")
# They read the shape of what they are given, not its numbers.
_SHAPE_ONLY = {
    _aten.empty_like.default, _aten.fill.Scalar, _aten.full_like.default, _aten.new_empty.default,
    _aten.new_full.default, _aten.new_ones.default, _aten.new_zeros.default,
    _aten.ones_like.default, _aten.zeros_like.default,
}  # fmt: skip
_BATCH_NORM_IN_EVALUATION = _aten._native_batch_norm_legit_no_training.default
_COPY = _aten.copy.default
_TO_COPY = _aten._to_copy.default
# Whether a tensor can be viewed depends on how it lies in memory, which copies that are left out
# would have changed.
_VIEWS = {_aten.view.default, _aten._unsafe_view.default}
# Where tensors lie, not what they hold.
_PLACEMENT = ("device", "layout", "memory_format", "pin_memory", "non_blocking")


@dataclass(frozen=True)
class Trace:
    """A network as steps.

    Attributes:
        steps: all that the outputs need, in an order in which they can run.
        examples: for each value a tensor of its shape and type, without content; with ``image``.
        modules: for each value the path of the module whose code made it; "" at the top.
        weights: the weights that the steps take, by name.
        parameters: names of those weights that are parameters.
        outputs: names of the values that are the answer.
    """

    steps: tuple[Step, ...]
    examples: Mapping[str, torch.Tensor]
    modules: Mapping[str, str]
    weights: Mapping[str, torch.Tensor]
    parameters: frozenset[str]
    outputs: tuple[str, ...]


def trace(module: nn.Module, input: InputSpec) -> Trace:
    """Trace a module on one image.

    Args:
        module: in evaluation mode; takes (1, 3, H, W) float32 and returns a tensor, or several in
            lists or mappings.
        input: the size.

    Raises:
        CodesignError: the module cannot be traced, does not accept the input, or uses an operation
            that a graph may not use; the line says which and where.
    """
    return _Reader(export(module, input)).read()


class _Reader:
    """Reads an exported program node by node."""

    def __init__(self, program: ExportedProgram) -> None:
        self._program = program
        # What each node is: a Value, a constant tensor, or a tuple of constants.
        self._known: dict[fx.Node, Any] = {}
        self._steps: dict[str, Step] = {}
        self._examples: dict[str, torch.Tensor] = {}
        self._modules: dict[str, str] = {}
        self._names: dict[int, str] = {}
        self._weights: dict[str, torch.Tensor] = {}
        self._parameters: set[str] = set()

    @torch.no_grad()
    def read(self) -> Trace:
        nodes = list(self._program.graph.nodes)
        self._read_placeholders(nodes)
        for node in nodes:
            if node.op == "call_function":
                self._known[node] = self._read_call(node)
            elif node.op not in ("placeholder", "output"):
                raise CodesignError(f"the network cannot be traced: it has control flow ({node})")
        outputs = self._read_outputs(nodes[-1])
        steps = _needed(self._steps.values(), outputs)
        weights = {name: self._weights[name] for step in steps for name in step.weights()}
        return Trace(
            steps=tuple(steps),
            examples=self._examples,
            modules=self._modules,
            weights=weights,
            parameters=frozenset(self._parameters & weights.keys()),
            outputs=tuple(outputs),
        )

    def _read_placeholders(self, nodes: list[fx.Node]) -> None:
        specs = self._program.graph_signature.input_specs
        for node, spec in zip(nodes, specs, strict=False):
            if spec.kind is InputKind.USER_INPUT:
                self._known[node] = Value(IMAGE)
                self._examples[IMAGE] = _meta(node.meta["val"])
                continue
            if spec.kind not in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                raise CodesignError(f"the network cannot be traced: it holds a {spec.kind.name}")
            name = str(spec.target)
            stored = self._program.state_dict.get(name)
            tensor = self._program.constants[name] if stored is None else stored
            assert isinstance(tensor, torch.Tensor)
            self._known[node] = tensor
            self._names[id(tensor)] = name
            if spec.kind is InputKind.PARAMETER:
                self._parameters.add(name)

    def _read_outputs(self, node: fx.Node) -> list[str]:
        outputs: list[str] = []
        results: Any = node.args[0]
        for spec, result in zip(self._program.graph_signature.output_specs, results, strict=True):
            if spec.kind is OutputKind.BUFFER_MUTATION:
                raise CodesignError(
                    "the network cannot be cut: in evaluation it changes its buffer "
                    f"{spec.target!r}"
                )
            if spec.kind is not OutputKind.USER_OUTPUT or result is None:
                continue
            known = self._known.get(result) if isinstance(result, fx.Node) else None
            if not isinstance(known, Value) or known.name == IMAGE:
                raise CodesignError(
                    f"the network's output {len(outputs)} does not depend on the image, or is it"
                )
            if known.name not in outputs:
                outputs.append(known.name)
        return outputs

    def _read_call(self, node: fx.Node) -> Any:
        """Return what the node makes; a step is added unless it can be worked out now."""
        target = node.target
        if getattr(target, "__name__", "") == "getitem":
            return self._pick(node)
        if _ASSERTIONS.match(str(target)):
            return None
        if target in _DOES_NOTHING:
            return self._known[node.args[0]]  # type: ignore[index]
        if target is _COPY:
            return self._read_copy(node)
        arguments = (node.args, node.kwargs)
        nodes = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, fx.Node)]
        on_image = any(isinstance(self._known[each], Value) for each in nodes)
        if not on_image or target in _SHAPE_ONLY:
            return self._work_out(node)
        return self._add_step(node)

    def _read_copy(self, node: fx.Node) -> Any:
        """Return what a tensor holds after another one was copied into it."""
        _, source, *_ = node.args
        known, example = self._known[source], node.meta["val"]  # type: ignore[index]
        if not isinstance(known, Value):
            return known.to(example.dtype).expand(example.shape)
        before = self._examples[known.name]
        if before.dtype != example.dtype:
            typed = Step(f"{node.name}_typed", "to.dtype", (known, example.dtype))
            known = self._keep(typed, node, before.to(example.dtype))
        if before.shape == example.shape:
            return known
        expanded = Step(node.name, "expand.default", (known, list(example.shape)))
        return self._keep(expanded, node, example)

    def _work_out(self, node: fx.Node) -> Any:
        """Compute what does not depend on the image."""
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise CodesignError(f"the network is random: {node.target}{_where(node)}")

        def tensor_of(leaf: Any) -> Any:
            if not isinstance(leaf, fx.Node):
                return leaf
            known = self._known[leaf]
            if not isinstance(known, Value):
                return known
            example = self._examples[known.name]
            # Its shape is all that is read.
            return torch.zeros(example.shape, dtype=example.dtype)

        args, kwargs = tree_map(tensor_of, (node.args, node.kwargs))
        target = _aten.reshape.default if node.target in _VIEWS else node.target
        assert callable(target)
        return target(*args, **kwargs)

    def _pick(self, node: fx.Node) -> Any:
        whole, index = node.args
        assert isinstance(whole, fx.Node)
        assert isinstance(index, int)
        known = self._known[whole]
        if not isinstance(known, Step):
            return known[index]
        # The operation is done once for each result that is taken: those with several are either
        # views, or have only one that networks use.
        step = Step(node.name, known.op, known.args, known.kwargs, known.pick or index)
        if known.op == BATCH_NORM:
            step = Step(node.name, known.op, known.args, known.kwargs)
        return self._keep(step, node, node.meta["val"])

    def _add_step(self, node: fx.Node) -> Any:
        made = [leaf for leaf in tree_leaves(node.meta["val"]) if isinstance(leaf, torch.Tensor)]
        if not made or any(type(size) is not int for leaf in made for size in leaf.shape):
            raise CodesignError(
                f"the network cannot be traced: the size of what {node.target} makes depends on "
                f"the numbers in a tensor{_where(node)}"
            )
        name, args, kwargs = self._operation(node)
        step = Step(
            node.name,
            name,
            tuple(self._argument(arg) for arg in args),
            {key: self._argument(arg) for key, arg in kwargs.items() if key not in _PLACEMENT},
        )
        several = not isinstance(node.meta["val"], torch.Tensor)
        return step if several else self._keep(step, node, node.meta["val"])

    def _operation(self, node: fx.Node) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """Name and arguments of the operation that a step does for a node."""
        if node.target is _BATCH_NORM_IN_EVALUATION:
            *tensors, momentum, eps = node.args
            return BATCH_NORM, (*tensors, False, momentum, eps, False), {}
        if node.target is _TO_COPY:
            return "to.dtype", (node.args[0], node.kwargs.get("dtype", node.meta["val"].dtype)), {}
        if node.target in _VIEWS:
            return "reshape.default", node.args, {}
        # Those of other namespaces keep theirs, and are in no table.
        name = str(node.target).removeprefix("aten.")
        return name, node.args, dict(node.kwargs)

    def _keep(self, step: Step, node: fx.Node, example: torch.Tensor) -> Value:
        shapes = {name: self._examples[name].shape for name in step.values()}
        shapes.update({name: self._weights[name].shape for name in step.weights()})
        for each in rewrite(step, shapes):
            if each.op not in OPERATIONS:
                raise CodesignError(
                    f"the network uses {node.target}, which is not supported{_where(node)}"
                )
            self._steps[each.name] = each
            self._modules[each.name] = _module_path(node)
            is_last = each.name == step.name
            self._examples[each.name] = _meta(example) if is_last else self._example(each)
        return Value(step.name)

    def _example(self, step: Step) -> torch.Tensor:
        """Find the shape of what a step makes that stands for no node."""

        def look_up(leaf: Any) -> Any:
            if isinstance(leaf, Value):
                return self._examples[leaf.name]
            return self._weights[leaf.name].to("meta") if isinstance(leaf, Weight) else leaf

        made: torch.Tensor = operation(step.op)(*replace_leaves(step.args, look_up))
        return made

    def _argument(self, argument: Any) -> Any:
        if isinstance(argument, (list, tuple)):
            return [self._argument(item) for item in argument]
        if not isinstance(argument, fx.Node):
            return argument
        known = self._known[argument]
        if isinstance(known, Value):
            return known
        if not isinstance(known, torch.Tensor):
            raise CodesignError(f"the network reads a number out of a tensor{_where(argument)}")
        name = self._names.setdefault(id(known), f"constants.{argument.name}")
        # Kept under its name, so that its id stays its own.
        self._weights[name] = known.detach().contiguous()
        self._names[id(known)] = name
        return Weight(name)


def _needed(steps: Iterable[Step], outputs: list[str]) -> list[Step]:
    """Leave out what no output needs."""
    wanted = set(outputs)
    kept = []
    for step in reversed(list(steps)):
        if step.name in wanted:
            wanted.update(step.values())
            kept.append(step)
    return kept[::-1]


def _meta(example: torch.Tensor) -> torch.Tensor:
    return torch.empty(tuple(example.shape), dtype=example.dtype, device="meta")


def _module_path(node: fx.Node) -> str:
    """Path of the innermost module whose code made the node."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return stack[-1][0] if stack else ""


def _where(node: fx.Node) -> str:
    """Say where the user's code does what the node does: `` (net.py:12: y = ...)``."""
    lines = (node.meta.get("stack_trace") or "").strip().splitlines()
    place = re.search(r'File "(.+)", line (\d+)', lines[-2] if len(lines) > 1 else "")
    return f" ({place[1]}:{place[2]}: {lines[-1].strip()})" if place else ""
