"""What is refused, is refused in one line that names it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from codesign_ros.bundle import BundleError


def refusal_of(use: Callable[[Path], None], path: Path) -> str:
    """Use a bundle that must be refused; return the one line, which names its path."""
    with pytest.raises(BundleError) as raised:
        use(path)
    message = str(raised.value)
    assert "\n" not in message
    assert str(path) in message
    return message
