"""A planner that hears what its plans really take: one more plan for a load, none for noise."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codesign_ros.planning.objective import Objective
from codesign_ros.planning.problem import Candidate
from codesign_ros.runtime.device import Device, Role, StageMedians
from codesign_ros.runtime.planner.learned.correction import HALF_LIFE_S
from codesign_ros.runtime.planner.registry import Registry
from codesign_ros.runtime.planner.runtime import PlannerRuntime
from codesign_ros.runtime.planner.settings import PlannerSettings
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import HalfForm
from codesign_ros.types.plan import Plan
from support.planner import CODECS, ROBOT, beat_of, profile

BEAT_S = 0.5
RATE_BPS = 2e7
DEBOUNCE_S = 0.2


class World:
    """A planner with a head and a tail whose true times are the profile's times a load.

    ``load`` and ``own`` (by cut) are factors of the head, ``tail_load`` of the tail. As
    profiled, cuts 0 to 5 take 46 to 50 ms, the whole robot 62 ms.
    """

    def __init__(self, bundle, **changes):
        self.bundle = bundle
        self.planner = PlannerRuntime(
            bundle,
            {"box": DeviceSpec("box", {"fp32": 1e12}, 1e11)},
            PlannerSettings(codecs=CODECS, frame_codecs=("raw",), debounce_s=DEBOUNCE_S, **changes),
            Registry(silence_limit_s=10.0),
            lambda: None,
        )
        common = {"robot": ROBOT, "state": "active", "model_id": bundle.model_id}
        self.head = Device(
            node="/robot/head", role=Role.HEAD, profile=profile(bundle, 0.06, "head"),
            link_bps=RATE_BPS, **common,
        )  # fmt: skip
        self.tail = Device(
            node="/robot/tail", role=Role.TAIL, profile=profile(bundle, 0.04, "tail"), **common
        )
        self.load = self.tail_load = 1.0
        self.head_gap_s = 0.0
        # By its processor's time, of the model's; None = it has more than a core.
        self.busy = None
        self.own = {}
        self.plans: list[Plan] = []
        self.reasons: list[str] = []
        self.now_s = 0.0
        self.frames = 0

    @property
    def plan(self):
        return self.planner.plans[ROBOT]

    def announce(self, *devices):
        for device in devices or (self.head, self.tail):
            self.planner.hear(device, self.now_s)
        self.lead()

    def lead(self):
        self.now_s += DEBOUNCE_S
        for robot, reason, optional in self.planner.due(self.now_s):
            self.reasons.append(reason)
            plan = self.planner.next_plan(robot, reason, self.now_s, optional=optional)
            if plan is not None:
                self.plans.append(plan)
                self.planner.adopt(plan, self.now_s)
                self.frames = 0

    def times(self, plan):
        """What the profile says of a plan."""
        head, tail = self.head.profile, self.tail.profile
        if not plan.served_by:
            return head.half_s[HalfForm(plan.cut, plan.head_structure)], 0.0, 0.0
        key = plan.cut, plan.codec
        return (
            head.half_s[HalfForm(plan.cut, plan.head_structure)] + head.codec_s[key],
            8 * head.codec_bytes[key] / self.head.link_bps,
            tail.half_s[HalfForm(plan.cut, plan.tail_structure)] + tail.codec_s[key],
        )

    def beat(self, count=1, noise=lambda: 1.0):
        for _ in range(count):
            head_s, link_s, tail_s = self.times(self.plan)
            self.frames += 5
            running = StageMedians(
                self.plan.epoch,
                self.frames,
                head_s * self.load * self.own.get(self.plan.cut, 1.0) * noise(),
                link_s,
                tail_s * self.tail_load * noise(),
                self.head_gap_s,
                head_busy_s=head_s * self.busy if self.busy else 0.0,
            )
            beat = replace(beat_of(self.head), running=running)
            self.planner.heartbeat(beat, self.now_s)
            self.planner.heartbeat(beat_of(self.tail), self.now_s)
            self.now_s += BEAT_S - DEBOUNCE_S
            self.lead()

    @property
    def watch(self):
        return self.planner.watch(ROBOT)

    @property
    def factors(self):
        return self.watch.factors(self.planner.settings.objective)


@pytest.fixture
def world(tiny_bundle):
    world = World(tiny_bundle)
    world.announce()
    return world


def test_times_as_predicted_make_no_news(world):
    world.beat(10)
    assert len(world.plans) == len(world.reasons) == 1
    assert world.watch.prediction.latency_s == pytest.approx(world.plan.latency_s)
    assert world.watch.measured.latency_s == pytest.approx(world.plan.latency_s)
    np.testing.assert_allclose(world.factors.head, 1.0)


def test_a_loaded_server_is_planned_with_and_what_it_takes_is_predicted(world, tiny_bundle):
    assert world.plan.served_by
    world.tail_load = 6.0
    world.beat(10)
    assert world.reasons[1] == "tail time 1.00 -> 6.00 of the model's"
    assert len(world.plans) == 2
    # The tail's times with the load, at whatever cut is best then.
    head_s, link_s, tail_s = world.times(world.plan)
    assert world.watch.prediction.latency_s == pytest.approx(head_s + link_s + 6 * tail_s, rel=0.03)
    assert world.watch.measured.latency_s == pytest.approx(head_s + link_s + 6 * tail_s)
    # It is the best under that load, by an exhaustive look at what the devices announced.
    slow = replace(
        world.tail,
        profile=replace(
            world.tail.profile,
            half_s={k: 6 * v for k, v in world.tail.profile.half_s.items()},
            codec_s={k: 6 * v for k, v in world.tail.profile.codec_s.items()},
        ),
    )
    other = World(tiny_bundle)
    other.tail = slow
    other.announce()
    assert (world.plan.cut, world.plan.codec) == (other.plan.cut, other.plan.codec)
    assert world.watch.prediction.latency_s == pytest.approx(other.plan.latency_s, rel=0.03)


def test_a_server_that_is_now_fast_and_now_slow_is_planned_with_as_it_is_in_the_mean(world):
    slow = 1.4
    for beat in range(240):
        world.tail_load = slow if beat // 12 % 2 else 1.0
        world.beat()
        if beat >= 120:
            assert world.factors.tail[world.plan.cut] == pytest.approx(math.sqrt(slow), rel=0.05)
    assert len(world.plans) <= 2
    # What a plan says of itself holds for the frames that come first: the server is slow now.
    asked = world.planner.next_plan(ROBOT, "asked", world.now_s)
    assert asked.served_by
    assert asked.tail_s == pytest.approx(slow * world.times(asked)[2], rel=0.05)
    world.planner.adopt(asked, world.now_s)
    lasting_s = math.sqrt(slow) * world.times(asked)[2]
    assert world.watch.prediction.tail_s == pytest.approx(lasting_s, rel=0.05)


def test_noise_makes_no_plan_a_load_one_and_its_end_one_more(world):
    rng = random.Random(3)
    noise = lambda: rng.uniform(0.9, 1.1)  # noqa: E731
    world.beat(150, noise)
    assert len(world.plans) == 1
    world.load = 3.0
    world.beat(40, noise)
    assert world.factors.head[world.plan.cut] == pytest.approx(3.0, rel=0.1)
    loaded = len(world.plans)
    assert loaded <= 2
    world.load = 1.0
    world.beat(150, noise)
    assert world.factors.head[world.plan.cut] == pytest.approx(1.0, rel=0.1)
    assert len(world.plans) <= loaded + 1


@settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(load=st.sampled_from([1.0, 2.0, 5.0]), own=st.floats(0.6, 2.5), seed=st.integers(0, 9))
def test_a_constant_world_is_understood_after_few_plans(tiny_bundle, load, own, seed):
    """Whatever one cut's profile is wrong by, and the load beside: the plans come to rest."""
    world = World(tiny_bundle)
    world.announce()
    rng = random.Random(seed)
    noise = lambda: rng.uniform(0.95, 1.05)  # noqa: E731
    world.own = {world.plan.cut: own}
    world.load = load
    world.beat(60, noise)
    settled = len(world.plans)
    assert settled <= 5
    world.beat(240, noise)
    assert len(world.plans) <= settled + 1
    assert world.watch.prediction.latency_s == pytest.approx(
        world.watch.measured.latency_s, rel=0.4
    )


def test_a_cut_whose_profile_is_too_good_is_left_once(tiny_bundle):
    world = World(tiny_bundle)
    world.announce(world.head)
    world.beat(6)  # alone at first: the load is known, there is none
    world.own = {2: 3.0}
    world.announce(world.tail)
    assert world.plan.cut == 2
    world.beat(80)
    assert 3 <= len(world.plans) <= 5
    assert world.plan.cut not in (2, len(tiny_bundle.segments))
    assert [plan.cut for plan in world.plans].count(2) == 1
    assert world.factors.head[world.plan.cut] == pytest.approx(1.0, abs=0.01)


def test_a_server_that_was_left_for_its_load_is_tried_again(world, tiny_bundle):
    last = len(tiny_bundle.segments)
    world.tail_load = 15.0
    world.beat(10)
    assert world.plan.cut == last
    away = len(world.plans)
    world.tail_load = 1.0
    world.beat(int(4 * HALF_LIFE_S / BEAT_S))
    assert world.plan.served_by
    assert len(world.plans) > away
    assert world.watch.measured.latency_s == pytest.approx(world.plans[0].latency_s, rel=0.1)


def test_a_device_that_starts_anew_is_as_it_says(world):
    world.tail_load = 6.0
    world.beat(10)
    assert world.factors.tail[0] > 4
    world.planner.hear(replace(world.tail, state="inactive"), world.now_s)
    np.testing.assert_array_equal(world.factors.tail, 1.0)
    assert world.watch.prediction is None


HOT = "GPU at 420 of 1020 MHz, 86 °C"


def throttle(world, node, why):
    """Let a device say with its next heartbeats why it is slow; empty = it is not."""
    setattr(world, node, replace(getattr(world, node), throttled=why))


@pytest.mark.parametrize(("node", "load"), [("head", 2.0), ("tail", 1.15)])
def test_throttling_is_learned_as_it_is_measured_and_then_forgotten(world, node, load):
    # Other work on the device before, which stays.
    setattr(world, "load" if node == "head" else "tail_load", load)
    world.beat(10)
    before = getattr(world.factors, node).copy()
    assert before[world.plan.cut] == pytest.approx(load, rel=0.05)
    plans = len(world.plans)

    setattr(world, "load" if node == "head" else "tail_load", 8.0)
    throttle(world, node, HOT)
    world.beat(1)
    assert world.reasons[-1].endswith(f"{node} /robot/{node} is throttled: {HOT}")
    assert len(world.plans) == plans + 1  # no option
    throttle(world, node, "GPU at 300 of 1020 MHz, 90 °C")
    world.beat(20)
    assert getattr(world.factors, node)[0] > 4  # of a tail that was left: it fades
    assert sum("is throttled" in reason for reason in world.reasons) == 1

    setattr(world, "load" if node == "head" else "tail_load", load)
    throttle(world, node, "")
    world.beat(1)
    assert f"{node} /robot/{node} is not throttled any more" in world.reasons[-1]
    # One report came between the load and the word of it.
    np.testing.assert_allclose(getattr(world.factors, node), before, rtol=0.1)
    world.beat(10)
    assert getattr(world.factors, node)[world.plan.cut] == pytest.approx(load, rel=0.1)
    assert "not throttled any more" in world.reasons[-1]
    assert bool(world.plan.served_by) == bool(world.plans[plans - 1].served_by)


def test_medians_from_before_the_end_of_throttling_are_not_learned(world):
    throttle(world, "head", HOT)
    world.load = 8.0
    world.beat(10)
    epoch = world.plan.epoch
    # It cools down, but what the head reports is of frames from before.
    throttle(world, "head", "")
    running = StageMedians(epoch, world.frames, 9.0, 9.0, 9.0)
    for more in range(5, 14):
        told = replace(running, frames=running.frames + more)
        world.planner.heartbeat(replace(beat_of(world.head), running=told), world.now_s)
    np.testing.assert_allclose(world.factors.head, 1.0)


def test_a_device_that_is_throttled_from_the_start_is_as_profiled_afterwards(tiny_bundle):
    world = World(tiny_bundle)
    throttle(world, "tail", HOT)
    world.announce()
    world.tail_load = 6.0
    world.beat(10)
    assert world.factors.tail[world.plan.cut] > 4
    world.tail_load = 1.0
    throttle(world, "tail", "")
    world.beat(1)
    np.testing.assert_allclose(world.factors.tail, 1.0, rtol=0.01)


def test_another_power_mode_is_learned_anew(world):
    throttle(world, "head", HOT)
    world.load = 8.0
    world.beat(10)
    for mode in ("15W", "30W"):
        world.head = replace(world.head, power_mode=mode)
        news = world.planner.hear(world.head, world.now_s)
    assert news == "head /robot/head changed its power mode from 15W to 30W"
    np.testing.assert_array_equal(world.factors.head, 1.0)
    throttle(world, "head", "")
    world.planner.heartbeat(beat_of(world.head), world.now_s)
    np.testing.assert_array_equal(world.factors.head, 1.0)


def test_a_cut_that_was_timed_anew_forgets_its_own_error_and_keeps_the_load(tiny_bundle):
    world = World(tiny_bundle)
    # Only cut 2 is built beside the whole network.
    world.head = replace(world.head, engines={HalfForm(2): True})
    world.announce(world.head)
    world.load = 1.2
    world.beat(10)
    world.own = {2: 2.0}
    world.announce(replace(world.tail, engines=world.head.engines))
    world.beat(20)
    assert world.plan.cut == 2
    factors = world.factors.head
    assert factors[2] == pytest.approx(2.4, rel=0.02)
    assert factors[2] > 1.3 * factors[3]
    epoch = world.plan.epoch
    # The device times it, and says so: it was an estimate that was wrong by as much.
    half_s = world.head.profile.half_s
    timed = {half: 2 * time_s if half.cut == 2 else time_s for half, time_s in half_s.items()}
    world.head = replace(world.head, profile=replace(world.head.profile, half_s=timed))
    world.own = {}
    assert world.planner.hear(world.head, world.now_s) == "head /robot/head timed its engines"
    np.testing.assert_allclose(world.factors.head, 1.2, rtol=0.05)
    world.lead()
    world.beat(10)
    assert world.plan.epoch == epoch  # the news were an option
    np.testing.assert_allclose(world.factors.head, 1.2, rtol=0.05)


def test_one_slow_report_is_no_news(world):
    world.beat(5)
    for _ in range(5):
        world.load = 5.0
        world.beat(1)
        world.load = 1.0
        world.beat(5)
    assert len(world.plans) == 1


def test_frames_that_did_not_come_are_not_counted_again(world):
    running = StageMedians(world.plan.epoch, 7, 99.0, 99.0, 99.0)
    for _ in range(9):
        world.planner.heartbeat(replace(beat_of(world.head), running=running), world.now_s)
    assert world.factors.head[0] == 1.0


@pytest.mark.parametrize(
    "running", [StageMedians(77, 50, 9.0, 9.0, 9.0), StageMedians(1, 4, 9.0, 9.0, 9.0)]
)
def test_another_epoch_s_and_the_first_frames_are_not_counted(world, running):
    for more in range(5):
        told = replace(running, frames=running.frames + (more if running.epoch == 77 else 0))
        world.planner.heartbeat(replace(beat_of(world.head), running=told), world.now_s)
    assert world.watch.measured is None


def test_no_other_plan_without_a_gain(tiny_bundle):
    """A little faster link would move the cut or not; half as good is never worth a change."""
    world = World(tiny_bundle, switch_gain=1.0)
    world.announce()
    world.load = 4.0
    world.beat(10)
    assert len(world.plans) == 1
    assert world.planner.kept >= 1
    # It stays, but what it takes is known.
    head_s, link_s, tail_s = world.times(world.plan)
    assert world.watch.prediction.latency_s == pytest.approx(4 * head_s + link_s + tail_s, rel=0.03)
    # A change of settings is a new plan all the same.
    changed = replace(world.planner.settings, lambda_1=2.0)
    world.planner.change_settings(changed, "lambda_1 set to 2.0", world.now_s)
    world.lead()
    assert len(world.plans) == 2


def test_a_plan_that_may_not_be_chosen_any_more_goes_whatever_the_gain(tiny_bundle):
    world = World(tiny_bundle, switch_gain=1.0)
    world.announce()
    assert world.plan.codec != "raw"
    world.planner.settings = replace(world.planner.settings, codecs=("raw",), frame_codecs=("raw",))
    world.planner.request(ROBOT, "link", world.now_s, optional=True)
    world.lead()
    assert len(world.plans) == 2


def test_corrections_can_be_switched_off(tiny_bundle):
    world = World(tiny_bundle, correct=False)
    world.announce()
    world.load = 5.0
    world.beat(10)
    assert len(world.reasons) == 1
    assert world.watch.measured.head_s > 4 * world.watch.prediction.head_s
    again = world.planner.next_plan(ROBOT, "test", world.now_s)
    assert again.latency_s == pytest.approx(world.plan.latency_s)


def test_another_model_learns_anew(world):
    world.load = 3.0
    world.beat(10)
    paper = replace(world.planner.settings, mode="paper")
    assert not paper.corrects
    world.planner.change_settings(paper, "mode set to paper", world.now_s)
    np.testing.assert_array_equal(world.factors.head, 1.0)


def test_news_of_all_kinds_at_once_are_no_option(world):
    world.planner.request(ROBOT, "head time", world.now_s, optional=True)
    world.planner.request(ROBOT, "lambda_1 set", world.now_s)
    (due,) = world.planner.due(world.now_s + 1)
    assert due == (ROBOT, "head time; lambda_1 set", False)
    world.planner.request(ROBOT, "head time", world.now_s, optional=True)
    assert world.planner.due(world.now_s + 2)[0].optional


def test_what_a_robot_does_between_frames_counts_for_the_pace(tiny_bundle):
    worlds = {}
    for objective in Objective:
        world = worlds[objective] = World(tiny_bundle, objective=objective)
        world.announce()
        first = world.plan
        assert first.served_by
        world.head_gap_s = 0.03
        world.beat(20)
        evaluation = world.planner.solve(ROBOT, world.planner.settings).evaluation
        row = evaluation.row(evaluation.index_of(Candidate.of(first)))
        assert row.prediction.head_s == pytest.approx(first.head_s)
        assert row.prediction.pace_s == pytest.approx(
            max(first.head_s + 0.03, row.prediction.occupancy_s, first.tail_s)
        )
    assert len(worlds[Objective.LATENCY].plans) == 1
    # The head has less to do now.
    paced = worlds[Objective.THROUGHPUT]
    assert paced.plan.head_s < paced.plans[0].head_s
    assert "robot needs 30.0 ms between frames" in paced.reasons[-1]


@pytest.mark.parametrize(
    ("objective", "busy", "factor"),
    [
        (Objective.LATENCY, 1.1, 0.5),
        (Objective.THROUGHPUT, 1.1, 1.1),
        (Objective.THROUGHPUT, None, 0.5),  # where there are other cores nothing else is known
    ],
)
def test_an_idle_robot_on_half_a_core_is_no_quicker_in_a_row(tiny_bundle, objective, busy, factor):
    """Its frames take half of the time as long as they come one by one, each within its quota."""
    world = World(tiny_bundle, objective=objective)
    world.announce()
    assert world.plan.served_by
    world.load, world.busy = 0.5, busy
    world.beat(20)
    np.testing.assert_allclose(world.factors.head, factor, rtol=0.02)


@pytest.mark.parametrize(("shared", "gap_s"), [("nothing", 0.02), ("server", 0.0)])
def test_what_a_shared_server_does_between_frames_counts_once(tiny_bundle, shared, gap_s):
    """What it does for the other robots is in this one's share of it already."""
    world = World(tiny_bundle, shared=shared)
    world.announce()
    head_s, link_s, tail_s = world.times(world.plan)
    running = StageMedians(world.plan.epoch, 9, head_s, link_s, tail_s, 0.01, 0.02)
    world.planner.heartbeat(replace(beat_of(world.head), running=running), world.now_s)
    problem = world.planner.solve(ROBOT, world.planner.settings).problem
    assert problem.head_gap_s == pytest.approx(0.01)
    assert problem.tail_gap_s == pytest.approx(gap_s)
