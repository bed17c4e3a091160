"""What the tests of the nodes share: a DDS domain each, real processes of the nodes, an observer.

A plugin of pytest for the modules that name it in ``pytest_plugins``; it needs ROS 2.
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy

from codesign_ros.bundle import write_bundle
from codesign_ros.engines.base import EngineKey
from codesign_ros.engines.factory import open_backend
from codesign_ros.nodes.observer import Observer
from codesign_ros.pixels.letterbox import letterbox, normalise
from codesign_ros.resources import resource_path
from codesign_ros.testbed.processes import NodeProcesses, executable, private_environment
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES
from support.tiny import CLASSES, TINY_ACCURACY, TINY_INPUT, tiny_frames, tiny_network

# Far beyond what anything here takes, on a machine that is busy with other things too: only a
# defect makes a test wait so long [s].
PATIENCE_S = 90.0

# Words that nobody should read in a node's output, whatever it was told to do.
_STRAY = ("traceback", "exception", "terminate called", "core dumped")
# Their ports lie above those that Linux gives to clients, and `codesign demo` takes lower ones.
_DOMAINS = range(215, 233)
# Participants bind unicast ports by domain and number, two each (RTPS 2.5, 9.6.2.3).
_FIRST_PORT, _PORTS_A_DOMAIN = 7410, 250
# A participant takes the lowest number that is free: more than any test has.
_PARTICIPANTS = 20


@contextlib.contextmanager
def private_domain():
    """A DDS domain that nobody on this machine uses, kept by a lock while the block runs."""
    for number in _DOMAINS:
        name = f"codesign_ros_{os.getuid()}_domain_{number}.lock"
        path = Path(tempfile.gettempdir()) / name
        with path.open("a") as file:
            if _is_locked(file) and _is_unused(number):
                yield number
                return
    raise RuntimeError("all DDS domains of this machine are in use")


def _is_locked(file):
    """Try to take the lock, which ends when the file is closed or the process ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_unused(domain):
    """Whether no participant is in a domain: of others, who know nothing of our locks, or of a test
    that was killed and could not stop its nodes."""
    first = _FIRST_PORT + _PORTS_A_DOMAIN * domain
    for port in range(first, first + 2 * _PARTICIPANTS, 2):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True


class Robot:
    """The nodes of one robot, and the planner, as processes; and an observer of them.

    Args:
        namespace: the robot's namespace.
        overrides: parameters by node.
        directory: for logs.
        environment: environment of the processes.
        arguments: more arguments of ROS by node, e.g. ``-r image_raw:=/cam/image``.
    """

    def __init__(self, namespace, overrides, directory, environment, arguments):
        directory.mkdir()
        self.namespace = namespace
        self.killed = set()
        self.processes = NodeProcesses(
            namespace,
            resource_path("config") / "split_inference.yaml",
            overrides,
            directory,
            environment,
            place=lambda node, command: [*command, *arguments.get(node, ())],
        )
        self.observer = Observer(namespace, int(environment["ROS_DOMAIN_ID"]))
        self._started = set()
        self._failed = set()

    def name(self, node):
        return self.processes.name(node)

    def start(self, *nodes):
        for node in nodes:
            self.processes.start(node)
            self._started.add(node)
            self.killed.discard(node)

    def kill(self, node):
        """End a node as a crash or a power cut would."""
        os.kill(self.processes.pid(node), signal.SIGKILL)
        self.killed.add(node)
        self.wait(lambda: node in self.processes.ended(), f"the end of {node}")

    @contextlib.contextmanager
    def frozen(self, node):
        """Stop a node while the block runs; to others it looks like one that is out of reach."""
        os.kill(self.processes.pid(node), signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.processes.pid(node), signal.SIGCONT)

    def wait(self, condition, what):
        """Wait until ``condition()`` holds; fail with the nodes' logs if it never does."""

        def holds():
            for node in self.processes.ended().keys() - self.killed - self._failed:
                raise CodesignError(self.processes.explain(node))
            return condition()

        try:
            self.observer.wait_until(holds, what, PATIENCE_S)
        except CodesignError as error:
            pytest.fail(f"{error}\n{self._account()}\n{self.logs()}")

    def _account(self):
        """What was observed, for whoever has to find out why a test waits in vain."""
        sequences = [result.sequence for result in self.results]
        seen = "\n".join(f"{n}: {v}" for n, v in sorted(self.observer.diagnostics.items()))
        return f"results {sequences}\n{seen}"

    def failed(self, node):
        """Wait until a node has ended for a reason of the user's, and return its one line."""
        self._failed.add(node)
        self.wait(lambda: node in self.processes.ended(), f"the end of {node}")
        assert self.processes.ended()[node] == 1, self.logs()
        text = self.processes.log(node).read_text()
        (line,) = (line for line in text.splitlines() if line.startswith("error: "))
        return line

    def logs(self):
        return "\n".join(
            f"--- {node}\n{self.processes.log(node).read_text()}" for node in sorted(self._started)
        )

    def call(self, kind, name, **request):
        """Call a service; a relative name, e.g. ``head/commit_plan``, is one of this robot."""
        name = name if name.startswith("/") else f"{self.namespace}/{name}"
        return self.observer.call(kind, name, kind.Request(**request), PATIENCE_S)

    def topic(self, kind, name):
        """A publisher on one of this robot's topics, once somebody listens to it."""
        reliable = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        publisher = self.observer.node.create_publisher(kind, f"{self.namespace}/{name}", reliable)
        self.wait(lambda: publisher.get_subscription_count() > 0, f"a listener to {name}")
        return publisher

    def listen(self, kind, name, also=lambda msg: None):
        """The list to which every message on one of this robot's topics is added.

        ``also`` is called with each. From when on, only ``wait_for_listeners`` can tell.
        """
        messages = []

        def take(msg):
            messages.append(msg)
            also(msg)

        reliable = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        topic = f"{self.namespace}/{name}"
        self.observer.node.create_subscription(kind, topic, take, reliable)
        return messages

    def wait_for_listeners(self, node, name, count):
        """Wait until a node and its listeners, the observer among them, know of each other."""
        key = f"listeners {name}"

        def are_there():
            return self.observer.knows(name) and int(self.values(node).get(key, 0)) >= count

        self.wait(are_there, f"{node}'s {key}: {count}")

    # What the observer heard

    @property
    def results(self):
        return [result for _, result in list(self.observer.results)]

    @property
    def plans(self):
        return [plan for _, plan in list(self.observer.plans)]

    @property
    def plan(self):
        """The newest plan; None before the first."""
        plans = self.plans
        return plans[-1] if plans else None

    def values(self, node):
        """Last values of a node in /diagnostics."""
        return self.observer.diagnostics.get(self.name(node), {})

    def message(self, node):
        """Last message of a node in /diagnostics."""
        return self.observer.messages.get(self.name(node), "")

    def wait_for_state(self, node, state):
        """Wait until a node is in a lifecycle state and has nothing to complain about; a head may
        get no frames, for mostly the test has none for it."""
        self.wait(
            lambda: self.message(node).partition("; no frame for ")[0] == state,
            f"{node} to be {state}",
        )

    def wait_for_message(self, node, text):
        self.wait(lambda: text in self.message(node), f"{node} to say {text!r}")

    def wait_for_plan(self, what, condition):
        """Wait for a plan that fits and return it."""
        self.wait(lambda: self.plan is not None and condition(self.plan), f"a plan {what}")
        return self.plan

    # The end

    def stop(self):
        """Interrupt all nodes and check that each ends by itself and quietly."""
        self.processes.stop(PATIENCE_S)
        statuses = self.processes.ended()
        expected = dict.fromkeys(self._started, 0)
        expected |= dict.fromkeys(self.killed, -signal.SIGKILL) | dict.fromkeys(self._failed, 1)
        assert statuses == expected, self.logs()
        assert not [word for word in _STRAY if word in self.logs().lower()], self.logs()

    def close(self):
        self.processes.stop()
        self.observer.close()


class Site:
    """A DDS domain of one's own, and the robots in it."""

    def __init__(self, directory, cache_dir):
        self._directory = directory
        self._exit = contextlib.ExitStack()
        self._robots = []
        self.domain = self._exit.enter_context(private_domain())
        self.environment = {
            **private_environment(),
            "ROS_DOMAIN_ID": str(self.domain),
            "ROS_LOG_DIR": str(directory / "log"),
            "CODESIGN_CACHE_DIR": str(cache_dir),
            "OMP_NUM_THREADS": "1",
            "PYTHONFAULTHANDLER": "1",  # one that hangs is aborted, and says where
        }

    def robot(self, namespace="/robot", arguments=None, **overrides):
        """A robot with no node running yet; ``overrides`` are parameters by node, ``arguments``
        more arguments of ROS."""
        directory = self._directory / f"nodes{len(self._robots)}"
        robot = Robot(namespace, overrides, directory, self.environment, arguments or {})
        self._robots.append(robot)
        self._exit.callback(robot.close)
        return robot

    def run_node(self, node, *arguments):
        """Run a node that should end by itself; return its one line of error."""
        done = subprocess.run(
            [str(executable(f"{node}_node")), "--ros-args", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        text = done.stdout + done.stderr
        assert done.returncode == 1, text
        assert "Traceback" not in text
        # rcl's own parser logs a line before ours.
        ours = [line for line in text.splitlines() if "[rcl]" not in line]
        (line,) = ours
        assert line.startswith("error: "), text
        return line

    def close(self, *, check):
        """End everything; ``check``: that all nodes end as they should."""
        with self._exit:
            for robot in self._robots if check else ():
                robot.stop()


@contextlib.contextmanager
def open_site(directory, cache_dir):
    site = Site(directory, cache_dir)
    try:
        yield site
    except BaseException:
        site.close(check=False)
        raise
    site.close(check=True)


@pytest.fixture(scope="session", autouse=True)
def dds_on_localhost():
    """Keep the observers, which run in this process, to this machine as the nodes are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
        patch.delenv("ROS_LOCALHOST_ONLY", raising=False)
        for name, value in private_environment().items():
            patch.setenv(name, value)
        yield


def write_node_bundle(path, pictures, seed=0):
    """Write a bundle with random weights whose answers for ``pictures`` differ."""
    import torch

    network = tiny_network(seed)
    inputs = [normalise(letterbox(picture, TINY_INPUT), TINY_INPUT) for picture in pictures]
    last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        logits = network(torch.from_numpy(np.concatenate(inputs)))
        mean, deviation = logits.mean(0), logits.std(0)
        last.bias.copy_((last.bias - mean) / deviation)
        last.weight.div_(deviation[:, None])
    return write_bundle(
        path,
        network,
        name=path.stem,
        architecture="mine_repvgg",
        architecture_args={"classes": len(CLASSES)},
        classes=CLASSES,
        accuracy=TINY_ACCURACY,
        calibration_frames=tiny_frames(4),
    )


@pytest.fixture(scope="session")
def node_bundle(tmp_path_factory, pictures, engine_cache):
    """The bundle of the nodes, input 64 x 96; do not change its files.

    The cache holds its exported network, so that no node has to load torch.
    """
    bundle = write_node_bundle(tmp_path_factory.mktemp("bundles") / "nodes.bundle", pictures)
    factory = open_backend(bundle, cache_dir=engine_cache)
    for structure in BRANCH_STRUCTURES:
        factory.build(EngineKey("head", bundle.last_cut, structure))
    return bundle


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory, pictures, engine_cache):
    """A bundle of another network, exported too; do not change its files."""
    path = tmp_path_factory.mktemp("bundles") / "other.bundle"
    bundle = write_node_bundle(path, pictures, seed=1)
    open_backend(bundle, cache_dir=engine_cache).build(EngineKey("head", bundle.last_cut))
    return bundle


@pytest.fixture
def site(tmp_path, engine_cache):
    """A DDS domain for one test."""
    with open_site(tmp_path, engine_cache) as site:
        yield site


@pytest.fixture(scope="module")
def module_site(tmp_path_factory, engine_cache):
    """A DDS domain that the tests of one module share, with the nodes that they leave running."""
    with open_site(tmp_path_factory.mktemp("site"), engine_cache) as site:
        yield site


@pytest.fixture(scope="session")
def another_site(tmp_path_factory, engine_cache):
    """Opens a DDS domain for as long as it is asked for, as a context manager."""
    return lambda: open_site(tmp_path_factory.mktemp("site"), engine_cache)


@pytest.fixture(scope="session")
def pictures():
    """Frames that differ much, larger than the network's input: uint8 (12, 96, 144, 3) RGB."""
    size = (3 * TINY_INPUT.width // 2, 3 * TINY_INPUT.height // 2)
    frames = [cv2.resize(frame, size).astype(np.float32) for frame in tiny_frames(12, seed=7)]
    rng = np.random.default_rng(3)
    contrast, tint = rng.uniform(0.5, 4, (12, 1, 1, 1)), rng.uniform(-60, 60, (12, 1, 1, 3))
    return np.clip((np.stack(frames) - 128) * contrast + 128 + tint, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def picture_folder(pictures, tmp_path_factory):
    """The pictures as PNG files, which keep every pixel."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:03}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return folder
