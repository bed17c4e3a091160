"""What a robot does while its server or its link is gone: the real nodes on a test bed, hurt.

The camera sends at a fixed rate and frames go to the server; then the server is killed, frozen or
stopped, or the link is cut, and comes back. For each fault the table says how long answers took
from the first second of the outage on, against the robot's own time; how soon frames went to the
server again once it was back; how many plans were made; and what became of the frames. With
--endurance many faults and many switches follow one another instead. Both want root and a quiet
machine. With --others instead: two nodes in one place, rolling restarts, robots on several servers,
hostile peers, a whole fleet, damaged messages; they want neither.

    make faults
    make faults ARGS="--endurance --minutes 30"
    make faults ARGS="--others"
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TextIO

from endurance import Finding, hurt, last, switch
from others import show
from outages import STEADY_FRAMES, Outcome, Watch, faults
from right_answers import RightAnswers

from codesign_ros.console import result_console, right, slim_table
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.resources import default_bundle, resource_path
from codesign_ros.testbed.bed import LinkShape, why_not
from codesign_ros.testbed.session import Session
from codesign_ros.testbed.setup import Setup
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure

_OWN_S = 6.0
# Without a result for so long after the camera stopped, all frames have theirs [s].
_DRAINED_S = 2.0
_LINK = LinkShape(20e6)


def run(
    arguments: argparse.Namespace, session: Session, cache: Path, trace: TextIO
) -> tuple[list[Outcome], list[Finding]]:
    """Measure all that is asked for."""
    session.play(arguments.rate_hz)
    session.set_policy("device_only")
    session.wait_for_epoch(session.plan.epoch, STEADY_FRAMES)
    seen = len(session.observer.results)
    session.wait(_OWN_S)
    own_s = [result.head_s for _, result in session.observer.results[seen:]]
    print(f"the robot alone takes {median(own_s):.3f} s a frame, at most {max(own_s):.3f} s")
    source = str(resource_path("bags") / "mine_demo")
    answers = RightAnswers(source, default_bundle(), session.plan, cache / "robot")
    play_anew(session, answers, arguments.rate_hz)
    session.set_policy(arguments.policy)
    if arguments.endurance:
        return [], endure(arguments, session, answers)
    watch, found = Watch(session, answers, median(own_s), trace), []
    for fault in faults(session, _LINK, arguments.short):
        if any(words in f"{fault.name} {fault.duration_s:g}" for words in arguments.only):
            found.append(watch.measure(fault))
            print(f"{fault.name}, {fault.duration_s:g} s: {found[-1].faults or 'as it must'}")
    return found, []


def play_anew(session: Session, answers: RightAnswers, rate_hz: float | None = None) -> None:
    """Have the recording play from its first frame, once all frames before are answered."""
    session.pause()
    observer, seen = session.observer, -1
    while len(observer.results) != seen:
        seen = len(observer.results)
        session.wait(_DRAINED_S)
    session.play(rate_hz)
    session.wait_for_frames(1)
    answers.begin(observer.results[seen][1].sequence)


def endure(arguments: argparse.Namespace, session: Session, answers: RightAnswers) -> list[Finding]:
    """Measure many faults and many switches."""
    found = [hurt(session, answers, arguments.hurts, arguments.seed)] if arguments.hurts else []
    if arguments.switches or arguments.minutes:
        play_anew(session, answers)
    if arguments.switches:
        found.append(switch(session, answers, arguments.switches))
    if arguments.minutes:
        found += last(session, arguments.minutes, lambda line: print(line, flush=True))
    return found


def report(found: Sequence[Outcome], endured: Sequence[Finding], path: Path) -> None:
    """Print the tables."""
    console = result_console()
    if found:
        numbers = (
            "lasts s",
            "worst ms",
            "worst",
            "back s",
            "returns",
            "plans",
            "frames",
            "lost",
            "dropped",
        )
        table = slim_table("Faults", "fault", *right(*numbers), "not as it must be")
        for each in found:
            table.add_row(
                each.fault,
                f"{each.duration_s:g}",
                f"{1e3 * each.worst_s:.0f}",
                f"{each.worst_times:.2f} x",
                "never" if each.return_s is None else f"{each.return_s:.1f}",
                *map(str, (each.returns, each.plans, each.frames, each.lost, each.dropped)),
                "; ".join(each.faults) or "-",
            )
        console.print(table)
        console.print(
            "worst: the longest answer after the first second of the outage; in times of what the "
            f"robot alone takes, {1e3 * found[0].own_s:.0f} ms, or took for that frame; {path}"
        )
    if endured:
        table = slim_table("Shown", "what", "seen", "not as it must be")
        for finding in endured:
            table.add_row(finding.what, finding.seen, "; ".join(finding.wrong) or "-")
        console.print(table)


def show_others(arguments: argparse.Namespace) -> int:
    """Do what needs no test bed."""
    try:
        found = list(show(arguments.others, lambda line: print(line, flush=True)))
    except CodesignError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    path = arguments.out / "others.json"
    path.write_text(json.dumps([asdict(each) for each in found], indent=1))
    report([], found, path)
    return int(any(each.wrong for each in found))


def main() -> int:
    """Parse the command line, measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="without the longest")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="faults whose name and length have one of these"
    )
    parser.add_argument("--policy", default="server_only_jpeg", help="whose plan is in force")
    parser.add_argument("--rate-hz", type=float, default=4.0, help="of the camera")
    parser.add_argument("--endurance", action="store_true", help="many faults and switches instead")
    parser.add_argument("--hurts", type=int, default=100, help="kills and freezes; 0 = none")
    parser.add_argument("--seed", type=int, default=0, help="of their kinds and moments")
    parser.add_argument("--switches", type=int, default=50, help="of plan, at full rate; 0 = none")
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="with a switch a second; 0 = not"
    )
    parser.add_argument(
        "--others", nargs="*", metavar="WORD", help="what needs no test bed; those with such a word"
    )
    parser.add_argument("--out", type=Path, default=Path("log/faults"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.others is not None:
        return show_others(arguments)
    if reason := why_not():
        print(f"skipped: {reason}", file=sys.stderr)
        return 0
    # In INT8 each structure says something else, and a planner that was killed has to go on with
    # the policy: every frame must have one right answer.
    planner = {"structures": [Structure.S3.value], "policy": arguments.policy}
    setup = Setup(_LINK, precision="int8-channel", objective="latency", planner=planner)
    cache = default_cache_dir() / "testbed"
    try:
        with (
            Session(setup, "faults", cache, lambda line: print(line, flush=True)) as session,
            (arguments.out / "answers.txt").open("w") as trace,
        ):
            found, endured = run(arguments, session, cache, trace)
    except CodesignError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    path = arguments.out / ("endurance.json" if arguments.endurance else "faults.json")
    rows = [asdict(each) for each in (*found, *endured)]
    path.write_text(json.dumps(rows, indent=1))
    report(found, endured, path)
    return int(any(each.faults for each in found) or any(each.wrong for each in endured))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
