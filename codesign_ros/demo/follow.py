"""A robot whose nodes somebody else started: record what they say, and sum up what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codesign_ros.bundle import Bundle
from codesign_ros.demo.playing import STALL_TIMEOUT_S, Playing
from codesign_ros.demo.report import Recording, summarise
from codesign_ros.nodes.observer import Observer
from codesign_ros.nodes.watching.recorder import Recorder
from codesign_ros.types.errors import CodesignError

# Nodes measure themselves first, and may export the network, which takes minutes on a small
# device [s].
START_TIMEOUT_S = 600.0
_PERIOD_S = 0.05


@dataclass(frozen=True)
class Followed:
    """What is followed, and how.

    Attributes:
        robot: the robot's namespace.
        bundle: its network.
        record: the bag to write; None = nothing is recorded.
        plays: whether its camera, which nobody configured, is to play its recording once; it ends
            with it.
        pacing: of the camera, see its parameter, where it plays.
        seconds: otherwise how long [s]; None = until Ctrl-C.
    """

    robot: str
    bundle: Bundle
    record: Path | None = None
    plays: bool = False
    pacing: str = "window"
    seconds: float | None = None


def follow(what: Followed, tell: Callable[[str], None]) -> dict[str, Any]:
    """Follow a robot.

    Args:
        what: whom.
        tell: told what it waits for, or how far it is.

    Returns:
        The report of ``codesign_ros.demo.report.summarise``; ``recorded`` has the messages by
        topic, ``missed`` those that were lost on their way into the bag, and it has nothing of
        the same frames in one process.

    Raises:
        CodesignError: a bag cannot be written, nodes are not there, or no result came.
    """
    observer = Observer(what.robot)
    recorder = None
    try:
        if what.record is not None:
            recorder = Recorder(observer.node, what.record)
        playing = Playing(observer, what.robot, listeners=1 + (recorder is not None))
        if what.plays:
            tell("waiting for head, tail and planner")
            playing.wait(lambda: playing.is_planned, "head and tail to register", START_TIMEOUT_S)
            playing.configure(what.pacing)
            playing.play()
            if not playing.to_end(lambda seen: tell(f"{seen} frames")):
                raise CodesignError(
                    f"no result for {STALL_TIMEOUT_S:.0f} s after {len(playing.results)} frames"
                )
        else:
            with suppress(KeyboardInterrupt):  # the way to end it
                _listen(observer, what.seconds, tell)
    finally:
        observer.close()
        if recorder is not None:
            recorder.close()
    if not observer.results:
        raise CodesignError(
            f"no result on {what.robot}/result; check --robot, ROS_DOMAIN_ID, and that camera and "
            "head are active"
        )
    stamps = {result.stamp.stamp_ns for _, result in observer.results}
    report = summarise(
        Recording(
            frames=playing.frames_sent if what.plays else len(stamps),
            results=observer.results,
            plans=[plan for _, plan in observer.plans],
            truths=observer.truths,
            task=what.bundle.task,
            classes=what.bundle.classes,
        )
    )
    del report["one_process"]  # it was not run there
    if recorder is not None:
        report |= {"recorded": dict(recorder.counts), "missed": dict(recorder.missed)}
    return report


def _listen(observer: Observer, seconds: float | None, tell: Callable[[str], None]) -> None:
    start_s = time.monotonic()
    while seconds is None or time.monotonic() - start_s < seconds:
        if observer.node.failure:
            raise CodesignError(observer.node.failure)
        tell(f"{len(observer.results)} frames")
        time.sleep(_PERIOD_S)
