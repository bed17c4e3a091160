"""How soon a planner knows a whole fleet: 500 robots' announcements over DDS, the planner started.

Half of the robots are played by each of two processes: a node for each head and each tail, with a
service to take plans, a writer of announcements and one of heartbeats, twice a second, and answers
to the planner's calls. The planner is the real node, in a process of its own; it is started beside
the fleet, killed and started again.

    scripts/in_ros python benchmarks/fleet_discovery.py
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rclpy.node import Node
from rclpy.serialization import serialize_message

from codesign_ros.bundle import Bundle
from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.msg import DeviceProfile, Heartbeat
from codesign_ros.msg import Presence as PresenceMsg
from codesign_ros.nodes.identity.seat import PLANNERS
from codesign_ros.nodes.interface import qos
from codesign_ros.nodes.interface.device_messages import device_to_msg, heartbeat_to_msg
from codesign_ros.nodes.observer import Observer
from codesign_ros.resources import default_bundle, resource_path
from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.sessions import new_session
from codesign_ros.srv import PreparePlan
from codesign_ros.testbed.processes import NodeProcesses, private_environment
from codesign_ros.types.forms import BRANCH_STRUCTURES, HalfForm

PROCESSES = 2
HEARTBEAT_PERIOD_S = 0.5
# A fleet that is not known by then is given up [s].
GIVE_UP_S = 30.0
GOAL_S = 5.0


def times(bundle: Bundle, part: str) -> HalfTimes:
    """As many times as a real device announces; a robot's own time is short, so it plans alone."""
    last = bundle.last_cut
    half_s = {
        HalfForm(cut, structure): 0.001 * (1 + (cut if part == "head" else last - cut))
        for cut in range(last + 1)
        for structure in BRANCH_STRUCTURES
    }
    codecs = [(cut, codec) for cut in range(1, last) for codec in ("raw", "fp16+zstd", "uint8")]
    return HalfTimes(half_s, frozenset(), dict.fromkeys(codecs, 1e-4), dict.fromkeys(codecs, 9e3))


def play(first: int, count: int) -> None:
    """Play some robots as long as the parent process lives."""
    bundle = Bundle.open(default_bundle())
    profiles = {role: times(bundle, role.part) for role in Role}
    observer = Observer(f"/fleet{first}", int(os.environ["ROS_DOMAIN_ID"]))
    node = observer.node
    devices = {}
    for number in range(first, first + count):
        for role in Role:
            robot = f"/robot{number}"
            name = f"{robot}/{role.name.lower()}"
            device = Device(
                name,
                session=new_session(),
                robot=robot,
                role=role,
                # Nothing is planned: what is measured is how soon all are known.
                state="inactive",
                model_id=bundle.model_id,
                profile=profiles[role],
            )
            # A planner knows nobody whose node, and whose service to take plans, is not there.
            player = Node(
                role.name.lower(),
                namespace=robot,
                context=node.context,
                start_parameter_services=False,
                enable_rosout=False,
            )
            writer = player.create_publisher(DeviceProfile, "/codesign/devices", qos.state())
            beats = player.create_publisher(Heartbeat, "/codesign/heartbeat", qos.heartbeat())
            player.create_service(PreparePlan, f"{name}/prepare_plan", lambda _, answer: answer)
            now = node.get_clock().now().to_msg()
            # As bytes: the players share the machine with the planner that is measured.
            profile = serialize_message(device_to_msg(device, now))
            beat = serialize_message(heartbeat_to_msg(device, now))
            devices[name] = player, writer, profile, beats, beat
            writer.publish(profile)

    def on_planner(msg: PresenceMsg) -> None:
        for name in msg.unknown:
            if name in devices:
                _, writer, profile, _, _ = devices[name]
                writer.publish(profile)

    node.listen(PresenceMsg, PLANNERS, on_planner, qos.heartbeat())
    print("ready", flush=True)
    parent = os.getppid()
    while os.getppid() == parent:
        begun_s = time.monotonic()
        for number, (_, _, _, beats, beat) in enumerate(devices.values()):
            beats.publish(beat)
            if number % 20 == 0:  # spread over the period, as those of many nodes are
                left_s = begun_s + HEARTBEAT_PERIOD_S * number / len(devices) - time.monotonic()
                time.sleep(max(0.0, left_s))
        time.sleep(max(0.0, begun_s + HEARTBEAT_PERIOD_S - time.monotonic()))
    observer.close()


def known_of(text: str) -> list[float]:
    """When devices registered, by the stamps of the planner's log [s]."""
    lines = [line for line in text.splitlines() if " registered (" in line]
    return [float(line.split("[")[2].rstrip("] ")) for line in lines]


def measure(robots: int, restarts: int) -> list[dict[str, float]]:
    """Start the fleet, then the planner several times."""
    environment = {**os.environ, **private_environment()}
    os.environ.update(environment)
    share = robots // PROCESSES
    fleet = []
    for number in range(PROCESSES):
        command = [sys.executable, __file__, "--play", str(number * share), str(share)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        fleet.append(process)
    rows = []
    try:
        for process in fleet:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        with tempfile.TemporaryDirectory() as directory:
            nodes = NodeProcesses(
                "/robot",
                resource_path("config") / "split_inference.yaml",
                {"planner": {"bundle": str(default_bundle())}},
                Path(directory),
                environment,
            )
            for attempt in range(1 + restarts):
                begun_s = time.monotonic()
                nodes.start("planner")
                log = nodes.log("planner")
                known: list[float] = []
                while len(known) < 2 * robots and time.monotonic() - begun_s < GIVE_UP_S:
                    text = log.read_text() if log.exists() else ""
                    known = known_of(text)
                    time.sleep(0.05)
                    nodes.check()
                done_s = time.monotonic()
                rows.append(
                    {
                        "start": attempt,
                        "known": len(known),
                        "devices": 2 * robots,
                        "from_start_s": round(done_s - begun_s, 2),
                        "from_first_s": round(max(known, default=0.0) - min(known, default=0.0), 2),
                    }
                )
                print(json.dumps(rows[-1]), flush=True)
                nodes.send("planner", signal.SIGKILL)
    finally:
        for process in fleet:
            process.kill()
            process.wait()
    return rows


def main() -> int:
    """Run the benchmark; the exit status is 1 where a fleet was not known in time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--robots", type=int, default=500)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--play", type=int, nargs=2, metavar=("FIRST", "COUNT"), default=None)
    args = parser.parse_args()
    if args.play:
        play(*args.play)
        return 0
    rows = measure(args.robots, args.restarts)
    late = [row for row in rows if row["known"] < row["devices"] or row["from_first_s"] > GOAL_S]
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
