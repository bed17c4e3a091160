"""Clocks that stand still: `use_sim_time` where nobody publishes /clock."""

import pytest

from codesign_ros.runtime.messages import Status

pytest_plugins = ("support.ros",)

NODES = ("planner", "tail", "head", "camera")
FRAMES = 12


@pytest.mark.parametrize("pacing", ["window", "rate"])
def test_without_a_clock_frames_are_answered_and_nobody_vanishes(
    site, node_bundle, picture_folder, pacing
):
    still = {"use_sim_time": True}
    common = {"bundle": str(node_bundle.path), "profile_s": 0.05, **still}
    robot = site.robot(
        camera={
            "source": str(picture_folder), "autostart": False, "pacing": pacing, "window": 2,
            "window_timeout_s": 120.0, "rate_hz": 2.0, **still,
        },
        head={
            **common, "emulation.slowdown": 200.0, "image_reliability": "reliable",
            "deadline_s": 20.0, "queue_depth": 100,
        },
        tail=common,
        planner={
            "bundle": common["bundle"], "codecs": ["raw"], "frame_codecs": ["raw"],
            "correct": False, "silence_limit_s": 2.0, **still,
        },
    )  # fmt: skip
    robot.start(*NODES)
    robot.wait_for_plan("with the server", lambda plan: plan.served_by == "/robot/tail")
    robot.observer.change_state(robot.name("camera"), "configure")
    # The observer, and the camera where results pace it.
    robot.wait_for_listeners("head", "result", 2 if pacing == "window" else 1)
    robot.observer.change_state(robot.name("camera"), "activate")
    robot.wait(lambda: len(robot.results) >= FRAMES, "all results")
    results = robot.results
    assert [result.sequence for result in results] == list(range(FRAMES))
    assert {(result.status, result.reason) for result in results} == {(Status.OK, "")}
    # No two frames have one stamp, by which results and ground truth are matched.
    assert len({result.stamp.stamp_ns for result in results}) == FRAMES
    assert results[-1].finished_by == "server"
    # Signs of life go on: the planner has lost nobody since.
    robot.observer.diagnostics.clear()
    robot.wait(lambda: len(robot.observer.diagnostics) == len(NODES), "each node's diagnostics")
    assert robot.values("planner")["device /robot/tail"] == "active"
    assert robot.values("planner")["device /robot/head"] == "active"
    assert [plan.served_by for plan in robot.plans][-1] == "/robot/tail"
