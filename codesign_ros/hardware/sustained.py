"""What one of many runs in a row takes, told from single runs under a quota of processor time."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Run(NamedTuple):
    """What one run took: time, and the processor time that its caller counts for it [s]."""

    wall_s: float
    cpu_s: float


def sustained_s(runs: Sequence[Run], quota: float | None) -> float:
    """Time of one of many runs in a row [s].

    Under a quota a run is either within it, as fast as without, or stands still for the rest of a
    period: neither is what runs in a row take. There a run takes its processor time over the quota.

    Args:
        runs: single runs.
        quota: what the process may use of the processor in the long run [cores]; None = all.
    """
    wall_s = statistics.median(run.wall_s for run in runs)
    if quota is None:
        return wall_s
    in_a_row_s = statistics.median(run.cpu_s for run in runs) / quota
    # The quickest run is one that the quota did not stop. Where it took longer than its processor
    # time needs, it waited for something else, a GPU say, and the quota is not what binds.
    return in_a_row_s if in_a_row_s > min(run.wall_s for run in runs) else wall_s
