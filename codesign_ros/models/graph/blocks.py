"""Which steps of a graph belong together for re-parameterisation.

Three things are looked for: a convolution whose only user is a BatchNorm; a sum of such branches of
one input (a k x k convolution, 1 x 1 convolutions, a BatchNorm of the input itself), which is
a RepVGG block (Ding et al., CVPR 2021) or a MobileOne block (Vasu et al., CVPR 2023); and any other
convolution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codesign_ros.models.graph.ops import ADD, BATCH_NORM, CONV
from codesign_ros.models.graph.steps import Step, Value, Weight, pair

_Pair = tuple[int, int]


@dataclass(frozen=True)
class Branch:
    """A convolution and the BatchNorm behind it; one of them may not be there."""

    conv: Step | None
    norm: Step | None

    @property
    def steps(self) -> list[Step]:
        """The steps that are there, in order."""
        return [step for step in (self.conv, self.norm) if step is not None]


@dataclass(frozen=True)
class Block:
    """Branches of one input, and the steps that add them up.

    Attributes:
        branches: one convolution with or without BatchNorm, or the several of a block.
        sums: the additions; none for a single branch.
    """

    branches: tuple[Branch, ...]
    sums: tuple[Step, ...] = ()

    @property
    def steps(self) -> list[Step]:
        """All steps of the block."""
        return [*(step for branch in self.branches for step in branch.steps), *self.sums]

    @property
    def input(self) -> str:
        """Name of the value that the block takes."""
        return self.branches[0].steps[0].values()[0]

    @property
    def output(self) -> str:
        """Name of the value that the block makes."""
        return (self.sums or self.branches[0].steps)[-1].name


def find_blocks(
    steps: Sequence[Step], shapes: Mapping[str, tuple[int, ...]], outputs: Iterable[str]
) -> list[Block]:
    """Find the convolutions of a graph and what belongs to them.

    Args:
        steps: the graph, in order.
        shapes: of the weights that the steps take.
        outputs: values that somebody else needs as they are.
    """
    return _Finder(steps, shapes, outputs).find()


def window(step: Step) -> tuple[_Pair, _Pair, _Pair, int]:
    """Stride, padding, dilation and groups of a convolution."""
    # conv2d(input, weight, bias, stride, padding, dilation, groups)
    defaults: tuple[Any, ...] = ([1, 1], [0, 0], [1, 1], 1)
    given = step.args[3:]
    stride, padding, dilation, groups = (*given, *defaults[len(given) :])
    return pair(stride), pair(padding), pair(dilation), groups


def same_padded(kernel: Sequence[int], step: Step) -> bool:
    """Whether a convolution's kernel has a centre that lies on the input's own elements.

    That is so for odd sizes, padding of half of them, and no dilation.
    """
    _, padding, dilation, _ = window(step)
    centred = all(
        size % 2 == 1 and pad == size // 2 for size, pad in zip(kernel, padding, strict=True)
    )
    return centred and dilation == (1, 1)


class _Finder:
    def __init__(
        self,
        steps: Sequence[Step],
        shapes: Mapping[str, tuple[int, ...]],
        outputs: Iterable[str],
    ) -> None:
        self._by_name = {step.name: step for step in steps}
        self._shapes = shapes
        self._uses = Counter(name for step in steps for name in step.values())
        self._uses.update(outputs)

    def find(self) -> list[Block]:
        taken: set[str] = set()
        blocks: list[Block] = []
        # Backwards, so that the last addition of a sum is met first.
        for step in reversed(self._by_name.values()):
            if step.name in taken:
                continue
            block = self._sum(step) if step.op == ADD else self._single(step)
            if block is not None:
                blocks.append(block)
                taken.update(part.name for part in block.steps)
        return blocks[::-1]

    def _single(self, step: Step) -> Block | None:
        branch = self._branch(step)
        return None if branch is None or branch.conv is None else Block((branch,))

    def _branch(self, step: Step) -> Branch | None:
        """Return the branch that ends with this step."""
        if _is_conv(step):
            return Branch(step, None)
        if step.op != BATCH_NORM or not all(isinstance(a, Weight) for a in step.args[1:5]):
            return None
        before = self._by_name.get(step.values()[0])
        is_fused = before is not None and _is_conv(before) and self._uses[before.name] == 1
        return Branch(before if is_fused else None, step)

    def _sum(self, last: Step) -> Block | None:
        """Return the RepVGG or MobileOne block that ends with this addition."""
        sums: list[Step] = []
        branches: list[Branch] = []
        open_ends = [last]
        while open_ends:
            step = open_ends.pop()
            if step.op == ADD and _is_plain_sum(step):
                sums.append(step)
                for name in step.values():
                    part = self._by_name.get(name)
                    if part is None or self._uses[name] != 1:
                        return None
                    open_ends.append(part)
            else:
                branch = self._branch(step)
                if branch is None or branch.norm is None:
                    return None
                branches.append(branch)
        if not self._is_block(branches):
            return None
        return Block(tuple(branches), tuple(reversed(sums)))

    def _is_block(self, branches: list[Branch]) -> bool:
        """Whether branches of one input add up to one convolution with a k x k branch."""
        if len({branch.steps[0].values()[0] for branch in branches}) != 1:
            return False
        convs = [branch.conv for branch in branches if branch.conv is not None]
        shapes = [self._shapes[conv.weights()[0]] for conv in convs]
        kernels = {shape[2:] for shape in shapes} - {(1, 1)}
        ways = {(window(c)[0], window(c)[3], s[:2]) for c, s in zip(convs, shapes, strict=True)}
        if len(kernels) != 1 or len(ways) != 1:
            return False
        if not all(same_padded(s[2:], conv) for s, conv in zip(shapes, convs, strict=True)):
            return False
        # An identity branch fits only where the convolution keeps size and channels.
        stride, groups, (out_channels, in_channels) = ways.pop()
        keeps = stride == (1, 1) and out_channels == in_channels * groups
        return keeps or all(branch.conv is not None for branch in branches)


def _is_conv(step: Step) -> bool:
    return step.op == CONV and all(isinstance(arg, Weight) or arg is None for arg in step.args[1:3])


def _is_plain_sum(step: Step) -> bool:
    return len(step.args) == 2 and not step.kwargs and all(isinstance(a, Value) for a in step.args)
