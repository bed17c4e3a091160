"""Numbers of a message that was read: finite, and such as a time, a rate or a size can be."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from codesign_ros.types.errors import CodesignError

_FLOATS = ("float", "double")
# By the ends of fields' names; all others are finite. A year, a terabit a second, a terabyte.
_RANGES = {
    "_s": (0.0, 3.2e7),
    "_bps": (0.0, 1e12),
    "_bps_error": (0.0, 1e12),
    "_bytes": (0.0, 1e12),
    "_flops": (0.0, 1e18),
    "_bandwidth": (0.0, 1e18),
}
_ANY = (-float(2**100), float(2**100))


class _Field(NamedTuple):
    name: str
    low: float
    high: float
    is_message: bool
    is_sequence: bool


def check_numbers(msg: Any) -> None:
    """Check the numbers with a point that a message of this package has, in all of its parts.

    Raises:
        CodesignError: one is not finite, or is no time, rate or size.
    """
    kind: Any = type(msg)
    for field in _fields(kind):
        value = getattr(msg, field.name)
        if field.is_message:
            for part in value if field.is_sequence else (value,):
                check_numbers(part)
        elif field.is_sequence:
            _check_all(field, value)
        elif not field.low <= value <= field.high:  # so that NaN fails too
            raise CodesignError(_refusal(field, value))


def _check_all(field: _Field, values: Sequence[float]) -> None:
    # One that is not finite makes the sum so; minimum and maximum may miss NaN.
    if len(values) == 0:
        return
    low, high = min(values), max(values)
    if not math.isfinite(sum(values)) or low < field.low or high > field.high:
        bad = next(value for value in values if not field.low <= value <= field.high)
        raise CodesignError(_refusal(field, bad))


def _refusal(field: _Field, value: float) -> str:
    if field.low < 0:
        return f"{field.name} is {value:g}, which is out of range"
    return f"{field.name} is {value:g}, which is no time, rate or size"


@functools.cache
def _fields(kind: Any) -> tuple[_Field, ...]:
    """Those with such numbers in them."""
    fields = []
    for name, words in kind.get_fields_and_field_types().items():
        is_sequence = words.startswith("sequence<")
        of = words[len("sequence<") : -1].partition(",")[0] if is_sequence else words
        if of in _FLOATS:
            ranges = (limits for end, limits in _RANGES.items() if name.endswith(end))
            fields.append(_Field(name, *next(ranges, _ANY), False, is_sequence))
        elif "/" in of:
            package, _, part = of.partition("/")
            if _fields(getattr(importlib.import_module(f"{package}.msg"), part)):
                fields.append(_Field(name, *_ANY, True, is_sequence))
    return tuple(fields)
