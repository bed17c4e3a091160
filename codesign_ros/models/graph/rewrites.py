"""Operations that are written as others, which ONNX knows or ``reparameterize`` understands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codesign_ros.models.graph.ops import CONV
from codesign_ros.models.graph.steps import Step, Value, Weight, pair


def rewrite(step: Step, shapes: Mapping[str, Sequence[int]]) -> list[Step]:
    """Write a step as others, the last of which makes its value; most steps stay as they are.

    - A convolution padded ``same`` or ``valid`` says by how much, where that is the same on both
      sides.
    - A part of a tensor that is set (``y[:, 0] = z``) becomes a concatenation.

    Args:
        step: the step.
        shapes: of the values and weights that it takes.
    """
    found = _REWRITES.get(step.op)
    return [step] if found is None else found(step, shapes)


def _padded(step: Step, shapes: Mapping[str, Sequence[int]]) -> list[Step]:
    # conv2d(input, weight, bias, stride, padding, dilation, groups)
    defaults: tuple[Any, ...] = (None, [1, 1], "valid", [1, 1], 1)
    image, weight, *given = step.args
    bias, stride, padding, dilation, groups = (*given, *defaults[len(given) :])
    spread = [
        rate * (size - 1)
        for rate, size in zip(pair(dilation), shapes[weight.name][2:], strict=True)
    ]
    if padding == "same" and any(each % 2 for each in spread):
        return [step]
    amounts = [each // 2 if padding == "same" else 0 for each in spread]
    return [Step(step.name, CONV, (image, weight, bias, stride, amounts, dilation, groups))]


def _select_scatter(step: Step, shapes: Mapping[str, Sequence[int]]) -> list[Step]:
    # select_scatter(whole, part, dim, index)
    whole, part, dim, index = step.args
    size = shapes[whole.name][dim]
    start = index % size
    wide = Step(f"{step.name}_part", "unsqueeze.default", (part, dim % len(shapes[whole.name])))
    return [wide, *_put(step, whole, Value(wide.name), dim, start, start + 1, size)]


def _slice_scatter(step: Step, shapes: Mapping[str, Sequence[int]]) -> list[Step]:
    # slice_scatter(whole, part, dim, start, end, step)
    defaults: tuple[Any, ...] = (0, None, None, 1)
    whole, part, *given = step.args
    dim, start, end, stride = (*given, *defaults[len(given) :])
    if stride != 1:
        return [step]
    size = shapes[whole.name][dim]
    first, last, _ = slice(start, end).indices(size)
    return _put(step, whole, part, dim, first, last, size)


def _put(
    step: Step, whole: Value | Weight, part: Any, dim: int, start: int, stop: int, size: int
) -> list[Step]:
    """Concatenate what is before the part, the part, and what is behind it."""
    steps, pieces = [], []
    if start > 0:
        steps.append(Step(f"{step.name}_before", "slice.Tensor", (whole, dim, 0, start)))
        pieces.append(Value(steps[-1].name))
    pieces.append(part)
    if stop < size:
        steps.append(Step(f"{step.name}_behind", "slice.Tensor", (whole, dim, stop, size)))
        pieces.append(Value(steps[-1].name))
    return [*steps, Step(step.name, "cat.default", (pieces, dim))]


_REWRITES: dict[str, Callable[[Step, Mapping[str, Sequence[int]]], list[Step]]] = {
    "conv2d.padding": _padded,
    "select_scatter.default": _select_scatter,
    "slice_scatter.default": _slice_scatter,
}
