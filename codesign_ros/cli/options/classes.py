"""Names of a network's classes, from a number or a file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from codesign_ros.types.errors import CodesignError

_MOST_DIGITS = 6


def class_names(named: str | None) -> tuple[str, ...] | None:
    """Names of the classes that the user gives; None = as many numbers as the output has.

    Args:
        named: how many there are, their names parted by commas, or a file with a name in each line.

    Raises:
        CodesignError: there are none, or too many, a name comes twice, or there is no such file.
    """
    if named is None:
        return None
    if named.isdecimal():
        if len(named) > _MOST_DIGITS:
            raise CodesignError(f"--classes {named[:20]}: no network has so many")
        names = tuple(f"class {i}" for i in range(int(named)))
    elif "," in named and not Path(named).exists():
        names = tuple(name.strip() for name in named.split(",") if name.strip())
    else:
        try:
            lines = Path(named).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CodesignError(f"classes {named} cannot be read: {error}") from None
        names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise CodesignError(f"--classes {named}: a network has at least one class")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise CodesignError(f"--classes {named}: {twice[0]!r} stands in it more than once")
    return names
