"""A head or a tail whose engine cannot be had: it says why, or falls back where that is allowed.

No machine has a GPU of this number, so it is the same on machines with a GPU and without.
"""

import os
import re
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from codesign_ros.engines.base import EngineKey
from codesign_ros.nodes.device_engines import DeviceEngines
from codesign_ros.nodes.interface.engine_params import backend_settings
from codesign_ros.types.errors import CodesignError

pytest_plugins = ("support.ros",)

WHY = re.compile(
    r"there is no GPU 63|no NVIDIA driver|PyCUDA is not installed|TensorRT is not installed"
)
NO_GPU = {"backend": "tensorrt", "tensorrt.gpu": 63, "profile_s": 0.0}


@pytest.mark.parametrize("node", ["head", "tail"])
def test_without_its_engine_a_node_stays_and_says_why(site, node_bundle, node):
    parameters = {**NO_GPU, "autostart": False, "bundle": str(node_bundle.path)}
    robot = site.robot(**{node: parameters})
    robot.start(node)
    name = robot.name(node)
    for _ in range(2):
        with pytest.raises(CodesignError, match=f"{name} did not configure"):
            robot.observer.change_state(name, "configure")
        robot.wait(lambda: WHY.search(robot.message(node)), "the reason in diagnostics")
        assert robot.message(node).startswith("unconfigured: ")
    log = robot.processes.log(node).read_text()
    assert WHY.search(log)
    assert "Traceback" not in log
    # The reason goes once a transition succeeds.
    robot.observer.set_parameter(name, "backend", "onnxruntime")
    robot.observer.change_state(name, "configure")
    robot.wait_for_state(node, "inactive")


def resources(pid):
    """Threads, open files and resident memory [bytes] of a process."""
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    counts = (len(list((process / each).iterdir())) for each in ("task", "fd"))
    return (*counts, pages * os.sysconf("SC_PAGE_SIZE"))


@pytest.mark.parametrize("node", ["head", "tail"])
def test_a_hundred_lives_leave_nothing_behind(site, node_bundle, node):
    # One heap for all threads: else each new one of the pool takes memory for a heap of its own.
    site.environment["MALLOC_ARENA_MAX"] = "1"
    parameters = {"autostart": False, "profile_s": 0.0, "bundle": str(node_bundle.path)}
    robot = site.robot(**{node: parameters})
    robot.start(node)
    name, pid = robot.name(node), robot.processes.pid(node)
    used = []
    for life in range(100):
        # The transitions with engines in them every tenth time: they take longer.
        steps = ("configure", "activate", "deactivate", "cleanup")
        for step in steps if life % 10 == 0 else ("configure", "cleanup"):
            robot.observer.change_state(name, step)
        if life % 10 == 0:
            used.append(resources(pid))
    threads, files, memory_bytes = zip(*used[2:], strict=True)
    # rclpy starts the threads of its pool when it first needs them, so a few more may come; a leak
    # in each of the 7 activations between would be more.
    assert threads[-1] - threads[0] < 5
    assert max(files) <= files[0]
    assert memory_bytes[-1] < memory_bytes[0] + 10 * 2**20


def test_with_a_fallback_it_works_and_says_so(site, node_bundle):
    parameters = {**NO_GPU, "engine_fallback": "onnxruntime", "bundle": str(node_bundle.path)}
    robot = site.robot(tail=parameters)
    robot.start("tail")
    robot.wait_for_message("tail", "active; running on onnxruntime, not on tensorrt: ")
    assert WHY.search(robot.message("tail"))
    assert robot.values("tail")["backend"] == "onnxruntime"
    assert WHY.search(robot.processes.log("tail").read_text())
    # The warning goes with what it is about.
    for step in ("deactivate", "cleanup"):
        robot.observer.change_state(robot.name("tail"), step)
    robot.wait_for_state("tail", "unconfigured")


@pytest.fixture
def losing(site, tmp_path, monkeypatch):
    """Has the nodes' backend onnxruntime lose its device, as one on a GPU may."""
    flag = tmp_path / "lost"
    (tmp_path / "sitecustomize.py").write_text(
        "from pathlib import Path\n"
        "from codesign_ros.engines.ort import OrtBackend\n"
        f"flag = Path({str(flag)!r})\n"
        "OrtBackend.lost = property(lambda self: 'the device is lost' if flag.exists() else '')\n"
    )
    path = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setitem(site.environment, "PYTHONPATH", os.pathsep.join(path))
    return flag.touch


def test_a_device_that_is_lost_ends_the_node_with_its_reason(site, node_bundle, losing):
    robot = site.robot(head={"bundle": str(node_bundle.path), "profile_s": 0.0})
    robot.start("head")
    robot.wait(lambda: "active" in robot.message("head"), "the head to be active")
    losing()
    assert robot.failed("head") == "error: the device is lost"


@pytest.mark.parametrize("state", ["active", "inactive"])
def test_a_device_that_is_lost_is_fallen_back_from(site, node_bundle, losing, state):
    robot = site.robot(
        tail={
            "bundle": str(node_bundle.path), "profile_s": 0.0, "engine_fallback": "torch",
            "autostart": state == "active",
        }
    )  # fmt: skip
    robot.start("tail")
    if state == "inactive":
        robot.observer.change_state(robot.name("tail"), "configure")
    robot.wait_for_state("tail", state)
    losing()
    robot.wait_for_message("tail", f"{state}; running on torch, not on onnxruntime: the device is")
    assert robot.values("tail")["backend"] == "torch"


def test_settings_of_tensorrt_do_not_matter_to_other_backends(site, node_bundle):
    both = {"tensorrt.dla_core": 0, "tensorrt.max_batch": 2}  # they exclude each other
    robot = site.robot(tail={**both, "profile_s": 0.0, "bundle": str(node_bundle.path)})
    robot.start("tail")
    robot.wait_for_state("tail", "active")


def test_nodes_on_other_backends_share_engines_whatever_tensorrt_is_told():
    assert backend_settings("onnxruntime", {"tensorrt.max_batch": 4}) is None


def test_the_first_build_shows_how_far_it_is():
    seen = []

    class Factory:
        builds_ahead = True
        bundle = SimpleNamespace(last_cut=3)

        def require_device(self):
            pass

        def check_precision(self, precision):
            pass

        def prepare(self, key, progress):
            progress(0.25, "choosing kernels")
            seen.append((key, engines.values()))
            raise CodesignError("operator Foo is refused")

    share = SimpleNamespace(factory=Factory())
    shared = SimpleNamespace(acquire=lambda *_: share, release=seen.append)
    params = defaultdict(int, {"backend": "tensorrt", "engine_fallback": "none", "bundle": "b"})
    params |= {f"tensorrt.{name}": 1 for name in ("max_batch", "contexts")}
    params |= {"tensorrt.dla_core": -1, "tensorrt.zero_copy": "auto", "precisions": ["fp32"]}
    engines = DeviceEngines("head", params, shared, None, lambda: None)
    with pytest.raises(CodesignError, match="Foo"):
        engines.open()
    told = {"building": "the whole network: 25 % choosing kernels"}
    assert seen == [(EngineKey("head", 3), told), share]
    assert engines.values() == {}


def test_started_by_itself_it_ends_with_one_line(site, node_bundle):
    arguments = [f"bundle:={node_bundle.path}", "backend:=tensorrt", "tensorrt.gpu:=63"]
    line = site.run_node("head", *(word for each in arguments for word in ("-p", each)))
    assert WHY.search(line)


def test_a_precision_that_the_backend_has_not_is_refused_though_nothing_is_timed(site, node_bundle):
    arguments = [f"bundle:={node_bundle.path}", "backend:=torch", "profile_s:=0.0"]
    arguments += ["precisions:=[int8-tensor]"]
    line = site.run_node("tail", *(word for each in arguments for word in ("-p", each)))
    assert "precision 'int8-tensor' is not available on backend torch; it has: fp32" in line
