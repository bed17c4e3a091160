"""Where a graph can be cut: its steps gathered into segments.

A segment makes one tensor. Steps are put together along values that a single step uses, which can
never close a circle, and only where a cut between them would be pointless:

- a convolution and its BatchNorm, and the branches of a block (``graph_blocks``);
- a light step behind the one that makes its last input, where that makes what is sent no larger
  (activation, addition, concatenation, pooling);
- steps of next to no work before the one that uses them, where a cut behind them would send no less
  (enlarging, squeeze-and-excitation, the BatchNorm before a convolution).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from codesign_ros.models.graph.blocks import find_blocks
from codesign_ros.models.graph.ops import WEIGHTED, operation
from codesign_ros.models.graph.steps import Step, Value, Weight, replace_leaves
from codesign_ros.models.graph.trace import Trace
from codesign_ros.models.network import IMAGE

# Of the network's multiply-adds: a cut that moves no more than this is not worth one byte.
_NEXT_TO_NO_WORK = 1e-3


@dataclass(frozen=True)
class Group:
    """Steps that are never cut apart, in order, and the values that they take from elsewhere."""

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]

    @property
    def output(self) -> str:
        """Name of the value that the group makes."""
        return self.steps[-1].name


def find_groups(traced: Trace) -> list[Group]:
    """Gather the steps of a network into groups, in an order in which they can run."""
    return _Gatherer(traced).gather()


def step_flops(steps: Sequence[Step], traced: Trace) -> dict[str, int]:
    """Count the operations of convolutions and matrix products, 2 for each multiply-add [FLOP]."""
    made: dict[str, torch.Tensor] = dict(traced.examples)
    flops = {}

    def look_up(leaf: object) -> object:
        if isinstance(leaf, Value):
            return made[leaf.name]
        return traced.weights[leaf.name].to("meta") if isinstance(leaf, Weight) else leaf

    for step in steps:
        flops[step.name] = 0
        if step.op in WEIGHTED:
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                args = replace_leaves(step.args, look_up)
                operation(step.op)(*args, **tree_map(look_up, dict(step.kwargs)))
            flops[step.name] = counter.get_total_flops()
    return flops


@dataclass
class _Gatherer:
    traced: Trace
    # For each step the last step of its group so far.
    end: dict[str, str] = field(default_factory=dict)

    def gather(self) -> list[Group]:
        steps = self.traced.steps
        self._order = {step.name: i for i, step in enumerate(steps)}
        self._by_name = {step.name: step for step in steps}
        self._users: dict[str, list[str]] = defaultdict(list)
        for step in steps:
            for name in dict.fromkeys(step.values()):
                self._users[name].append(step.name)
        self._members = {step.name: [step.name] for step in steps}
        self.end = {step.name: step.name for step in steps}
        self._flops = step_flops(steps, self.traced)
        self._bytes = {n: t.numel() * t.element_size() for n, t in self.traced.examples.items()}

        self._join_blocks()
        for step in steps:
            self._join_behind(step)
        for step in steps:
            if self.end[step.name] == step.name:
                self._join_before(step.name)
        ends = sorted(self._members, key=self._order.__getitem__)
        return [self._group(end) for end in ends]

    def _join_blocks(self) -> None:
        shapes = {name: tuple(w.shape) for name, w in self.traced.weights.items()}
        for block in find_blocks(self.traced.steps, shapes, self.traced.outputs):
            for step in block.steps:
                if step.name != block.output:
                    self._join(self.end[step.name], self.end[block.output])

    def _join_behind(self, step: Step) -> None:
        """Put a light step to the group that makes its last input."""
        made = [name for name in step.values() if name != IMAGE]
        if not made or self._flops[step.name] or len(self._members[self.end[step.name]]) > 1:
            return
        last = max(made, key=self._order.__getitem__)
        freed = sum(self._bytes[name] for name in set(step.values()))
        if self._only_user(last) is not None and self._bytes[step.name] <= freed:
            self._join(self.end[last], self.end[step.name])

    def _join_before(self, end: str) -> None:
        """Put a group of next to no work to its only user, if a cut behind it sends no less."""
        user = self._only_user(end)
        flops = sum(self._flops[name] for name in self._members[end])
        if user is None or flops > _NEXT_TO_NO_WORK * sum(self._flops.values()):
            return
        position = self._order[end]
        freed = sum(
            self._bytes[name]
            for name in self._inputs(end)
            # The image is there in full at cut 0, whoever needs it behind this group.
            if all(self._order[self.end[other]] <= position for other in self._users[name])
            and name not in self.traced.outputs
        )
        if self._bytes[end] >= freed:
            self._join(end, self.end[user])

    def _only_user(self, name: str) -> str | None:
        users = self._users[name]
        return users[0] if len(users) == 1 and name not in self.traced.outputs else None

    def _join(self, first: str, second: str) -> None:
        """Join two groups, named by their last steps; the second one's value is what is left."""
        if first == second:
            return
        for name in self._members.pop(first):
            self._members[second].append(name)
            self.end[name] = second

    def _inputs(self, end: str) -> list[str]:
        members = sorted(self._members[end], key=self._order.__getitem__)
        taken = [name for member in members for name in self._by_name[member].values()]
        return list(dict.fromkeys(name for name in taken if name not in self._members[end]))

    def _group(self, end: str) -> Group:
        names = sorted(self._members[end], key=self._order.__getitem__)
        return Group(tuple(self._by_name[n] for n in names), tuple(self._inputs(end)))


def name_groups(groups: Sequence[Group], traced: Trace) -> list[str]:
    """Name each group after the module that does most of it, e.g. ``layer1.0.conv2``.

    Where several would have one name, the second has ``_2`` behind it, and so on.
    """
    names = []
    count: Counter[str] = Counter()
    taken = {IMAGE}
    for group in groups:
        weighted = [step for step in group.steps if step.op in WEIGHTED]
        step = (weighted or group.steps)[-1]
        path = traced.modules[step.name] or step.op.partition(".")[0]
        count[path] += 1
        name = path if count[path] == 1 else f"{path}_{count[path]}"
        while name in taken:
            name += "_"
        taken.add(name)
        names.append(name)
    return names
