"""Where the time of each frame goes, as a trace in Chrome's format, which Perfetto opens."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median, quantiles
from typing import Any

from rich.table import Table

from codesign_ros.console import ms, right, slim_table
from codesign_ros.nodes.observer import Observer
from codesign_ros.runtime.messages import Result, Status, known_responses_s
from codesign_ros.types.errors import CodesignError

# Tracks in their order, and the stages that each shows. Between two stages of one frame nothing is
# known to pass, but for the waits that are stages of their own.
TRACKS = {
    "camera, waiting": ("wait",),
    "head": ("head", "encode"),
    "link": ("link",),
    "tail": ("queue", "decode", "tail"),
}
STAGES = tuple(stage for stages in TRACKS.values() for stage in stages)

# A track has a row for each frame that is in it at once; rows are numbered from the track's.
_MOST_ROWS = 1000


def record(robot: str, seconds: float) -> list[Result]:
    """Collect a running robot's results.

    Args:
        robot: its namespace, with the slash in front.
        seconds: how long [s].

    Raises:
        CodesignError: none came.
    """
    observer = Observer(robot)
    try:
        time.sleep(seconds)
        results = [result for _, result in observer.results]
    finally:
        observer.close()
    if not results:
        raise CodesignError(
            f"no result on {robot}/result within {seconds:g} s; check --robot, ROS_DOMAIN_ID, and "
            "that camera and head are active"
        )
    return results


def stage_times(result: Result) -> dict[str, float]:
    """How long each of ``STAGES`` took of an answered frame, in order of time [s].

    ``wait`` is what no other stage accounts for: from the camera to the head, until the head or the
    link was free, and until the frames before it were answered. It is 0 where the frame's stamp
    cannot be right.
    """
    times = {stage: getattr(result, f"{stage}_s") for stage in STAGES if stage != "wait"}
    wait_s = result.response_s - sum(times.values())
    return {"wait": wait_s if wait_s > 0 else 0.0, **times}


def trace_events(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the events of a trace: a slice for each stage of each frame, a mark for each dropped.

    The stages of a frame are laid out one after another from its stamp. In truth a part of ``wait``
    and the answer's way over the link lie elsewhere: no message says when they were.

    Args:
        results: of one robot.
    """
    start_ns = min(result.stamp.stamp_ns for result in results)
    slices: list[tuple[float, str, str, float, Result]] = []
    marks = []
    for result in results:
        at_us = (result.stamp.stamp_ns - start_ns) / 1e3
        if result.status is not Status.OK:
            marks.append(
                {"name": f"dropped: {result.reason}", "ph": "i", "s": "p", "ts": at_us,
                 "pid": 1, "tid": 0, "args": {"sequence": result.sequence}}
            )  # fmt: skip
            continue
        times = stage_times(result)
        for track, stages in TRACKS.items():
            for stage in stages:
                if times[stage] > 0:
                    slices.append((at_us, track, stage, 1e6 * times[stage], result))
                at_us += 1e6 * times[stage]
    free_us: dict[int, float] = {}
    events = []
    names = dict.fromkeys(TRACKS, 0)
    for begin_us, track, stage, long_us, result in sorted(slices, key=lambda each: each[0]):
        first = _MOST_ROWS * list(TRACKS).index(track)
        row = first
        while free_us.get(row, 0.0) > begin_us + 1e-3:
            row += 1
        free_us[row] = begin_us + long_us
        names[track] = max(names[track], row - first + 1)
        events.append(
            {"name": stage, "cat": track, "ph": "X", "ts": begin_us, "dur": long_us, "pid": 1,
             "tid": row, "args": {"sequence": result.sequence, "epoch": result.epoch,
             "finished_by": result.finished_by, "payload_bytes": result.payload_bytes}}
        )  # fmt: skip
    rows = [
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": _MOST_ROWS * number + row,
         "args": {"name": track}}
        for number, track in enumerate(TRACKS)
        for row in range(names[track])
    ]  # fmt: skip
    return [*rows, *events, *marks]


def stage_table(results: Sequence[Result]) -> Table:
    """Median and 95th percentile of each stage, over the answered frames that went through it."""
    answered = [result for result in results if result.status is Status.OK]
    table = slim_table(
        f"{len(answered)} frames answered, {len(results) - len(answered)} dropped",
        "stage",
        *right("frames", "median", "95 %"),
    )
    columns = {stage: [stage_times(result)[stage] for result in answered] for stage in STAGES}
    columns["response"] = known_responses_s(answered)
    for stage, times in columns.items():
        if spent := [time_s for time_s in times if time_s > 0]:
            late = quantiles(spent, n=20)[-1] if len(spent) > 1 else spent[0]
            table.add_row(stage, str(len(spent)), ms(median(spent)), ms(late))
    return table
