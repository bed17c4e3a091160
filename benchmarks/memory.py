"""Resident memory of robot and server while frames flow, without PyTorch and with it.

    scripts/in_ros python benchmarks/memory.py

Without it the networks are exported into a copy of the bundle and the nodes find no torch; with it
nothing is exported before, so that head and tail load it to do so. One robot, camera ``mine``, both
halves on this machine. Frames count once head and tail are active: before they time their halves.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from codesign_ros.cli.main import main as codesign
from codesign_ros.nodes.observer import Observer
from codesign_ros.resources import default_bundle, resource_path
from codesign_ros.testbed.processes import NodeProcesses, private_environment

HALVES = ("tail", "head")
NODES = ("planner", *HALVES, "camera")
HIDDEN = 'raise ModuleNotFoundError("No module named \'torch\'", name="torch")\n'
# Far beyond what it takes [s].
PATIENCE_S = 240.0


def resident_mb(pid: int) -> tuple[float, float]:
    """Resident memory of a process now, and its highest until now [MB]."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return tuple(int(values[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM"))


def measure(folder: Path, bundle: Path, frames: int, without_torch: bool) -> None:
    """Run the four nodes until so many results are there; print a line for each."""
    environment = {**private_environment(), "CODESIGN_CACHE_DIR": str(folder / "cache")}
    if without_torch:
        (folder / "torch.py").write_text(HIDDEN)
        path = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = f"{folder}:{path}" if path else str(folder)
    common = {"bundle": str(bundle)}
    overrides = {"head": common, "tail": common, "planner": common, "camera": {"loop": True}}
    params = resource_path("config") / "split_inference.yaml"
    nodes = NodeProcesses("/robot", params, overrides, folder, environment)
    observer = Observer("/robot", int(environment["ROS_DOMAIN_ID"]))
    try:
        for node in NODES:
            nodes.start(node)

        def is_active() -> bool:
            nodes.check()
            told = (observer.messages.get(nodes.name(node), "") for node in HALVES)
            return all(message.startswith("active") for message in told)

        observer.wait_until(is_active, "head and tail to be active", PATIENCE_S)
        enough = len(observer.results) + frames

        def is_enough() -> bool:
            nodes.check()
            return len(observer.results) >= enough

        observer.wait_until(is_enough, f"{frames} results", PATIENCE_S)
        words = "without torch" if without_torch else "with torch"
        for node in NODES:
            now, highest = resident_mb(nodes.pid(node))
            print(f"{words:14} {node:8} {now:6.0f} MB resident, {highest:6.0f} MB at most")
    finally:
        observer.close()
        nodes.stop()


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    os.environ.update(private_environment())
    for without_torch in (False, True):
        with tempfile.TemporaryDirectory(prefix="codesign_memory_") as name:
            folder = Path(name)
            bundle = folder / options.bundle.name
            shutil.copytree(options.bundle, bundle)
            if without_torch and codesign(["export", str(bundle), "--into-bundle"]) != 0:
                raise SystemExit("the networks could not be exported")
            measure(folder, bundle, options.frames, without_torch)


if __name__ == "__main__":
    main()
