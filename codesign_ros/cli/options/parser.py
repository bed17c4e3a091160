"""The parser: mistakes in one line, with what was meant where that is near."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from codesign_ros.types.errors import did_you_mean, one_line


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; ``--help`` shows the usage, and so does a group alone."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        # "--frames must be at least 1", as everywhere else.
        message = re.sub(r"^argument (\S+): must be ", r"\1 must be ", message)
        self.exit(2, f"error: {one_line(message)} (see {self.prog} --help)\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse; options that are not known are an error of the command that got them.

        They are looked for first: a mistyped one is more telling than what is missing then.
        """
        given = [] if args is None else list(args)
        groups = [each for each in self._actions if isinstance(each, argparse._SubParsersAction)]
        if groups and not given:
            self.print_help()
            self.exit(0)
        for word in given:
            if word == "--" or (groups and not word.startswith("-")):
                break  # what follows is no option, or is for the command that is named
            self._check_option(word)
        found, extra = super().parse_known_args(given, namespace)
        if extra:
            self.error(f"{' '.join(extra)!r} is too much; options begin with --")
        return found, []

    def _check_option(self, word: str) -> None:
        name = word.partition("=")[0]
        if not name.startswith("--"):
            return
        options = self._option_string_actions
        # argparse takes abbreviations, and says where they are not clear.
        if not any(option.startswith(name) for option in options):
            self.error(f"there is no option {name}{did_you_mean(name, options)}")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        # Mostly a variable of the shell that is not set; a number or a place says so itself.
        is_group = isinstance(action, argparse._SubParsersAction)
        if not is_group and action.type is None and not all(map(str.strip, arg_strings)):
            raise argparse.ArgumentError(action, "needs a value; leave it out for the default")
        return super()._get_values(action, arg_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        near = did_you_mean(str(value), known)
        what = "command" if isinstance(action, argparse._SubParsersAction) else "choice"
        raise argparse.ArgumentError(
            action, f"there is no {what} {str(value)!r}{near}; known are {', '.join(known)}"
        )
