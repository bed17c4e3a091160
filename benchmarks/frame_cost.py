"""CPU that a frame costs, by process and thread: camera, head and tail under a fixed plan.

    scripts/in_ros python benchmarks/frame_cost.py --cut 0 --codec jpeg
    scripts/in_ros python benchmarks/frame_cost.py --cut 8 --codec uint8 --precision int8-tensor

The camera plays the package's bag in a loop at a fixed rate. A thread's CPU time is what Linux
counts in /proc/PID/task/TID/schedstat, which is exact and in nanoseconds.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from codesign_ros.bundle import Bundle
from codesign_ros.nodes.interface.messages import plan_to_msg
from codesign_ros.nodes.observer import Observer
from codesign_ros.resources import default_bundle, resource_path
from codesign_ros.srv import CommitPlan, PreparePlan
from codesign_ros.testbed.processes import NodeProcesses, private_environment
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.plan import Plan

ROBOT = "/robot"
# Time for engines to be built and for the first frames [s].
_PATIENCE_S = 120.0


def cpu_s(pid: int) -> dict[str, float]:
    """CPU time of a process's threads so far, by name; those of one name together [s]."""
    times: dict[str, float] = defaultdict(float)
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            times[name] += int((task / "schedstat").read_text().split()[0]) / 1e9
        except FileNotFoundError:  # a thread that has just ended
            continue
    return times


def measure(args: argparse.Namespace, directory: Path) -> int:
    """Run the nodes and print the table; returns the exit status."""
    environment = {**private_environment(), "OMP_NUM_THREADS": "1"}
    # For the observer, which is in this process.
    os.environ.update(environment)
    bundle = Bundle.open(args.bundle)
    device = {"bundle": str(args.bundle), "profile_s": 0.0}
    camera = {
        "source": str(args.bag),
        "loop": True,
        "pacing": "rate",
        "rate_hz": args.rate_hz,
        "autostart": True,
    }
    nodes = NodeProcesses(
        ROBOT,
        resource_path("config") / "split_inference.yaml",
        {"camera": camera, "head": device, "tail": device},
        directory,
        environment,
    )
    observer = Observer(ROBOT)
    try:
        processes = ("tail", "robot") if args.together else ("tail", "head", "camera")
        for node in processes:
            nodes.start(node)
        plan = Plan(
            epoch=1,
            robot=ROBOT,
            model_id=bundle.model_id,
            cut=args.cut,
            precision=args.precision,
            codec=args.codec,
            served_by=nodes.name("tail"),
            server_available=True,
            reason="frame_cost",
        )

        def runs() -> bool:
            nodes.check()
            return len(observer.results) > 5

        observer.wait_until(runs, "frames computed on the robot", _PATIENCE_S)
        for node in ("tail", "head"):
            request = PreparePlan.Request(plan=plan_to_msg(plan))
            answer = observer.call(
                PreparePlan, f"{nodes.name(node)}/prepare_plan", request, _PATIENCE_S
            )
            if not answer.ok:
                raise CodesignError(answer.message)
        for node in ("head", "tail"):
            commit = CommitPlan.Request(epoch=1)
            observer.call(CommitPlan, f"{nodes.name(node)}/commit_plan", commit, _PATIENCE_S)
        observer.wait_until(
            lambda: observer.results[-1][1].finished_by == "server", "the plan", _PATIENCE_S
        )
        time.sleep(2.0)
        pids = {node: nodes.pid(node) for node in reversed(processes)}
        count, before = len(observer.results), {n: cpu_s(pid) for n, pid in pids.items()}
        time.sleep(args.seconds)
        after = {node: cpu_s(pid) for node, pid in pids.items()}
        results = [result for _, result in observer.results[count:]]
    finally:
        nodes.stop()
        observer.close()
    report(args, results, before, after)
    return 0


def report(args, results, before, after) -> None:  # type: ignore[no-untyped-def]
    """Print rates and, for each process and thread, CPU a frame."""
    frames = max(1, len(results))
    served = sum(result.finished_by == "server" for result in results)
    print(f"{frames / args.seconds:.1f} results/s, {served / frames:.0%} by the server")
    stages = ("age_s", "head_s", "encode_s", "link_s", "queue_s", "decode_s", "tail_s")
    for name in (*stages, "response_s"):
        known_s = [time_s for r in results if not math.isnan(time_s := getattr(r, name))]
        mean = sum(known_s) / max(1, len(known_s))
        print(f"  {name:11} {1e3 * mean:7.2f} ms")
    for node in after:
        used = {t: s - before[node].get(t, 0.0) for t, s in after[node].items()}
        print(f"{node:7} {1e3 * sum(used.values()) / frames:6.2f} ms CPU a frame")
        for thread, seconds in sorted(used.items(), key=lambda item: -item[1]):
            if seconds / frames > 2e-5:
                print(f"    {thread:16} {1e3 * seconds / frames:6.2f}")


def main() -> int:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cut", type=int, default=0)
    parser.add_argument("--codec", default="jpeg")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument(
        "--together", action="store_true", help="camera and head in one process (robot_node)"
    )
    parser.add_argument("--rate-hz", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--bag", type=Path, default=resource_path("bags") / "mine_demo")
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as directory:
            return measure(args, Path(directory))
    except CodesignError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
