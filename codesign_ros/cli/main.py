"""The command line, one module for each command.

Each command imports what it needs when it runs: torch and ROS take seconds to load.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from codesign_ros.cli import (
    accuracy,
    blocks,
    demo,
    evaluate,
    explain,
    export,
    import_network,
    intensity,
    mine,
    plan,
    profile,
    reproduce,
    split_train,
    trace,
    train,
)
from codesign_ros.cli.rates import rate_accuracy
from codesign_ros.cli.running import doctor, top
from codesign_ros.types import CodesignError

_COMMANDS = (
    accuracy,
    blocks,
    demo,
    doctor,
    evaluate,
    explain,
    export,
    import_network,
    intensity,
    mine,
    plan,
    profile,
    rate_accuracy,
    reproduce,
    split_train,
    top,
    trace,
    train,
)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; ``--help`` shows the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 1 if the command ran and its result is bad; 2 after a user's mistake, which is told in
        one line on standard error; 130 after Ctrl-C.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    # For commands that say how to go on.
    options.command_line = shlex.join(["codesign", *given])
    try:
        return int(options.run(options))
    except CodesignError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="codesign", description="One network across a robot and an edge server.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for each in _COMMANDS:
        each.add(commands)
    return parser
