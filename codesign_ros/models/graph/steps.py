"""The steps of a network that is written as a graph, and how they are written down.

A step applies one operation of ``graph_ops`` to values, weights and plain arguments. Written down
it is one line of JSON, ``[name, operation, arguments, keyword arguments, pick]`` without what is
empty at the end, for example ``["a", "conv2d.default", ["$image", "@stem.weight", null, [2, 2]]]``.
Strings in it say by their first character what they are: ``$`` a value, ``@`` a weight, ``!`` an
element type, ``=`` a text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from codesign_ros.types.errors import CodesignError


@dataclass(frozen=True)
class Value:
    """What a step before this one made, or an input of the segment."""

    name: str


@dataclass(frozen=True)
class Weight:
    """A parameter or a constant of the network, by its name in the network that was imported."""

    name: str


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        name: of the value that it makes.
        op: name of the operation.
        args: numbers, booleans, None, texts, element types, :class:`Value`, :class:`Weight`, and
            lists of them.
        kwargs: the same by keyword.
        pick: which of several results is the value; None where there is one.
    """

    name: str
    op: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    pick: int | None = None

    def values(self) -> list[str]:
        """Names of the values that the step takes, in order."""
        return [leaf.name for leaf in self._leaves() if isinstance(leaf, Value)]

    def weights(self) -> list[str]:
        """Names of the weights that the step takes, in order."""
        return [leaf.name for leaf in self._leaves() if isinstance(leaf, Weight)]

    def _leaves(self) -> Iterator[Any]:
        yield from _leaves(self.args)
        yield from _leaves(list(self.kwargs.values()))


def write_step(step: Step) -> str:
    """Write a step down.

    Raises:
        CodesignError: an argument is of a kind that cannot be written down.
    """
    parts: list[Any] = [step.name, step.op, _plain(step.args), _plain(dict(step.kwargs)), step.pick]
    while parts[-1] in (None, {}):
        parts.pop()
    return json.dumps(parts)


def read_step(text: str) -> Step:
    """Read what :func:`write_step` wrote.

    Raises:
        CodesignError: the text is no step.
    """
    try:
        parts: list[Any] = json.loads(text)
        defaults: list[Any] = [{}, None]
        name, op, args, kwargs, pick = parts + defaults[len(parts) - 3 :]
        if not str.isidentifier(name) or not isinstance(op, str) or not isinstance(args, list):
            raise ValueError("it needs a name, an operation and a list of arguments")
        if pick is not None and type(pick) is not int:
            raise ValueError(f"it picks {pick!r}")
        return Step(name, op, tuple(_read(args)), {k: _read(v) for k, v in kwargs.items()}, pick)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CodesignError(f"{str(text)[:80]!r} is no step of a graph: {error}") from None


def replace_leaves(argument: Any, replace: Any) -> Any:
    """Copy an argument with ``replace(leaf)`` in place of every leaf that is no list."""
    if isinstance(argument, (list, tuple)):
        return type(argument)(replace_leaves(item, replace) for item in argument)
    return replace(argument)


def pair(sizes: Sequence[int]) -> tuple[int, int]:
    """Torch's lists of one number hold for both sides."""
    first, *rest = sizes
    return first, rest[0] if rest else first


def _leaves(argument: Any) -> Iterator[Any]:
    if isinstance(argument, (list, tuple)):
        for item in argument:
            yield from _leaves(item)
    else:
        yield argument


def _plain(argument: Any) -> Any:
    if isinstance(argument, (list, tuple)):
        return [_plain(item) for item in argument]
    if isinstance(argument, dict):
        return {key: _plain(item) for key, item in argument.items()}
    if isinstance(argument, Value):
        return f"${argument.name}"
    if isinstance(argument, Weight):
        return f"@{argument.name}"
    if isinstance(argument, torch.dtype):
        return "!" + str(argument).removeprefix("torch.")
    if isinstance(argument, str):
        return f"={argument}"
    if argument is None or type(argument) in (bool, int, float):
        return argument
    raise CodesignError(f"an argument {argument!r} cannot be written into a bundle")


def _read(argument: Any) -> Any:
    if isinstance(argument, list):
        return [_read(item) for item in argument]
    if not isinstance(argument, str):
        if isinstance(argument, dict):
            raise ValueError("an argument is a mapping")
        return argument
    kind, text = argument[:1], argument[1:]
    if kind == "!":
        return dtype_of(text)
    kinds = {"$": Value, "@": Weight, "=": str}
    if kind not in kinds:
        raise ValueError(f"{argument!r} does not say what it is")
    return kinds[kind](text)


def dtype_of(name: str) -> torch.dtype:
    """Return torch's element type of this name, e.g. ``float32``.

    Raises:
        ValueError: there is none.
    """
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{name!r} is no element type")
    return found
