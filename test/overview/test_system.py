"""What was heard becomes rates, drops by reason, predicted against measured, and waits."""

import json

import pytest

from codesign_ros.overview.counts import CountHistory
from codesign_ros.overview.system import System
from codesign_ros.runtime.device import Device, Heartbeat, Role, StageMedians
from codesign_ros.runtime.messages import Result, Stamp, Status
from codesign_ros.runtime.news import Level, News, NodeStatus
from codesign_ros.types.plan import Plan

HEAD = {"epoch": 3, "frames": 0, "server": 0, "robot": 0, "fallback": 0, "dropped": 0,
        "in_flight": 0}  # fmt: skip


class Watched:
    """A system that hears what a test says, a second apart where it is told so."""

    def __init__(self):
        self.system = System()
        self.now_s = 100.0

    def hear(self, what, topic="/x"):
        self.system.hear(News(self.now_s, 0, int(self.now_s * 1e9), topic, what))

    def status(self, node, message="active", level=Level.OK, **values):
        texts = {key: str(value) for key, value in values.items()}
        self.hear(NodeStatus(node, level, message, texts))

    def later(self, seconds=1.0):
        self.now_s += seconds

    def look(self):
        return self.system.snapshot(self.now_s, 95.0, "7")

    def waits(self, node):
        (state,) = [each for each in self.look().nodes if each.node == node]
        return state.waits_for


@pytest.fixture
def watched():
    return Watched()


def test_counts_become_rates():
    history = CountHistory()
    assert (history.rate("frames"), history.spans) == (None, False)
    history.add(1.0, {"frames": "10", "source": "mine"})
    history.add(3.0, {"frames": "30"})
    assert (history.rate("frames"), history.last("frames")) == (10.0, 30)
    assert history.last("source") is None
    history.add(4.0, {"frames": "2"})  # the node was restarted
    assert (history.rate("frames"), history.last("frames")) == (None, 2)


def test_counts_of_two_nodes_of_one_name_give_no_rate():
    history = CountHistory()
    for told_s in range(6):
        session, frames = ("one", 10 * told_s), ("two", 1000 + told_s)
        for name, count in (session, frames):
            history.add(told_s, {"session": name, "frames": str(count)})
            assert history.rate("frames") is None
    history.add(7.0, {"session": "two", "frames": "1009"})
    assert history.rate("frames") == 2.0  # the other has ended


def test_a_clock_that_steps_back_gives_no_rate():
    history = CountHistory()
    history.add(1000.0, {"frames": "10"})
    history.add(10.0, {"frames": "20"})
    assert history.rate("frames") is None


def test_the_frames_of_a_robot(watched):
    watched.status("/r/head", **HEAD)
    watched.later(2.0)
    watched.status(
        "/r/head", **{**HEAD, "frames": 20, "server": 10, "fallback": 4, "dropped": 3,
                      "in_flight": 3}
    )  # fmt: skip
    (robot,) = watched.look().robots
    assert (robot.frames_per_s, robot.results_per_s) == (10.0, 7.0)
    assert robot.finished_by == {"server": 10, "robot": 0, "fallback": 4, "dropped": 3}
    assert (robot.in_flight, robot.unaccounted) == (3, 0)


def test_a_frame_that_vanished_shows(watched):
    watched.status("/r/head", **{**HEAD, "frames": 5, "robot": 3, "in_flight": 1})
    assert watched.look().robots[0].unaccounted == 1


def test_predicted_against_measured_is_of_one_plan(watched):
    watched.hear(Plan(cut=2, epoch=3, robot="/r", served_by="/r/tail", head_s=0.1, link_s=0.02))
    running = StageMedians(epoch=3, frames=5, head_s=0.2)
    watched.hear(Heartbeat("/r/head", epoch=3, running=running, link_bps=1e6))
    (robot,) = watched.look().robots
    assert robot.predicted_s == pytest.approx(0.12)
    assert (robot.measured_s, robot.link_bps, robot.served_by) == (0.2, 1e6, "/r/tail")
    # The next plan is announced, the head still follows the one before.
    watched.hear(Plan(cut=0, epoch=4, robot="/r", head_s=9.0))
    assert watched.look().robots[0].cut == 2
    watched.hear(Heartbeat("/r/head", epoch=4, running=running))
    (robot,) = watched.look().robots
    assert (robot.cut, robot.predicted_s, robot.measured_s) == (0, 9.0, None)


def test_drops_by_reason(watched):
    drops = {"dropped_busy": 2, "dropped_not_finite": 1, "dropped_closed": 0}
    watched.status("/r/head", **{**HEAD, "dropped": 3}, **drops)
    watched.hear(Result(Stamp(1), 1, 1, status=Status.DROPPED, reason="one more"), "/r/result")
    watched.hear(Result(Stamp(1), 1, 1, response_s=0.25), "/r/result")
    (robot,) = watched.look().robots
    assert robot.drops == {"busy": 2, "not finite": 1}
    assert sum(robot.drops.values()) == robot.finished_by["dropped"]
    assert robot.response_s == 0.25


def test_a_server(watched):
    watched.status("/r/tail", embeddings=0, answers=0)
    watched.later()
    watched.status("/r/tail", embeddings=8, answers=7, refused=1, **{"refused.busy": 1})
    watched.hear(Heartbeat("/r/tail", epoch=3, throttled="GPU at 300 of 900 MHz"))
    (server,) = watched.look().servers
    assert (server.embeddings_per_s, server.answers_per_s, server.epoch) == (8.0, 7.0, 3)
    assert (server.refusals, server.throttled) == ({"busy": 1}, "GPU at 300 of 900 MHz")


def test_what_we_wait_for_ourselves(watched):
    assert "any node: in domain 7 nothing was heard for 5 s" in watched.look().waits_for
    watched.system.find(["/r/head"])
    assert "nothing they send arrives" in watched.look().waits_for
    watched.status("/r/head", **HEAD)
    assert watched.look().waits_for == "a camera, a tail, a planner"
    for node in ("/r/camera", "/r/tail", "/codesign/planner"):
        watched.status(node)
    assert watched.look().waits_for == ""


def test_a_silent_node_and_one_that_is_forgotten(watched):
    watched.status("/r/head", **HEAD)
    watched.later(10.0)
    assert "nothing was heard for 10 s" in watched.waits("/r/head")
    watched.later(100.0)
    assert watched.look().nodes == ()


def test_a_node_that_is_found_and_never_heard(watched):
    watched.system.find(["/r/tail"])
    assert "nothing it sends arrives" in watched.waits("/r/tail")


@pytest.mark.parametrize(
    ("message", "waits"),
    [
        ("unconfigured", "transition configure"),
        ("inactive", "transition activate"),
        ("unconfigured: no bundle", "transition configure; the last failed: no bundle"),
    ],
)
def test_a_node_that_is_not_active(watched, message, waits):
    watched.status("/r/head", message)
    assert watched.waits("/r/head") == waits


def test_a_node_that_is_about_to_be_active(watched):
    watched.status("/r/head", "unconfigured", **{"on the way to": "inactive"})
    assert watched.waits("/r/head") == "itself: it is on the way to inactive"


@pytest.mark.parametrize(
    ("node", "values", "waits"),
    [
        ("/r/camera", {"frames": 5, "finished": True}, "nothing more"),
        ("/r/camera", {"frames": 5, "listeners image_raw": 0}, "somebody who takes its frames"),
        ("/r/camera", {"frames": 5, "listeners image_raw": 1, "unanswered": 3}, "results of 3"),
        ("/r/camera", {"frames": 5, "listeners image_raw": 1, "unanswered": 0}, "its source"),
        ("/r/head", HEAD, "frames"),
        ("/r/head", {**HEAD, "in_flight": 2}, "the answers of 2 frames"),
        ("/r/head", {**HEAD, "building": "cut 3 fp16"}, "an engine: cut 3 fp16"),
        ("/r/tail", {"embeddings": 4}, "a plan"),
        ("/codesign/planner", {"solved": 0, "device /r/tail": "active"}, "announcement of a head"),
        ("/codesign/planner", {"device /r/head": "active", "building /r": "cut 3"}, "engines: cut"),
    ],
)
def test_what_nodes_wait_for(watched, node, values, waits):
    watched.status(node, **values)
    watched.later()
    watched.status(node, **values)
    assert waits in watched.waits(node)


def test_a_tail_that_no_plan_uses(watched):
    watched.status("/r/tail", embeddings=4)
    watched.hear(Plan(cut=9, epoch=3, robot="/r"))
    assert watched.waits("/r/tail") == "a plan that uses it: epoch 3 keeps all on the robot"
    watched.hear(Plan(cut=2, epoch=4, robot="/r", served_by="/r/tail"))
    assert watched.waits("/r/tail") == ""
    watched.later()
    watched.status("/r/tail", embeddings=4)
    assert watched.waits("/r/tail") == "embeddings"


def test_a_tail_of_one_of_several_servers(watched):
    tails = [f"/r/edge{number}/tail" for number in (1, 2)]
    for tail in tails:
        watched.hear(Device(tail, robot="/r", role=Role.TAIL, state="active", model_id=""))
        watched.status(tail, embeddings=4)
    watched.hear(Plan(cut=2, epoch=4, robot="/r", served_by=tails[1], placed_on=tails[1]))
    assert watched.waits(tails[0]) == f"a plan that uses it: epoch 4 is served by {tails[1]}"
    assert watched.waits(tails[1]) == ""


def test_a_head_that_is_on_its_own(watched):
    message = "the robot computes alone: nobody listens to the embeddings"
    watched.status("/r/head", message, Level.WARN, **HEAD)
    assert watched.look().robots[0].alone == "nobody listens to the embeddings"
    assert watched.waits("/r/head") == "the server: nobody listens to the embeddings"


def test_a_working_system_waits_for_nothing(watched):
    for frames in (0, 10):
        watched.status("/r/head", **{**HEAD, "frames": frames, "robot": frames})
        watched.status("/r/camera", frames=frames)
        watched.status("/codesign/planner", **{"device /r/head": "active"})
        watched.later()
    assert {node.waits_for for node in watched.look().nodes} == {""}


def test_json_has_no_infinity(watched):
    watched.status("/r/head", **HEAD)
    watched.hear(Result(Stamp(1), 1, 1, response_s=float("nan")), "/r/result")
    content = json.loads(json.dumps(watched.look().content(), allow_nan=False))
    assert content["robots"][0]["response_s"] is None
