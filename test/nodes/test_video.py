"""Frames as H.264 over DDS: every frame gets the one answer that one process gives."""

import shutil
from dataclasses import replace

import pytest

from codesign_ros.bundle import Bundle
from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.data.sources import open_source
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.runtime.messages import Status
from codesign_ros.types.forms import Merge, Structure

pytest_plugins = ("support.ros",)
pytest.importorskip("av")

CODEC, COUNT, SOURCE = "h264.23", 16, "mine:5"
FILM = AccuracyRow(Merge.FOLD, Structure.S3, Structure.S3, "fp32", CODEC, 0, 0.8, unsent=0.8)


@pytest.fixture
def bundle(node_bundle, tmp_path):
    """The nodes' network, of which it is known, made up, that video loses nothing."""
    made = Bundle.open(shutil.copytree(node_bundle.path, tmp_path / "film.bundle"))
    made.replace_accuracy(replace(made.accuracy, rows=(*made.accuracy.rows, FILM)))
    return Bundle.open(made.path)


def robot_of(site, bundle):
    common = {"bundle": str(bundle.path), "profile_s": 0.05}
    return site.robot(
        camera={
            "autostart": False,
            "source": SOURCE,
            "frames": COUNT,
            "image_transport": "raw",
            "pacing": "window",
            "window": 3,
            "window_timeout_s": 120.0,
        },
        head={
            **common,
            # So slow that the server wins, however busy the machine is.
            "emulation.slowdown": 200.0,
            "image_reliability": "reliable",
            "image_transport": "raw",
            "deadline_s": 20.0,
        },
        tail=common,
        planner={
            "bundle": common["bundle"],
            "policy": "cut:0",
            "frame_codecs": [CODEC],
            "correct": False,
        },
    )


def test_every_frame_is_answered_as_in_one_process(site, bundle):
    robot = robot_of(site, bundle)
    robot.start("planner", "tail", "head", "camera")
    plan = robot.wait_for_plan("with video", lambda plan: plan.codec == CODEC)
    assert (plan.cut, plan.served_by, plan.levels) == (0, "/robot/tail", ())
    robot.observer.change_state(robot.name("camera"), "configure")
    robot.wait_for_listeners("head", "result", 2)
    robot.wait_for_listeners("camera", "ground_truth", 1)
    robot.observer.change_state(robot.name("camera"), "activate")
    robot.wait(lambda: len(robot.observer.results) >= COUNT, "all results")
    expected = evaluate(
        open_source(SOURCE, frames=COUNT),
        bundle,
        cut=0,
        head_structure=plan.head_structure,
        tail_structure=plan.tail_structure,
        codec=CODEC,
    ).predictions
    results = robot.results
    assert [result.sequence for result in results] == list(range(COUNT))
    served = [result for result in results if result.finished_by == "server"]
    assert served
    for result in results:
        assert (result.status, result.reason) == (Status.OK, "")
    for result in served:
        assert result.label == expected[result.sequence].answer.label
        score = expected[result.sequence].answer.score
        assert result.score == pytest.approx(score, abs=1e-5)
        assert result.payload_bytes == expected[result.sequence].payload_bytes
    assert robot.values("tail").get("refused", "0") == "0"
