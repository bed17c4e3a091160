"""A plan with a neck over DDS: every frame gets the one answer that one process gives."""

import pytest

from codesign_ros.data.sources import open_source
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.runtime.messages import Status
from support.tiny_neck import with_losses, write_tiny_neck

pytest_plugins = ("support.ros",)

CUT = 3
COUNT = 16
SOURCE = "mine:5"


def necked(node_bundle, folder, **sizes):
    """The nodes' network with an untrained neck whose finest level loses nothing."""
    written = write_tiny_neck(folder / "neck.bundle", node_bundle, CUT, CUT, **sizes)
    return with_losses(written, CUT, (0.0, 0.1, 0.2))


@pytest.fixture(scope="module")
def film_bundle(node_bundle, tmp_path_factory):
    """Its tables know what comes after the frame before."""
    return necked(node_bundle, tmp_path_factory.mktemp("film"), film=True)


@pytest.fixture(scope="module", params=["alone", "film"])
def bundle(request, node_bundle, film_bundle, tmp_path_factory):
    if request.param == "film":
        return film_bundle
    return necked(node_bundle, tmp_path_factory.mktemp("alone"))


def robot_of(site, bundle, **camera):
    """Nodes whose plan is the neck's finest level, whenever there is a server."""
    common = {"bundle": str(bundle.path), "profile_s": 0.05}
    return site.robot(
        camera={
            "autostart": False,
            "source": SOURCE,
            "image_transport": "raw",
            "pacing": "window",
            "window": 3,
            "window_timeout_s": 120.0,
            **camera,
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
            # The neck's cut alone, and nothing but the neck there.
            "policy": f"cut:{CUT}",
            "codecs": ["neck.0"],
            "frame_codecs": ["raw"],
            "correct": False,
        },
    )


def start(robot):
    """Start the nodes and let frames flow; returns the plan that they begin under."""
    robot.start("planner", "tail", "head", "camera")
    plan = robot.wait_for_plan("with the neck", lambda plan: plan.codec == "neck.0")
    robot.observer.change_state(robot.name("camera"), "configure")
    robot.wait_for_listeners("head", "result", 2)
    robot.wait_for_listeners("camera", "ground_truth", 1)
    robot.observer.change_state(robot.name("camera"), "activate")
    return plan


def saved_bytes(bundle, plan, results, count):
    """Bytes that each frame which the server answered has fewer than one that stands alone.

    Its answer must be the one that one process gives.
    """
    expected = evaluate(
        open_source(SOURCE, frames=count),
        bundle,
        cut=CUT,
        head_structure=plan.head_structure,
        tail_structure=plan.tail_structure,
        codec="neck.0",
    ).predictions
    assert [result.sequence for result in results] == list(range(count))
    assert {(result.status, result.reason) for result in results} == {(Status.OK, "")}
    saved = []
    for result in results:
        if result.finished_by != "server":
            continue
        assert result.label == expected[result.sequence].answer.label
        score = expected[result.sequence].answer.score
        assert result.score == pytest.approx(score, abs=1e-5)
        saved.append(expected[result.sequence].payload_bytes - result.payload_bytes)
    return saved


def test_every_frame_is_answered_as_in_one_process(site, bundle):
    robot = robot_of(site, bundle, frames=COUNT)
    plan = start(robot)
    assert (plan.cut, plan.served_by, plan.has_neck) == (CUT, "/robot/tail", True)
    assert [each.level for each in plan.levels] == [0]
    assert 0 < plan.payload_bytes == plan.levels[0].payload_bytes
    robot.wait(lambda: len(robot.observer.results) >= COUNT, "all results")
    results = robot.results
    saved = saved_bytes(bundle, plan, results, COUNT)
    assert saved
    assert {each.epoch for each in results if each.finished_by == "server"} == {plan.epoch}
    if bundle.neck_tables(CUT).after is None:
        assert {*saved} == {0}
    else:  # the first ones are sent before any answer has come
        assert min(saved) >= 0 < max(saved)
    # What the tail refused it counts; of all frames it saw none was.
    assert robot.values("tail").get("refused", "0") == "0"


def test_a_tail_that_is_killed_knows_no_film_when_it_comes_back(site, film_bundle):
    count = 60
    robot = robot_of(site, film_bundle, frames=count)
    first = start(robot)
    robot.wait(lambda: len(robot.observer.results) >= 10, "ten results")
    robot.kill("tail")
    robot.wait_for_plan("without the server", lambda plan: not plan.server_available)
    robot.start("tail")
    again = robot.wait_for_plan("with the neck again", lambda plan: plan.codec == "neck.0")
    robot.wait(lambda: len(robot.observer.results) >= count, "all results")
    results = robot.results
    assert max(saved_bytes(film_bundle, first, results, count)) > 0
    assert again.epoch in {each.epoch for each in results if each.finished_by == "server"}
