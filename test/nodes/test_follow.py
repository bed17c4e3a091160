"""``codesign follow`` on real nodes: they play a recording once, and what they said is recorded."""

import json
import subprocess

import pytest

from codesign_ros.nodes.watching.recorded import read_news
from codesign_ros.runtime.device import Device
from codesign_ros.testbed.processes import executable
from codesign_ros.types.plan import Plan
from support.two_cameras import LEFT, RIGHT, write_two_cameras

pytest_plugins = ("support.ros",)

# Far beyond what it takes, on a busy machine [s].
PATIENCE_S = 180.0
FRAMES = 12


@pytest.fixture
def codesign(site):
    """Run a command beside the nodes; its output."""

    def run(*arguments, status=0):
        done = subprocess.run(
            [str(executable("codesign")), *map(str, arguments)],
            env=site.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def robot(site, node_bundle):
    """All nodes, the camera unconfigured, the robot so slow that the server serves."""
    common = {"bundle": str(node_bundle.path), "profile_s": 0.05}
    # At a cut that is given, as the best one hangs on the rate of a link that is none.
    planner = {"bundle": common["bundle"], "codecs": ["raw"], "policy": "cut:3"}
    robot = site.robot(
        camera={"autostart": False, "source": "mine:5", "frames": FRAMES},
        head={**common, "emulation.slowdown": 200.0, "image_reliability": "reliable",
              "deadline_s": 20.0},
        tail=common,
        planner={**planner, "correct": False},
    )  # fmt: skip
    robot.start("planner", "tail", "head", "camera")
    robot.wait_for_plan("with the server", lambda plan: plan.served_by == "/robot/tail")
    return robot


def test_a_recording_is_played_recorded_and_heard_again(robot, codesign, node_bundle, tmp_path):
    bundle = ["--bundle", node_bundle.path]
    bag, report = tmp_path / "said", tmp_path / "report.json"
    bag.mkdir()  # an empty folder is taken
    codesign("follow", "--play", "window", "--record", bag, "--json", report, *bundle)
    said = json.loads(report.read_text())
    assert (said["frames"], said["results"], said["lost"]) == (FRAMES, FRAMES, 0)
    assert said["recorded"]["/robot/result"] == FRAMES
    assert said["recorded"]["/robot/ground_truth"] == FRAMES
    assert said["recorded"]["/codesign/plan"] >= 1
    assert not any(said["missed"].values())

    # Every answer of the server can be had again of its recorded embedding alone.
    served = said["finished_by"]["server"]
    assert said["recorded"]["/robot/result/remote"] >= served > 0  # probes are answered too
    again = tmp_path / "tail.json"
    codesign("replay-tail", bag, "--json", again, *bundle)
    rows = json.loads(again.read_text())["plans"]
    assert sum(row["same"] for row in rows) == served
    assert not any(row["different"] or row["refused"] for row in rows)

    # A planner that hears the announcements alone makes the plan that was in force.
    news = [each.said for each in read_news(bag)]
    nodes = {each.node for each in news if isinstance(each, Device)}
    assert nodes == {"/robot/head", "/robot/tail"}
    assert any(isinstance(each, Plan) for each in news)
    again = tmp_path / "planner.json"
    settings = ["codecs=[raw]", "policy=cut:3", "correct=false"]
    codesign("replay-planner", bag, "--set", *settings, "--json", again, *bundle)
    found = json.loads(again.read_text())
    by = {each["by"]: each for each in found["plans"]}
    assert by["this planner"]["plan"] == by["recorded"]["plan"]
    assert found["same_s"] > 0.9 * found["both_s"] > 0


def test_why_the_camera_does_not_play_is_in_the_line(site, codesign, node_bundle, tmp_path):
    bag = write_two_cameras(tmp_path / "bag", FRAMES)
    common = {"bundle": str(node_bundle.path), "profile_s": 0.05}
    robot = site.robot(
        camera={"autostart": False, "source": str(bag)},
        head=common,
        tail=common,
        planner={"bundle": common["bundle"]},
    )
    robot.start("planner", "tail", "head", "camera")
    said = codesign("follow", "--play", "window", "--bundle", node_bundle.path, status=2)
    (line,) = (line for line in said.splitlines() if line.startswith("error: "))
    assert line == (
        f"error: /robot/camera did not configure; it is unconfigured: bag {bag} has several image "
        f"topics: {LEFT}, {RIGHT}; choose one with source_topic"
    )


def test_one_line_where_nobody_is_there(codesign, node_bundle, tmp_path):
    said = codesign("follow", "--seconds", "1", "--record", tmp_path / "bag", "--bundle",
                    node_bundle.path, status=2)  # fmt: skip
    (line,) = (line for line in said.splitlines() if line.startswith("error: "))
    assert line.startswith("error: no result on /robot/result; check --robot, ROS_DOMAIN_ID")
    assert not (tmp_path / "bag").exists()  # nothing was said
