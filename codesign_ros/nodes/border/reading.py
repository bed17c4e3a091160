"""Serialized messages to messages, those of this package within their limits."""

from __future__ import annotations

import functools
from typing import Any

from rclpy.serialization import deserialize_message, serialize_message

from codesign_ros.nodes.border.cdr import Layout
from codesign_ros.nodes.border.limits import DEFAULT, LIMITS
from codesign_ros.nodes.border.numbers import check_numbers
from codesign_ros.types.errors import CodesignError, one_line

_OURS = "codesign_ros."
# What a tail is sent is answered, if only that it is refused and why; how long a frame took may be
# unknown to its head, which says NaN.
_NUMBERS_ELSEWHERE = ("Embedding", "InferenceResult")


@functools.cache
def layout_of(kind: Any) -> Layout | None:
    """The layout of a type of messages, or of requests; None where it is not this package's.

    Pictures of cameras are looked at by what decodes them, and strings of others may be long.
    """
    if not kind.__module__.startswith(_OURS):
        return None
    return Layout(kind, LIMITS.get(kind.__name__, DEFAULT))


def read(kind: Any, data: bytes) -> Any:
    """Make a message of its bytes.

    Raises:
        CodesignError: see ``Layout.check``, no memory was taken then; or see ``check_numbers``.
    """
    layout = layout_of(kind)
    assert layout is not None
    layout.check(data)
    try:
        msg = deserialize_message(data, kind)
    except Exception as error:  # rclpy's own class is private
        raise CodesignError(f"{kind.__name__} cannot be read: {one_line(error)}") from None
    if kind.__name__ not in _NUMBERS_ELSEWHERE:
        _check_numbers(msg)
    return msg


def check_request(request: Any) -> None:
    """Check a request that the middleware has read already.

    Raises:
        CodesignError: see ``Layout.check`` and ``check_numbers``.
    """
    kind: Any = type(request)
    layout = layout_of(kind)
    if layout is not None:
        layout.check(serialize_message(request))
        _check_numbers(request)


def _check_numbers(msg: Any) -> None:
    try:
        check_numbers(msg)
    except CodesignError as error:
        raise CodesignError(f"{type(msg).__name__.lstrip('_')}: {error}") from None
