"""Mistakes that the user can mend, and how they are written on one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class CodesignError(Exception):
    """A mistake the user can mend. Its text is one line that names the thing and the way out.

    The command line prints it without a traceback; nodes log it.

    Attributes:
        status: that the command line exits with.
    """

    status = 2


_LONGEST_ERROR = 400


def one_line(said: str | Exception) -> str:
    """Return a text, or what an error says, on one line, cut off where it is long.

    Characters that are none of a text, such as those that steer a terminal, are escaped.
    """
    # Cut first: it may be megabytes of somebody else's.
    line = escaped(" ".join(str(said)[: 2 * _LONGEST_ERROR].split()))
    return line if len(line) <= _LONGEST_ERROR else line[: _LONGEST_ERROR - 3] + "..."


def escaped(said: str | Exception) -> str:
    """Return a text, or what an error says, with what is no letter of a text written out.

    Names of files may have line ends in them, and what steers a terminal.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(said))


def unexpected(error: Exception) -> str:
    """One line on an error that nobody foresaw, for a result's ``reason``."""
    return one_line(f"unexpected {type(error).__name__}: {error}")


def listed(names: Sequence[str], most: int = 12) -> str:
    """Write names into a message: all of them, or the first ones and how many there are."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} ... ({len(names)} in all)"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Write the nearest known word into a message, as in ``; did you mean head?``; else nothing."""
    lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower()[:100], lower, n=1)
    return f"; did you mean {lower[near[0]]}?" if near else ""
