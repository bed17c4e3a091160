"""How whatever is wrong with a tensor from the wire is said."""

from __future__ import annotations

from codesign_ros.types.errors import CodesignError

REASONS = ("name", "shape", "dtype", "codec", "length", "params", "limit", "corrupt", "reference")
"""Why a tensor can be refused; used as keys of the counters in diagnostics."""


class WireError(CodesignError):
    """A tensor from the wire is refused; ``reason`` is one of ``REASONS``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
