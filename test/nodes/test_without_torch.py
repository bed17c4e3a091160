"""Head and tail where torch cannot be imported: with the networks in the bundle, and without."""

import itertools
import shutil
from array import array

import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from codesign_ros.bundle import Bundle
from codesign_ros.cli.main import main
from codesign_ros.nodes.interface.messages import ns_to_time, plan_to_msg
from codesign_ros.resources import resource_path
from codesign_ros.runtime.messages import Stamp, Status
from codesign_ros.srv import CommitPlan, PreparePlan
from codesign_ros.types.codec_names import NECK_CODECS
from codesign_ros.types.forms import BRANCH_STRUCTURES, Structure
from codesign_ros.types.plan import Plan

pytest_plugins = ("support.ros",)

MOST_TRIES = 50
NO_TORCH = 'raise ModuleNotFoundError("No module named \'torch\'", name="torch")\n'


@pytest.fixture
def bare(site, tmp_path):
    """A site whose nodes find no torch and an empty cache."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "torch.py").write_text(NO_TORCH)
    path = site.environment.get("PYTHONPATH", "")
    site.environment["PYTHONPATH"] = f"{hidden}:{path}" if path else str(hidden)
    site.environment["CODESIGN_CACHE_DIR"] = str(tmp_path / "empty")
    return site


def brought(bundle, place, *options):
    """A copy of a bundle with the networks that these options export."""
    copy = shutil.copytree(bundle, place)
    assert main(["export", str(copy), "--into-bundle", *options]) == 0
    return Bundle.open(copy)


class Led:
    """Head and tail, led by the test in place of a planner and a camera."""

    def __init__(self, site, bundle, picture, profile_s=0.05):
        self.bundle, self._picture = bundle, picture
        common = {"bundle": str(bundle.path), "profile_s": profile_s}
        transport = {"image_transport": "raw", "image_reliability": "reliable"}
        self.robot = site.robot(head={**common, **transport, "deadline_s": 20.0}, tail=common)
        self.robot.start("tail", "head")
        for node in ("tail", "head"):
            self.robot.wait_for_state(node, "active")
        self.robot.wait_for_listeners("head", "result", 1)
        self._images = self.robot.topic(Image, "image_raw")
        self._epochs = itertools.count(1)
        self._stamp_ns = 0

    def follow(self, **fields):
        """Put a plan in force and wait for a result that it made."""
        alone = fields["cut"] == self.bundle.last_cut
        plan = Plan(
            epoch=next(self._epochs),
            model_id=self.bundle.model_id,
            served_by="" if alone else "/robot/tail",
            server_available=True,
            **fields,
        )
        parts = ("head",) if alone else ("tail", "head")
        for part in parts:
            answer = self.robot.call(PreparePlan, f"{part}/prepare_plan", plan=plan_to_msg(plan))
            assert answer.ok, answer.message
        for part in reversed(parts):
            assert self.robot.call(CommitPlan, f"{part}/commit_plan", epoch=plan.epoch).ok
        # The head doubts a server that was slow once: then it is sent again.
        results = (self._answer() for _ in range(MOST_TRIES))
        wanted = (Status.OK, plan.epoch, "robot" if alone else "server")
        assert any((r.status, r.epoch, r.finished_by) == wanted for r in results)

    def _answer(self):
        now_ns = self.robot.observer.node.get_clock().now().nanoseconds
        self._stamp_ns = stamp_ns = max(now_ns, self._stamp_ns + 1)
        height, width, _ = self._picture.shape
        self._images.publish(
            Image(
                header=Header(stamp=ns_to_time(stamp_ns), frame_id="front"),
                height=height,
                width=width,
                encoding="rgb8",
                step=3 * width,
                data=array("B", self._picture.tobytes()),
            )
        )
        stamp, found = Stamp(stamp_ns, "front"), []

        def is_there():
            found[:] = [result for result in self.robot.results if result.stamp == stamp]
            return found

        self.robot.wait(is_there, "the result of a frame")
        return found[0]


def test_networks_in_the_bundle_run_without_torch(bare, node_bundle, pictures, tmp_path):
    led = Led(bare, brought(node_bundle.path, tmp_path / "brought.bundle"), pictures[0])
    last = led.bundle.last_cut
    for cut, structure in zip((0, 1, last // 2, last), BRANCH_STRUCTURES, strict=True):
        led.follow(cut=cut, head_structure=structure, tail_structure=structure)
    # Another was not brought: the one line says how to.
    plan = Plan(cut=1, epoch=99, precision="int8-tensor", model_id=led.bundle.model_id)
    answer = led.robot.call(PreparePlan, "head/prepare_plan", plan=plan_to_msg(plan))
    assert not answer.ok
    assert "codesign export brought.bundle --into-bundle" in answer.message
    assert "--structure S3 --merge fold --precision int8-tensor" in answer.message


@pytest.mark.parametrize("node", ["head", "tail"])
def test_without_torch_and_networks_a_node_says_how_to_bring_them(bare, node_bundle, node):
    robot = bare.robot(**{node: {"bundle": str(node_bundle.path)}})
    robot.start(node)
    line = robot.failed(node)
    assert "No module named 'torch'" in line
    assert f"codesign export {node_bundle.path.name} --into-bundle" in line
    assert str(node_bundle.path) in line


@pytest.mark.test_all
@pytest.mark.parametrize("name", ["mine_repvgg", "mine_yolo"])
def test_all_plans_of_the_shipped_bundles_run_without_torch(bare, name, pictures, tmp_path):
    shipped = resource_path("bundles") / f"{name}.bundle"
    bundle = brought(shipped, tmp_path / "brought.bundle")
    # Times of every half take longer than anybody waits on a busy machine.
    led = Led(bare, bundle, np.ascontiguousarray(pictures[0]), profile_s=0.0)
    for cut, structure in itertools.product(range(led.bundle.last_cut + 1), BRANCH_STRUCTURES):
        led.follow(cut=cut, head_structure=structure, tail_structure=structure)
    for neck, level in ((n, level) for n in led.bundle.necks for level in range(n.levels)):
        for structure in BRANCH_STRUCTURES:
            both = {"head_structure": structure, "tail_structure": structure}
            led.follow(cut=neck.cut, codec=NECK_CODECS[level], **both)
    # Head and tail may differ.
    led.follow(cut=2, head_structure=Structure.S3, tail_structure=Structure.S3_S1)
