"""Robots on a pool of servers: spread over it, moved when a server is lost or busy, else left."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from codesign_ros.planning.grid import grid
from codesign_ros.runtime.device import ONLY_SERVER, Device, Role, StageMedians
from codesign_ros.runtime.planner.placement import over_servers
from codesign_ros.runtime.planner.registry import Registry
from codesign_ros.runtime.planner.runtime import PlannerRuntime
from codesign_ros.runtime.planner.settings import PlannerSettings
from support.planner import CODECS, FRAME_CODECS, profile

SETTINGS = PlannerSettings(codecs=CODECS, frame_codecs=FRAME_CODECS)
SERVERS = ("edge1", "edge2")


class Pool:
    """A planner with robots, each of which has a tail on every server; it follows all plans.

    Args:
        bundle: the network.
        robots: how many.
        tail_s: time of the whole network on a server [s].
        link_bps: rate of each link [bit/s].
    """

    def __init__(self, bundle, robots=4, tail_s=0.04, link_bps=2e8, **settings):
        self.now_s = 0.0
        self.bundle, self.tail_s, self.link_bps = bundle, tail_s, link_bps
        self.planner = PlannerRuntime(
            bundle, {}, replace(SETTINGS, **settings), Registry(1e6), lambda: None
        )
        self.robots = [f"/miner{number}" for number in range(robots)]
        self.plans = {}
        self.changed, self.frames = Counter(), Counter()
        for robot in self.robots:
            self.planner.hear(self.head(robot), 0.0)
        for server in SERVERS:
            self.announce(server)
        self.settle()

    def head(self, robot, **fields):
        return Device(f"{robot}/head", robot=robot, role=Role.HEAD, state="active",
                      model_id=self.bundle.model_id, profile=profile(self.bundle, 0.4, "head"),
                      link_bps=self.link_bps, link_bps_error=1e5, **fields)  # fmt: skip

    def announce(self, server, state="active", robots=None):
        for robot in robots or self.robots:
            tail = Device(f"{robot}/{server}/tail", robot=robot, role=Role.TAIL, state=state,
                          model_id=self.bundle.model_id,
                          profile=profile(self.bundle, self.tail_s, "tail"))  # fmt: skip
            self.planner.hear(tail, self.now_s)

    def settle(self):
        """Make plans until none is due; return who got a new one."""
        before = Counter(self.changed)
        for _ in range(100):
            self.now_s += 0.3
            self.planner.tick(self.now_s)
            due = self.planner.due(self.now_s)
            if not due:
                return dict(self.changed - before)
            for robot, reason, optional in due:
                plan = self.planner.next_plan(robot, reason, self.now_s, optional=optional)
                if plan is not None:
                    self.planner.adopt(plan, self.now_s)
                    self.plans[robot] = plan
                    self.changed[robot] += 1
        raise AssertionError("it does not come to rest")

    def run(self, seconds, busy=()):
        """Let heads report frames, one after the other without a pause.

        Tails on ``busy`` servers take ten times what was predicted.
        """
        end_s, before_s = self.now_s + seconds, self.now_s - 1
        while self.now_s < end_s:
            passed_s, before_s = self.now_s - before_s, self.now_s
            for robot, plan in self.plans.items():
                slow = 10.0 if self.server(robot) in busy else 1.0
                times_s = plan.head_s, plan.link_s, plan.tail_s * slow
                self.frames[robot, plan.epoch] += max(1, round(passed_s / max(times_s)))
                medians = StageMedians(plan.epoch, 10 + self.frames[robot, plan.epoch], *times_s)
                self.planner.hear(self.head(robot, epoch=plan.epoch, running=medians), self.now_s)
            self.settle()
            self.now_s += 0.7

    def server(self, robot):
        assert self.plans[robot].placed_on.startswith(f"{robot}/")
        return self.plans[robot].placed_on.split("/")[2]

    @property
    def crowds(self):
        return Counter(map(self.server, self.robots))


@pytest.fixture
def pool(tiny_bundle):
    return Pool(tiny_bundle)


def test_the_server_is_what_a_tail_s_namespace_adds_to_its_robot_s():
    def server(robot, node):
        return Device(node, robot=robot, role=Role.TAIL, state="active", model_id="").server

    assert server("/miner1", "/miner1/tail") == ONLY_SERVER
    assert server("/miner1", "/miner1/edge1/tail") == "edge1"
    assert server("/mine/miner1", "/mine/miner1/edge1/tail") == "edge1"
    assert server("/", "/edge1/tail") == "edge1"


def test_robots_spread_over_the_servers_and_stay(pool):
    assert pool.crowds == {"edge1": 2, "edge2": 2}
    for robot, plan in pool.plans.items():
        assert plan.served_by == plan.placed_on
        # Two share a server.
        alone_s = pool.planner.costs.tables(
            pool.head(robot),
            pool.planner.problems.tail_of(robot),
            "measured",
            SETTINGS.axes(("one",)),
        ).tail_s[0, plan.cut, 0, 0]
        predicted_s = pool.planner.watch(robot).prediction.tail_s
        assert predicted_s == pytest.approx(2 * alone_s, rel=0.1)
    before = dict(pool.plans)
    pool.run(70.0)
    assert {r: pool.server(r) for r in pool.robots} == {
        r: before[r].placed_on.split("/")[2] for r in pool.robots
    }


def test_who_has_few_frames_is_predicted_as_if_alone(pool):
    """Two a second of 50 ms each hardly ever meet; the planner sees that and does not move them."""
    before = {robot: pool.server(robot) for robot in pool.robots}
    for beat in range(80):
        for robot, plan in pool.plans.items():
            medians = StageMedians(plan.epoch, beat, plan.head_s, plan.link_s, 0.05)
            pool.planner.hear(pool.head(robot, epoch=plan.epoch, running=medians), pool.now_s)
        pool.settle()
        pool.now_s += 0.2
    assert {robot: pool.server(robot) for robot in pool.robots} == before
    for robot in pool.robots:
        assert pool.planner.solve(robot, SETTINGS).best.prediction.tail_s < 0.06


@pytest.mark.parametrize("state", ["inactive", "finalized"])
def test_a_server_that_leaves_costs_its_robots_one_plan_and_the_others_none(pool, state):
    on_it = {robot for robot in pool.robots if pool.server(robot) == "edge1"}
    pool.announce("edge1", state)
    pool.now_s += 0.3
    # Those of the other server have less of it now, which may be reason to change or not.
    forced = {robot for robot, _, optional in pool.planner.due(pool.now_s) if not optional}
    assert forced == on_it
    for robot in on_it:
        plan = pool.planner.next_plan(robot, "lost", pool.now_s)
        pool.planner.adopt(plan, pool.now_s)
        pool.plans[robot] = plan
        assert plan.placed_on == f"{robot}/edge2/tail"
        assert f"{robot} moved from edge1 to edge2" in plan.reason
    pool.settle()
    assert pool.crowds == {"edge2": 4}
    # It comes back: as many go there as are better off, and no more.
    pool.announce("edge1")
    pool.run(60.0)
    assert pool.crowds == {"edge1": 2, "edge2": 2}
    changed = Counter(pool.changed)
    pool.run(90.0)
    assert pool.changed == changed


def test_with_all_servers_gone_robots_are_alone_and_come_back(pool):
    for server in SERVERS:
        pool.announce(server, "finalized")
    pool.settle()
    assert {plan.placed_on for plan in pool.plans.values()} == {""}
    assert not any(plan.server_available for plan in pool.plans.values())
    pool.announce("edge2")
    pool.settle()
    assert pool.crowds == {"edge2": 4}


def test_robots_leave_a_server_that_is_busy_with_something_else(pool):
    pool.run(20.0)
    assert pool.crowds == {"edge1": 2, "edge2": 2}
    pool.run(60.0, busy=("edge1",))
    assert pool.crowds["edge2"] == 4
    # While nobody is there, what was found there is what counts: nobody goes back at once.
    changed = Counter(pool.changed)
    pool.run(60.0)
    assert pool.crowds["edge2"] == 4
    assert sum((pool.changed - changed).values()) <= 4


def test_nobody_moves_for_little(tiny_bundle):
    """Where the server's part of a frame is small, an uneven spread is no reason to move."""
    pool = Pool(tiny_bundle, robots=2, tail_s=0.0004, link_bps=5e6)
    pool.announce("edge1", "finalized")
    pool.settle()
    assert pool.crowds == {"edge2": 2}
    changed = Counter(pool.changed)
    pool.announce("edge1")
    pool.run(120.0)
    assert pool.changed == changed


def test_news_of_a_server_that_a_robot_does_not_use_leave_its_plan(pool):
    robot = pool.robots[0]
    other = next(server for server in SERVERS if server != pool.server(robot))
    pool.run(5.0)
    epoch, learned = pool.plans[robot].epoch, pool.planner.watch(robot).tail_loads()
    assert learned
    pool.announce(other, "inactive", [robot])
    assert [due.optional for due in pool.planner.due(pool.now_s + 1)] == [True]
    assert pool.planner.watch(robot).plan.epoch == epoch
    assert pool.planner.watch(robot).tail_loads() == learned


def test_a_robot_that_needs_no_server_is_placed_all_the_same(tiny_bundle):
    """Probes of its link must go somewhere, and to one server alone."""
    pool = Pool(tiny_bundle, tail_s=100.0)
    assert {plan.served_by for plan in pool.plans.values()} == {""}
    assert pool.crowds == {"edge1": 2, "edge2": 2}


def test_robots_without_a_pool_are_on_the_one_that_they_have(tiny_bundle):
    pool = Pool(tiny_bundle, robots=2)
    single = replace(
        pool.planner.problems.tail_of(pool.robots[0]), node="/lone/tail", robot="/lone"
    )
    pool.planner.hear(replace(pool.head("/lone"), node="/lone/head"), pool.now_s)
    pool.planner.hear(single, pool.now_s)
    pool.settle()
    assert pool.plans["/lone"].placed_on == "/lone/tail"
    assert pool.planner.problems.shared("/lone", SETTINGS) == "nothing"
    assert pool.crowds == {"edge1": 1, "edge2": 1}


def test_a_problem_over_servers_is_those_of_each(pool):
    robot = pool.robots[0]
    one = pool.planner.problems._problems_at(robot, SETTINGS, pool.planner._maker._factors_at)
    both = grid(over_servers(one, SERVERS))
    alone = grid(one["edge1"])
    assert both.best.prediction.objective == pytest.approx(alone.best.prediction.objective)
    # Without a problem for a server nothing of it can be chosen.
    half = grid(over_servers({"edge2": one["edge2"]}, SERVERS))
    assert half.best.candidate.server == "edge2"
    assert not np.isfinite(half.evaluation.objective[:-1, ..., 0]).any()
    last = len(pool.bundle.segments)
    assert half.device_only.candidate.cut == last
