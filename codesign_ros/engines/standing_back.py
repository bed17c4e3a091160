"""What a process does that makes engines while the node that started it goes on with its frames."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

# Frames come first: a machine that makes engines goes on running its nodes.
_NICE = 10
_PR_SET_PDEATHSIG = 1


def stand_back(parent: int) -> bool:
    """End with the parent, run behind it, and be the first to end where memory runs out.

    Args:
        parent: process id of who started this process.

    Returns:
        Whether the parent is still there; else there is nothing to do any more.
    """
    # The kernel is asked first, and then it is looked whether that was too late.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return False
    os.nice(_NICE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    return True
