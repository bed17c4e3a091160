"""A plan with a neck over DDS: every frame gets the one answer that one process gives."""

import pytest

from codesign_ros.data.sources import open_source
from codesign_ros.evaluation.offline import evaluate
from codesign_ros.runtime.messages import Status
from support.tiny_neck import with_losses, write_tiny_neck

pytest_plugins = ("support.ros",)

CUT = 3
COUNT = 16


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "film"])
def bundle(request, node_bundle, tmp_path_factory):
    """The nodes' network with an untrained neck whose finest level loses nothing.

    Its tables know what comes after the frame before, or not.
    """
    path = tmp_path_factory.mktemp("bundles") / "neck.bundle"
    written = write_tiny_neck(path, node_bundle, CUT, CUT, film=request.param)
    return with_losses(written, CUT, (0.0, 0.1, 0.2))


@pytest.mark.parametrize("source", ["mine:5"])
def test_every_frame_is_answered_as_in_one_process(site, bundle, source):
    common = {"bundle": str(bundle.path), "profile_s": 0.05}
    robot = site.robot(
        camera={
            "autostart": False,
            "source": source,
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
            # The neck's cut alone, and nothing but the neck there.
            "policy": f"cut:{CUT}",
            "codecs": ["neck.0"],
            "frame_codecs": ["raw"],
            "correct": False,
        },
    )
    robot.start("planner", "tail", "head", "camera")
    plan = robot.wait_for_plan("with the neck", lambda plan: plan.codec == "neck.0")
    assert (plan.cut, plan.served_by, plan.has_neck) == (CUT, "/robot/tail", True)
    assert [each.level for each in plan.levels] == [0]
    assert 0 < plan.payload_bytes == plan.levels[0].payload_bytes
    robot.observer.change_state(robot.name("camera"), "configure")
    robot.wait_for_listeners("head", "result", 2)
    robot.wait_for_listeners("camera", "ground_truth", 1)
    robot.observer.change_state(robot.name("camera"), "activate")
    robot.wait(lambda: len(robot.observer.results) >= COUNT, "all results")

    results = robot.results
    assert [result.sequence for result in results] == list(range(COUNT))
    assert {(result.status, result.reason) for result in results} == {(Status.OK, "")}
    served = [result for result in results if result.finished_by == "server"]
    assert served
    frames = open_source(source, frames=COUNT)
    expected = evaluate(
        frames,
        bundle,
        cut=CUT,
        head_structure=plan.head_structure,
        tail_structure=plan.tail_structure,
        codec="neck.0",
    ).predictions
    alone = bundle.neck_tables(CUT).after is None
    saved = 0
    for result in served:
        assert result.epoch == plan.epoch
        assert result.label == expected[result.sequence].answer.label
        score = expected[result.sequence].answer.score
        assert result.score == pytest.approx(score, abs=1e-5)
        fewer = expected[result.sequence].payload_bytes - result.payload_bytes
        assert fewer == 0 if alone else fewer >= 0
        saved += fewer > 0
    # The first ones are sent before any answer has come.
    assert saved == 0 if alone else saved > 0
    # What the tail refused it counts; of all frames it saw none was.
    assert robot.values("tail").get("refused", "0") == "0"
