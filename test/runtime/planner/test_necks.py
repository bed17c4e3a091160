"""The planner and a neck: when it is chosen, and that a level needs no plan of its own."""

import random
from dataclasses import replace

import pytest

from codesign_ros.runtime.device import Device, Payload, Role, StageMedians
from codesign_ros.runtime.planner.registry import Registry
from codesign_ros.runtime.planner.runtime import PlannerRuntime
from codesign_ros.runtime.planner.settings import PlannerSettings
from codesign_ros.runtime.rate_level import RateLevelChoice
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import HalfForm, Structure
from support.planner import CODECS, ROBOT, profile

CUT = 3
BYTES = (600.0, 300.0, 100.0)
LOSSES = (0.01, 0.02, 0.04)
NECKS = ("neck.0", "neck.1", "neck.2")


def with_neck(bundle, whole_s, part):
    """As ``profile``; encoder and decoder take 2 and 4 ms, a level 0.2 ms."""
    made = profile(bundle, whole_s, part)
    more_s = 0.002 if part == "head" else 0.004
    half_s = {
        form._replace(neck=True): time_s + more_s
        for form, time_s in made.half_s.items()
        if form.cut == CUT
    }
    codec_s = dict.fromkeys(((CUT, codec) for codec in NECKS), 2e-4)
    sizes = {(CUT, codec): size for codec, size in zip(NECKS, BYTES, strict=True)}
    return replace(
        made,
        half_s=made.half_s | half_s,
        codec_s=made.codec_s | codec_s,
        codec_bytes=made.codec_bytes | sizes,
    )


class World:
    """A planner, a slow robot and a server 10 times as fast; 6 kB of JPEG at cut 0."""

    def __init__(self, bundle, **settings):
        settings = {"codecs": (*CODECS, *NECKS), "lambda_1": 1.0, "debounce_s": 0.0, **settings}
        self.planner = PlannerRuntime(
            bundle,
            {"box": DeviceSpec("box", {"fp32": 1e12}, 1e11)},
            PlannerSettings(frame_codecs=("jpeg", "raw"), **settings),
            Registry(silence_limit_s=1e9),
            lambda: None,
        )
        common = {"robot": ROBOT, "state": "active", "model_id": bundle.model_id}
        self.head = Device(
            "/robot/head", role=Role.HEAD, profile=with_neck(bundle, 0.4, "head"), **common
        )
        self.tail = Device(
            "/robot/tail", role=Role.TAIL, profile=with_neck(bundle, 0.04, "tail"), **common
        )
        self.now_s = 0.0
        self.frames = 0
        self.plans = []

    def at(self, rate_bps, beats=1, scene=None):
        """Hear of a rate of the link for a while; return the plan in force.

        ``scene``: gives how many times larger frames are than profiled; None = none is sent.
        """
        for _ in range(beats):
            self.now_s += 1.0
            head = replace(self.head, link_bps=rate_bps)
            if scene is not None and self.plans[-1].has_neck:
                head = replace(head, running=self.running(scene()))
            for device in (head, self.tail):
                self.planner.hear(device, self.now_s)
            for robot, reason, optional in self.planner.due(self.now_s):
                plan = self.planner.next_plan(robot, reason, self.now_s, optional=optional)
                if plan is not None:
                    self.planner.adopt(plan, self.now_s)
                    self.plans.append(plan)
        return self.planner.plans[ROBOT]

    def running(self, factor):
        """What the head says of frames whose times are as predicted."""
        plan = self.plans[-1]
        self.frames += 9
        size = factor * BYTES[NECKS.index(plan.codec)]
        payloads = (Payload(plan.codec, 9, size, 0.1 * size),)
        times_s = plan.head_s, plan.link_s, plan.tail_s
        return StageMedians(plan.epoch, self.frames, *times_s, payloads=payloads)


def best_by_hand(world, rate_bps, lambda_1=1.0, factor=1.0):
    """Objective, cut and codec of the best, from the profiles alone.

    ``factor``: how many times larger the neck's payloads are.
    """
    head, tail = world.head.profile, world.tail.profile
    last = max(form.cut for form in head.half_s)
    options = [(head.half_s[HalfForm(last)], last, "raw")]
    for (cut, codec), size in head.codec_bytes.items():
        form = HalfForm(cut, neck=codec in NECKS)
        head_s = head.half_s[form] + head.codec_s[cut, codec]
        tail_s = tail.half_s[form] + tail.codec_s[cut, codec]
        loss = LOSSES[NECKS.index(codec)] if codec in NECKS else 0.0
        size *= factor if codec in NECKS else 1.0
        options.append((head_s + 8 * size / rate_bps + tail_s + lambda_1 * loss, cut, codec))
    return min(options)


def test_the_plan_is_the_best_of_all_at_every_rate(neck_bundle):
    chosen = set()
    for rate_bps in (3e3, 2e4, 1e5, 3e5, 1e6, 1e9):
        world = World(neck_bundle)
        plan = world.at(rate_bps)
        objective, cut, codec = best_by_hand(world, rate_bps)
        assert (plan.cut, plan.codec) == (cut, codec)
        total_s = plan.head_s + plan.link_s + plan.tail_s
        assert total_s + plan.accuracy_loss == pytest.approx(objective)
        assert bool(plan.levels) == plan.has_neck
        chosen.add(codec)
    assert chosen == {"raw", "neck.2", "neck.1", "neck.0", "jpeg"}


def test_a_thin_link_without_the_neck_takes_much_longer(neck_bundle):
    with_it = World(neck_bundle).at(2e4)
    without = World(neck_bundle, codecs=CODECS).at(2e4)
    assert with_it.codec == "neck.2"
    assert not without.has_neck
    assert without.latency_s > 1.5 * (with_it.latency_s + with_it.accuracy_loss)


def test_a_thin_link_takes_a_neck_whatever_crosses_there(each_neck_bundle):
    plan = World(each_neck_bundle).at(2e4)
    assert (plan.cut, plan.codec, plan.payload_bytes) == (CUT, "neck.2", BYTES[2])


def test_a_falling_rate_changes_the_level_and_not_the_plan(neck_bundle):
    world = World(neck_bundle)
    first = world.at(3e5)
    assert (first.codec, [each.level for each in first.levels]) == ("neck.0", [0, 1, 2])
    rates_bps = (2e5, 1e5, 6e4, 2e4)
    levels = []
    for rate_bps in rates_bps:
        plan = world.at(rate_bps, beats=6)
        assert plan.epoch == first.epoch
        levels.append(RateLevelChoice(plan, lambda rate_bps=rate_bps: rate_bps).choose())
    assert levels == sorted(levels)
    assert levels[-1] == 2
    # What no level mends is a reason for another plan.
    plan = world.at(1e3, beats=6)
    assert plan.epoch > first.epoch
    assert not plan.has_neck


def test_a_floor_on_accuracy_is_the_budget_of_the_levels(neck_bundle):
    reference = neck_bundle.accuracy.reference
    world = World(neck_bundle, accuracy_floor=reference - 0.025)
    plan = world.at(3e5)
    assert [each.level for each in plan.levels] == [0, 1]
    assert [each.accuracy_loss for each in plan.levels] == pytest.approx(LOSSES[:2])
    assert [each.payload_bytes for each in plan.levels] == list(BYTES[:2])
    # At a rate at which only the coarsest would do, that is not chosen.
    assert world.at(2e4, beats=6).codec != "neck.2"


@pytest.mark.parametrize("factor", [0.7, 1.6])
def test_what_a_film_saves_is_planned_with_at_every_level(neck_bundle, factor):
    world = World(neck_bundle)
    assert world.at(3e5).codec == "neck.0"
    rng = random.Random(2)
    world.at(3e5, 20, lambda: factor * rng.gauss(1.0, 0.02))
    tables = world.planner.solve(ROBOT, world.planner.settings).problem.tables
    place = [tables.axes.codecs.index(codec) for codec in NECKS]
    assert tables.payload_bytes[CUT, place] == pytest.approx([factor * b for b in BYTES], rel=0.02)
    assert tables.payload_spread[CUT, place] == pytest.approx(0.1)
    others = {(cut, codec) for cut, codec in world.head.profile.codec_bytes if codec not in NECKS}
    for cut, codec in others:
        k = tables.axes.codecs.index(codec)
        assert tables.payload_bytes[cut, k] == world.head.profile.codec_bytes[cut, codec]
    # At each rate the best is now another one than the profile alone says, at some of them.
    different = 0
    for rate_bps in (3e3, 5e3, 7e3, 1e4, 1.5e4, 2e4, 4e4, 8e4, 1.2e5, 3e5):
        solution = world.planner.solve(ROBOT, world.planner.settings, rate_bps)
        objective, cut, codec = best_by_hand(world, rate_bps, factor=factor)
        assert solution.best.prediction.objective == pytest.approx(objective, rel=0.02)
        different += best_by_hand(world, rate_bps)[1:] != (cut, codec)
    assert different > 0


def test_scenes_of_another_size_change_no_plan_without_need(neck_bundle):
    """Frames vary by a tenth, and every minute the scene has a fifth more or less in it."""
    world = World(neck_bundle)
    world.at(3e5)
    rng = random.Random(7)
    for factor in (1.0, 1.2, 0.8, 1.0, 1.2) * 2:
        world.at(3e5, 60, lambda factor=factor: factor * rng.gauss(1.0, 0.1))
    # Levels are the head's to choose: the neck stays.
    assert len(world.plans) <= 2
    assert all(plan.has_neck for plan in world.plans)


def test_what_a_device_did_not_time_is_not_offered(neck_bundle):
    world = World(neck_bundle)
    half_s = {form: s for form, s in world.tail.profile.half_s.items() if not form.neck}
    world.tail = replace(world.tail, profile=replace(world.tail.profile, half_s=half_s))
    for rate_bps in (2e4, 1e5, 3e5):
        assert not world.at(rate_bps).has_neck


def test_other_structures_are_offered_with_a_neck_too(neck_bundle):
    world = World(neck_bundle, structures=(Structure.S3_SS,))
    plan = world.at(1e5)
    assert plan.has_neck
    assert plan.head_structure is Structure.S3_SS


@pytest.mark.parametrize("mode", ["roofline", "paper"])
def test_modes_that_know_peaks_alone_count_encoder_and_decoder(each_neck_bundle, mode):
    from codesign_ros.cost.profile import profile_network

    world = World(each_neck_bundle, mode=mode)
    profiles = {
        False: profile_network(each_neck_bundle.network()),
        True: profile_network(each_neck_bundle.network_with_neck(CUT)),
    }
    world.planner.costs._make_network_profile = lambda: profiles[False]
    world.head = replace(world.head, device="bot")
    world.tail = replace(world.tail, device="box")
    devices = {
        "box": DeviceSpec("box", {"fp32": 1e12}, 1e11),
        "bot": DeviceSpec("bot", {"fp32": 1e8}, 1e7),
    }
    world.planner.costs._devices = devices
    assert world.at(1e5).model_id == each_neck_bundle.model_id
    tables = world.planner.solve(ROBOT, world.planner.settings).problem.tables
    s3 = tables.axes.structures.index(Structure.S3)
    # More operations than without, so more time; and the parts are those of the whole.
    more_s = tables.neck_head_s[CUT, s3, 0] - tables.head_s[CUT, s3, 0]
    assert more_s > 0
    assert tables.neck_tail_s[0, CUT, s3, 0] > tables.tail_s[0, CUT, s3, 0]
    flops = [p.flops(0, CUT + n, Structure.S3) for n, p in profiles.items()]
    assert flops[1] > flops[0]
    k = tables.axes.codecs.index("neck.1")
    assert tables.payload_bytes[CUT, k] == BYTES[1]


def test_what_a_thin_link_needs_is_made_ready_once_while_there_is_time(neck_bundle):
    world = World(neck_bundle)
    planner = world.planner
    assert planner.foresee(ROBOT) == []  # there is no plan yet
    assert not world.at(3e6).has_neck
    orders = planner.foresee(ROBOT)
    assert {order.node for order in orders} == {"/robot/head", "/robot/tail"}
    assert all(order.form.neck and order.plan.has_neck for order in orders)
    assert planner.foresee(ROBOT) == []
    # A tail that was started anew is another one, perhaps on another machine.
    world.tail = replace(world.tail, session=world.tail.session + 1)
    assert not world.at(3e6).has_neck
    assert {order.node for order in planner.foresee(ROBOT)} == {"/robot/tail"}


def test_nothing_is_made_ready_that_is_there_or_that_nobody_would_take(neck_bundle):
    thin = World(neck_bundle)
    assert thin.at(2e5).has_neck
    assert thin.planner.foresee(ROBOT) == []
    # A device that builds engines ahead says which it has, and is told of those of better plans.
    ahead = World(neck_bundle)
    ahead.tail = replace(ahead.tail, engines={})
    ahead.head = replace(ahead.head, engines={})
    ahead.at(3e6)
    assert ahead.planner.foresee(ROBOT) == []
    peer = World(neck_bundle, policy="server_only_jpeg")
    peer.at(3e6)
    assert peer.planner.foresee(ROBOT) == []
