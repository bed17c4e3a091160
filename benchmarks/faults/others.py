"""What is shown by nodes on this machine alone, without a test bed: a line of the table each."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from endurance import Finding

from codesign_ros.types.errors import CodesignError

_PYTEST = sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider"
_NODES = "test/nodes"
# Nothing here takes so long, on a busy machine too [s].
_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Other:
    """Something that is shown by a command, from the repository's root.

    Attributes:
        what: in a few words.
        command: which ends with 0 if it is so.
    """

    what: str
    command: tuple[str, ...]


OTHERS = (
    Other(
        "two heads, two tails, two planners; a planner killed",
        (*_PYTEST, f"{_NODES}/test_identity.py", "-k", "not rolling"),
    ),
    Other(
        "rolling restarts of head, tail and planner, ten each",
        (*_PYTEST, "--every-combination", f"{_NODES}/test_identity.py", "-k", "rolling"),
    ),
    Other("four robots on two servers, one killed", (*_PYTEST, f"{_NODES}/test_pool.py")),
    Other("hostile peers beside a robot", (*_PYTEST, f"{_NODES}/test_hostile.py")),
    Other(
        "500 robots' announcements, planner restarted",
        (sys.executable, "benchmarks/fleet_discovery.py"),
    ),
    Other(
        "1,000,000 mutated messages",
        (sys.executable, "-W", "error::RuntimeWarning", "benchmarks/fuzz.py", "--count", "1000000"),
    ),
)


def show(words: Sequence[str], tell: Callable[[str], None]) -> Iterator[Finding]:
    """Do those whose names have one of these words; all where there is none.

    Raises:
        CodesignError: none has.
    """
    chosen = [other for other in OTHERS if not words or any(word in other.what for word in words)]
    if not chosen:
        names = "; ".join(other.what for other in OTHERS)
        raise CodesignError(
            f"--others: none has {' or '.join(words)} in its name; there are: {names}"
        )
    for other in chosen:
        tell(f"{other.what}: {' '.join(other.command[1:])}")
        began_s = time.monotonic()
        try:
            done = subprocess.run(
                other.command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
            output, wrong = done.stdout, f"ended with {done.returncode}" if done.returncode else ""
            if wrong:
                tell(output + done.stderr)
        except subprocess.TimeoutExpired:
            output, wrong = "", f"took longer than {_TIMEOUT_S:.0f} s"
        lines = [line.strip(" =") for line in output.splitlines() if line.strip(" =")]
        seen = f"{lines[-1] if lines else 'no output'} ({time.monotonic() - began_s:.0f} s)"
        yield Finding(other.what, seen, (wrong,) if wrong else ())
