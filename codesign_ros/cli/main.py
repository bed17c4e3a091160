"""The command line, one module for each command.

Each command imports what it needs when it runs: torch and ROS take seconds to load.
"""

from __future__ import annotations

import argparse
import errno
import os
import select
import shlex
import sys
from collections.abc import Sequence

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
    profile,
    reproduce,
    split_train,
    trace,
    train,
)
from codesign_ros.cli.comparing import compare
from codesign_ros.cli.options.parser import Parser
from codesign_ros.cli.options.places import check_places
from codesign_ros.cli.rates import rate_accuracy
from codesign_ros.cli.running import doctor, follow, replay_planner, replay_tail, top
from codesign_ros.cli.simulated import simulate
from codesign_ros.cli.whatif import plan
from codesign_ros.types.errors import CodesignError, escaped, one_line

_COMMANDS = (
    accuracy,
    blocks,
    compare,
    demo,
    doctor,
    evaluate,
    explain,
    export,
    follow,
    import_network,
    intensity,
    mine,
    plan,
    profile,
    rate_accuracy,
    replay_planner,
    replay_tail,
    reproduce,
    simulate,
    split_train,
    top,
    trace,
    train,
)


_MESSAGES = ("codesign_ros.msg", "codesign_ros.srv")
# What requirements/robot.txt has beside what every machine of ours needs.
_OF_A_ROBOT = ("rosbags", "mcap", "lz4", "faster_coco_eval")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0; 1 if the command ran and its result is bad; 2 after a user's mistake, which is told in
        one line on standard error; 130 after Ctrl-C, 143 where SIGTERM ended a training.
    """
    if sys.stdout is None:  # closed, as by `>&-`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the end
    try:
        try:
            return _main(sys.argv[1:] if arguments is None else list(arguments))
        finally:
            sys.stdout.flush()
    except OSError as error:
        if not (isinstance(error, BrokenPipeError) and _is_unread()):
            if error.errno not in _NO_SPACE:
                raise
            print(f"error: cannot write the result: {error.strerror}", file=sys.stderr)
        # What is left of the output goes where it disturbs nobody at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2 if error.errno in _NO_SPACE else 0


def _is_unread() -> bool:
    """Whether nobody reads standard output any more, as behind ``| head``."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _main(given: list[str]) -> int:
    try:
        options = _parser().parse_args(given)
    except SystemExit as ended:  # --help, or a mistake that is told already
        return int(ended.code or 0)
    # For commands that say how to go on.
    options.command_line = shlex.join(["codesign", *given])
    parser = options.parser
    # What is left is what was given.
    del options.parser
    try:
        check_places(parser, options)
        return int(options.run(options))
    except CodesignError as error:
        print(f"error: {escaped(error)}", file=sys.stderr)
        return error.status
    except OSError as error:
        if error.filename is None:
            raise
        # Whoever opens a file says what it is; this is for what no file can be, such as a name that
        # is too long.
        print(f"error: {one_line(str(error.filename))}: {error.strerror}", file=sys.stderr)
        return 2
    except ImportError as error:
        print(f"error: {escaped(_missing(parser.prog, error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _missing(command: str, error: ImportError) -> CodesignError:
    """Say what a command needs that is not here: a robot has no PyTorch, a laptop no ROS.

    Raises:
        ImportError: it is a module of ours, which is a defect.
    """
    name = error.name or ""
    top = name.partition(".")[0]
    if name.startswith(_MESSAGES) or top == "rclpy" or top.endswith("_msgs"):
        return CodesignError(
            f"{command} needs ROS 2 and this package's messages ({error}); source the workspace"
        )
    if top == "codesign_ros":
        raise error
    file = "robot" if top in _OF_A_ROBOT else "training"
    return CodesignError(
        f"{command} needs {top or 'a library'}, which does not load here ({error}): install "
        f"requirements/{file}.txt"
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="codesign", description="One network across a robot and an edge server.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for each in _COMMANDS:
        each.add(commands)
    return parser
