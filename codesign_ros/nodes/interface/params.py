"""Declaring parameters with descriptions, ranges and choices, and refusing values outside them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from codesign_ros.types.errors import CodesignError, one_line

# Declared when the topic is made.
_NOT_YET = "qos_overrides."
# What may be overridden of a topic, and of whom.
_POLICIES, _ENDS = ("depth", "history", "reliability", "durability"), ("publisher", "subscription")
# Names that are so much alike are taken for a slip of the keyboard.
_LIKENESS = 0.7


@dataclass(frozen=True)
class Param:
    """One parameter of a node.

    Attributes:
        name: name, with dots for groups.
        default: value when nothing sets it; its type is the parameter's type. Where it is a float,
            whole numbers are taken too.
        description: what it means, with its unit.
        low: smallest value allowed.
        high: largest value allowed.
        choices: values allowed; for a list of names, what its items may be.
        fixed: it holds from the start of the process on and cannot be set later.
        held_from: transition from which on a value that is set holds, e.g. ``configure``; empty =
            at once.
    """

    name: str
    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    fixed: bool = False
    held_from: str = ""

    def check(self, value: Any) -> str | None:
        """Say in one line what is wrong with ``value``; None if it is fine."""
        kind = type(self.default)
        if kind is float and type(value) is int:
            value = float(value)
        if kind is list:
            value = list(value) if isinstance(value, (list, tuple)) else value
        if type(value) is not kind:
            return f"parameter {self.name} must be a {kind.__name__}, not {value!r}"
        # Written so that NaN is outside too.
        if not (
            (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        ):
            return f"parameter {self.name} must be from {self.low} to {self.high}, not {value}"
        for item in (value if kind is list else [value]) if self.choices else []:
            if item not in self.choices:
                return (
                    f"parameter {self.name}: unknown value {item!r}; "
                    f"known are {', '.join(self.choices)}"
                )
        if kind is list and not value:
            return f"parameter {self.name} must not be empty"
        return None

    def descriptor(self) -> ParameterDescriptor:
        """The description that `ros2 param describe` shows."""
        descriptor = ParameterDescriptor(
            name=self.name,
            description=self.description
            + (f" (holds from the next {self.held_from} on)" if self.held_from else ""),
            additional_constraints=f"one of {', '.join(self.choices)}" if self.choices else "",
            dynamic_typing=isinstance(self.default, float),
            read_only=self.fixed,
        )
        if self.low is not None and self.high is not None:
            if isinstance(self.default, float):
                limits = FloatingPointRange(from_value=self.low, to_value=self.high)
                descriptor.floating_point_range = [limits]
            else:
                limits = IntegerRange(from_value=int(self.low), to_value=int(self.high), step=1)
                descriptor.integer_range = [limits]
        return descriptor


class Params:
    """A node's parameters: declared, checked at start and whenever somebody sets one."""

    def __init__(self, node: Node, params: Sequence[Param]) -> None:
        """Declare ``params`` on ``node``.

        Raises:
            CodesignError: a value from the command line or a parameter file is not allowed.
        """
        self._node = node
        self._params = {param.name: param for param in params}
        self._listeners: list[Callable[[Mapping[str, Any]], None]] = []
        self._checks: list[Callable[[Mapping[str, Any]], object]] = []
        for param in params:
            # An empty list has no type, and ROS knows no other value without one.
            given = node._parameter_overrides.get(param.name)
            if given is not None and given.type_ is Parameter.Type.NOT_SET:
                raise CodesignError(f"parameter {param.name} must not be empty")
            try:
                node.declare_parameter(param.name, param.default, param.descriptor())
                value = node.get_parameter(param.name).value
            except Exception as error:
                # rclpy has an exception class for each kind of refusal; all mean the same here.
                raise CodesignError(f"parameter {param.name}: {error}") from None
            if problem := param.check(value):
                raise CodesignError(problem)
        node.add_on_set_parameters_callback(self._on_set)

    def __getitem__(self, name: str) -> Any:
        """The value of a parameter, in the type of its default."""
        return self._typed(name, self._node.get_parameter(name).value)

    def check_given(self, known: Callable[[], Collection[str]]) -> list[str]:
        """Look at the names that a parameter file or the command line gave this node.

        Args:
            known: names that are no mistake: those of other nodes, which one file may serve too.

        Returns:
            A line for each that nobody declared and that is like none of ours.

        Raises:
            CodesignError: one is nearly the name of a parameter of this node, or overrides what
                cannot be overridden.
        """
        for name in self._node._parameter_overrides:
            _check_override(name)
        # What was given without having been declared has no public name in rclpy.
        given = [
            name
            for name in self._node._parameter_overrides
            if not self._node.has_parameter(name) and not name.startswith(_NOT_YET)
        ]
        unknown = set(given).difference(known() if given else ())
        for name in sorted(unknown):
            near = difflib.get_close_matches(name, self._params, n=1, cutoff=_LIKENESS)
            if near:
                raise CodesignError(
                    f"parameter {name} is not known; did you mean {near[0]}? (if it is another "
                    "node's, put it under that node's name)"
                )
        return [f"parameter {name} is not known to any node here" for name in sorted(unknown)]

    def without_topic(self, topics: Collection[str]) -> list[str]:
        """Say which ``qos_overrides.*`` are of a topic whose name is nearly one of this node's.

        Of others nothing is said: one file may serve several nodes, and a topic may come later.

        Args:
            topics: full names of this node's topics.

        Returns:
            A line for each such topic.
        """
        given = {
            name.removeprefix(_NOT_YET).rsplit(".", 2)[0]
            for name in self._node._parameter_overrides
            if name.startswith(_NOT_YET) and not self._node.has_parameter(name)
        }
        lines = []
        for topic in sorted(given.difference(topics)):
            place, _, last = topic.rpartition("/")
            parts = {each: each.rpartition("/") for each in topics}
            beside = {name: each for each, (own, _, name) in parts.items() if own == place}
            for near in difflib.get_close_matches(last, beside, n=1, cutoff=_LIKENESS):
                lines.append(
                    f"{_NOT_YET}{topic} has no effect: this node has no topic {topic}; did you "
                    f"mean {beside[near]}?"
                )
        return lines

    def refuse_where(self, check: Callable[[Mapping[str, Any]], object]) -> None:
        """Have ``check`` called with new values by name before anybody acts on them.

        A CodesignError that it raises refuses them, with its line as the reason. For what a value
        alone does not show, and for names that are no fixed list.
        """
        self._checks.append(check)

    def when_set(self, listener: Callable[[Mapping[str, Any]], None]) -> None:
        """Have ``listener`` called with new values by name, after all of them passed the checks.

        rclpy's own callbacks will not do for that: those that were added last are called first, and
        would act on values that are refused after them.
        """
        self._listeners.append(listener)

    def _typed(self, name: str, value: Any) -> Any:
        return type(self._params[name].default)(value)

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        ours = [change for change in changes if change.name in self._params]
        for change in ours:
            if problem := self._params[change.name].check(change.value):
                return SetParametersResult(successful=False, reason=problem)
        values = {change.name: self._typed(change.name, change.value) for change in ours}
        try:
            for check in self._checks:
                check(values)
        except CodesignError as error:
            return SetParametersResult(successful=False, reason=one_line(error))
        for listener in self._listeners:
            listener(values)
        # In the log: of what is taken rclpy hands on no reason.
        for name in values:
            if transition := self._params[name].held_from:
                self._node.get_logger().info(f"{name} holds from the next {transition} on")
        return SetParametersResult(successful=True)


def _check_override(name: str) -> None:
    """Refuse a name that would override nothing, and without a word.

    Raises:
        CodesignError: it is none of rclpy's, ``qos_overrides.TOPIC.END.POLICY``; END may have a
            number behind it.
    """
    topic, _, policy = name.rpartition(".")
    end = topic.rpartition(".")[2].partition("_")[0]
    if name.startswith(_NOT_YET) and not (policy in _POLICIES and end in _ENDS):
        raise CodesignError(
            f"parameter {name} is not known; such are qos_overrides.TOPIC.publisher.depth, or "
            f"subscription, and {', '.join(_POLICIES[1:])}"
        )
