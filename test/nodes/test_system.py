"""All four nodes as processes: every frame gets exactly one answer, whatever happens to others."""

import signal

import pytest

from codesign_ros.data.sources import open_source
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.runtime.messages import Status

pytest_plugins = ("support.ros",)

NODES = ("planner", "tail", "head", "camera")


@pytest.fixture
def start(site, node_bundle):
    """Start a system in which the server wins: the robot is emulated to be slow."""

    def start(**camera):
        common = {"bundle": str(node_bundle.path), "profile_s": 0.05}
        robot = site.robot(
            camera={
                "autostart": False,
                "pacing": "window",
                "window": 3,
                # Frames that the slow robot finishes alone take long; the window waits for them.
                "window_timeout_s": 120.0,
                **camera,
            },
            head={
                **common,
                # So slow that the server wins even when a busy machine delays what goes to and fro.
                "emulation.slowdown": 200.0,
                "image_reliability": "reliable",
                "image_transport": camera.get("image_transport", "compressed"),
                # The machine may be busy: answers that are late are the subject of other tests.
                "deadline_s": 20.0,
            },
            tail=common,
            planner={
                "bundle": common["bundle"],
                "codecs": ["raw"],
                "frame_codecs": ["raw"],
                # Likewise: plans that change because it is busy.
                "correct": False,
            },
        )
        robot.start(*NODES)
        robot.wait_for_plan("with the server", lambda plan: plan.served_by == "/robot/tail")
        robot.observer.change_state(robot.name("camera"), "configure")
        robot.wait_for_listeners("head", "result", 2)  # the camera and the observer
        robot.wait_for_listeners("camera", "ground_truth", 1)
        robot.observer.change_state(robot.name("camera"), "activate")
        return robot

    return start


def wait_for_more(robot, frames=5):
    """Wait until so many more results are there."""
    enough = len(robot.observer.results) + frames
    robot.wait(lambda: len(robot.observer.results) >= enough, f"{frames} more results")


def wait_for_server(robot, frames=5):
    """Wait until the server was first with so many results in a row.

    After a return from a server that was silent the robot computes frames, too, for some seconds.
    """

    def is_relied_on():
        newest = robot.results[-frames:]
        return len(newest) == frames and {r.finished_by for r in newest} == {"server"}

    robot.wait(is_relied_on, f"{frames} results in a row by the server")


def end_of_stream(robot):
    """Stop the camera, wait for the last result, check the order, and return all results."""
    robot.observer.change_state(robot.name("camera"), "deactivate")
    robot.wait_for_state("camera", "inactive")
    sent = int(robot.values("camera")["frames"])
    robot.wait(lambda: len(robot.observer.results) >= sent, f"the results of {sent} frames")
    results = robot.results
    check_one_each(results, sent)
    return results


def check_one_each(results, sent):
    assert [result.sequence for result in results] == list(range(sent))
    stamps = [result.stamp.stamp_ns for result in results]
    assert stamps == sorted(set(stamps))
    assert {(result.status, result.reason) for result in results} == {(Status.OK, "")}
    epochs = [result.epoch for result in results]
    assert epochs == sorted(epochs)
    assert all(result.response_s > 0 for result in results)


@pytest.mark.parametrize("source", ["pictures", "mine"])
def test_results_are_those_of_one_process(start, node_bundle, picture_folder, source):
    if source == "pictures":
        camera = {"source": str(picture_folder)}
    else:
        camera = {"source": "mine:5", "frames": 8, "image_transport": "raw"}
    robot = start(**camera)
    frames = open_source(camera["source"], frames=camera.get("frames", 0))
    robot.wait(lambda: len(robot.observer.results) >= frames.frames, "all results")
    robot.wait(lambda: robot.values("camera").get("finished") == "True", "the camera's end")
    assert int(robot.values("camera")["frames"]) == frames.frames
    check_one_each(robot.results, frames.frames)

    expected = evaluate(frames, node_bundle).predictions
    assert [result.label for result in robot.results] == [p.answer.label for p in expected]
    scores = [result.score for result in robot.results]
    assert scores == pytest.approx([p.answer.score for p in expected], abs=1e-5)
    if source == "pictures":
        assert len({p.answer.label for p in expected}) > 1  # or equal labels would say little
    else:
        robot.wait(lambda: len(robot.observer.truths) >= frames.frames, "all ground truth")
        assert robot.observer.truths.keys() == {r.stamp.stamp_ns for r in robot.results}
    assert "server" in {result.finished_by for result in robot.results}


def test_server_that_deactivates_and_comes_back(start, picture_folder):
    robot = start(source=str(picture_folder), loop=True)
    wait_for_more(robot)

    robot.observer.change_state("/robot/tail", "deactivate")
    plan = robot.wait_for_plan("without the server", lambda plan: not plan.server_available)
    assert plan.served_by == ""
    assert "tail /robot/tail went from active to inactive" in plan.reason
    wait_for_more(robot)

    robot.observer.change_state("/robot/tail", "activate")
    back = robot.wait_for_plan("with the server", lambda plan: plan.served_by == "/robot/tail")
    assert "tail /robot/tail went from inactive to active" in back.reason
    assert back.epoch > plan.epoch
    wait_for_more(robot)

    results = end_of_stream(robot)
    assert {r.finished_by for r in results if r.epoch == plan.epoch} == {"robot"}
    assert results[-1].finished_by == "server"
    assert results[-1].epoch >= back.epoch


def test_server_that_is_stopped_says_goodbye(start, picture_folder):
    robot = start(source=str(picture_folder), loop=True)
    wait_for_more(robot)
    robot.processes.send("tail", signal.SIGINT)  # waits for its end
    robot.wait_for_plan("without the server", lambda plan: not plan.server_available)
    assert "/robot/tail is being stopped" in robot.processes.log("head").read_text()
    wait_for_more(robot, 2)
    robot.start("tail")
    robot.wait_for_plan("with the server", lambda plan: plan.served_by == "/robot/tail")
    wait_for_more(robot)
    assert end_of_stream(robot)[-1].finished_by == "server"


def test_server_that_is_killed_and_restarted(start, node_bundle, picture_folder):
    robot = start(source=str(picture_folder), loop=True)
    wait_for_more(robot)

    robot.kill("tail")
    plan = robot.wait_for_plan("without the server", lambda plan: not plan.server_available)
    assert plan.cut == len(node_bundle.segments)
    assert "tail /robot/tail left (lost)" in plan.reason
    wait_for_more(robot)
    # In ROS's log, as all that a node says, in its own name and as a warning.
    lines = robot.processes.log("head").read_text().splitlines()
    assert any("[WARN]" in line and "[robot.head]: the robot computes" in line for line in lines)

    robot.start("tail")
    robot.wait_for_plan("with the server", lambda plan: plan.served_by == "/robot/tail")
    wait_for_server(robot)
    assert end_of_stream(robot)[-1].finished_by == "server"


def test_server_that_is_out_of_reach_for_a_while(start, picture_folder):
    robot = start(source=str(picture_folder), loop=True)
    wait_for_more(robot)

    with robot.frozen("tail"):
        plan = robot.wait_for_plan("without the server", lambda plan: not plan.server_available)
        assert "tail /robot/tail left (lost)" in plan.reason
        wait_for_more(robot)

    robot.wait_for_plan("with the server", lambda plan: plan.served_by == "/robot/tail")
    wait_for_server(robot)
    assert end_of_stream(robot)[-1].finished_by == "server"


def test_planner_that_is_killed_and_restarted(start, picture_folder):
    robot = start(source=str(picture_folder), loop=True)
    wait_for_more(robot)

    robot.kill("planner")
    wait_for_more(robot, 10)
    last = robot.results[-1]
    assert last.finished_by == "server"

    robot.start("planner")
    after = robot.wait_for_plan(
        "with the server and a higher epoch",
        lambda plan: plan.epoch > last.epoch and plan.served_by == "/robot/tail",
    )
    robot.wait(lambda: robot.results[-1].epoch >= after.epoch, "a result of the new epoch")
    end_of_stream(robot)


def test_the_planner_compares_its_prediction_with_what_frames_take(start, picture_folder):
    robot = start(source=str(picture_folder), loop=True)
    measured = "latency measured ms /robot"
    robot.wait(lambda: measured in robot.values("planner"), "a measured latency")
    values = robot.values("planner")
    # Both figures are shown, and the error between them is of these two.
    predicted_ms = float(values["latency predicted ms /robot"])
    error = 100 * (predicted_ms / float(values[measured]) - 1)
    assert float(values["error % /robot"]) == pytest.approx(error, abs=0.5)
    for stage in ("head", "tail"):
        assert 0.25 <= float(values[f"correction {stage} /robot"]) <= 20.0
    # They are those of single frames: head, link and tail, but no waiting.
    last = [r for r in robot.results if r.epoch == robot.results[-1].epoch]
    assert float(values[measured]) / 1e3 <= max(r.response_s for r in last)
    end_of_stream(robot)


def test_interrupt_in_mid_stream(start, picture_folder):
    robot = start(source=str(picture_folder), loop=True)
    wait_for_more(robot)
    robot.stop()  # checks status, time and output of every node
