"""When the planner solves, for whom, and with what it knows."""

from dataclasses import replace

import numpy as np
import pytest

from codesign_ros.cost.accuracy_row import AccuracyRow
from codesign_ros.cost.profile import profile_network
from codesign_ros.planning.objective import Objective
from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.planner.registry import Registry
from codesign_ros.runtime.planner.runtime import PlannerRuntime
from codesign_ros.runtime.planner.settings import PlannerSettings
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import HalfForm, Merge, Structure
from support.planner import CODECS, FRAME_CODECS, ROBOT, beat_of, profile


@pytest.fixture(scope="module")
def head(tiny_bundle):
    return Device(
        "/robot/head",
        robot=ROBOT,
        role=Role.HEAD,
        state="active",
        model_id=tiny_bundle.model_id,
        profile=profile(tiny_bundle, 0.4, "head"),
    )


@pytest.fixture(scope="module")
def tail(tiny_bundle):
    return Device(
        "/robot/tail",
        robot=ROBOT,
        role=Role.TAIL,
        state="active",
        model_id=tiny_bundle.model_id,
        profile=profile(tiny_bundle, 0.04, "tail"),
    )


@pytest.fixture
def planner(tiny_bundle):
    def no_profile():
        raise AssertionError("measured mode reads no network")

    return PlannerRuntime(
        tiny_bundle,
        {
            "box": DeviceSpec("box", {"fp32": 1e12}, 1e11),
            "bot": DeviceSpec("bot", {"fp32": 1e10}, 1e9),
        },
        PlannerSettings(codecs=CODECS, frame_codecs=FRAME_CODECS),
        Registry(silence_limit_s=10.0),
        no_profile,
    )


def in_force(planner, *devices, now_s=0.0, reason="test"):
    """Hear devices, solve and adopt."""
    for device in devices:
        planner.hear(device, now_s)
    planner.due(now_s + 1)
    plan = planner.next_plan(ROBOT, reason, now_s)
    planner.adopt(plan, now_s)
    return plan


def best_by_hand(bundle, head, tail, rate_bps, time_of):
    """Time, cut and codec of the best in S3, which is the fastest and loses nothing.

    Of equally fast ones that with the fewest bytes counts.
    """
    last = bundle.last_cut
    options = [(time_of(head.profile.half_s[HalfForm(last)], 0.0, 0.0), 0, last, "raw")]
    for (cut, codec), size in head.profile.codec_bytes.items():
        head_s = head.profile.half_s[HalfForm(cut)] + head.profile.codec_s[cut, codec]
        tail_s = tail.profile.half_s[HalfForm(cut)] + tail.profile.codec_s[cut, codec]
        options.append((time_of(head_s, 8 * size / rate_bps, tail_s), size, cut, codec))
    seconds, _, cut, codec = min(options)
    return seconds, cut, codec


@pytest.mark.parametrize("rate_bps", [1e4, 1e6, 2e7, 1e9])
@pytest.mark.parametrize(
    ("objective", "time_of"),
    [(Objective.LATENCY, lambda *t: sum(t)), (Objective.THROUGHPUT, max)],
)
def test_the_plan_is_the_best_of_all(
    planner, tiny_bundle, head, tail, rate_bps, objective, time_of
):
    planner.settings = replace(planner.settings, objective=objective)
    plan = in_force(planner, replace(head, link_bps=rate_bps), tail)
    seconds, cut, codec = best_by_hand(tiny_bundle, head, tail, rate_bps, time_of)
    assert (plan.cut, plan.codec) == (cut, codec)
    assert time_of(plan.head_s, plan.link_s, plan.tail_s) == pytest.approx(seconds)
    assert (plan.robot, plan.model_id, plan.link_bps) == (ROBOT, tiny_bundle.model_id, rate_bps)
    served = plan.cut < len(tiny_bundle.segments)
    assert plan.served_by == ("/robot/tail" if served else "")
    assert plan.server_available


@pytest.mark.parametrize(("loss", "lambda_1", "chosen"), [
    (0.01, 1.0, "int8-tensor"),  # 100 ms less on the robot are worth 10 ms
    (0.01, 20.0, "fp32"),  # but not 200 ms
    (None, 0.0, "fp32"),  # nobody knows what it loses
])  # fmt: skip
def test_the_precision_is_chosen_where_its_time_and_loss_are_known(
    tiny_bundle, head, loss, lambda_1, chosen
):
    table = tiny_bundle.accuracy
    if loss is not None:
        row = AccuracyRow(
            Merge.FOLD, Structure.S3, Structure.S3, "int8-tensor", "raw", None,
            table.reference - loss,
        )  # fmt: skip
        table = replace(table, rows=(*table.rows, row))
    settings = PlannerSettings(precisions=("fp32", "int8-tensor"), lambda_1=lambda_1)
    bundle = replace(tiny_bundle, accuracy=table)
    planner = PlannerRuntime(bundle, {}, settings, Registry(10.0), lambda: None)
    last = bundle.last_cut
    whole_s = head.profile.half_s[HalfForm(last)]
    int8_s = {HalfForm(last, precision="int8-tensor"): whole_s - 0.1}
    timed = replace(head.profile, half_s=head.profile.half_s | int8_s)
    plan = in_force(planner, replace(head, profile=timed))
    assert (plan.cut, plan.precision) == (last, chosen)
    assert plan.head_s == pytest.approx(whole_s - 0.1 * (chosen != "fp32"))
    # A head that has not timed it is not told to run it.
    assert in_force(planner, head, now_s=5.0).precision == "fp32"


def test_every_plan_has_a_newer_epoch_and_says_why(planner, head, tail):
    first = in_force(planner, head, tail, reason="two devices")
    second = in_force(planner, reason="lambda_1 set to 2")
    assert (first.epoch, first.reason) == (1, "two devices")
    assert (second.epoch, second.reason) == (2, "lambda_1 set to 2")
    assert planner.plans == {ROBOT: second}


def test_a_planner_that_starts_late_goes_on_from_the_devices_epoch(planner, head, tail):
    assert in_force(planner, replace(head, epoch=41), replace(tail, epoch=40)).epoch == 42


def test_without_an_active_tail_all_stays_on_the_robot(planner, tiny_bundle, head, tail):
    last = len(tiny_bundle.segments)
    for devices in (
        [head],
        [head, replace(tail, state="inactive")],
        [head, replace(tail, model_id="other")],
        [head, replace(tail, robot="/other")],
    ):
        plan = in_force(planner, *devices)
        assert (plan.cut, plan.served_by, plan.server_available) == (last, "", False)


def test_without_an_active_head_there_is_no_plan(planner, head, tail):
    assert planner.next_plan(ROBOT, "test", 9.0) is None
    planner.hear(tail, 0.0)
    planner.hear(replace(head, state="inactive"), 0.0)
    assert planner.next_plan(ROBOT, "test", 9.0) is None
    with pytest.raises(CodesignError, match=r"no active head .* '/robot'; registered: /robot"):
        planner.solve(ROBOT, planner.settings)
    with pytest.raises(CodesignError, match="robot '/typo'"):
        planner.solve("/typo", planner.settings)


def test_limits_are_kept_or_named(planner, head, tail):
    planner.hear(head, 0.0)
    planner.hear(tail, 0.0)
    free = planner.solve(ROBOT, planner.settings)
    latency_s = free.best.prediction.latency_s
    settings = replace(planner.settings, lambda_1=0.0)
    with pytest.raises(CodesignError, match=f"the deadline of {latency_s * 500:.4g} ms is missed"):
        planner.solve(ROBOT, replace(settings, deadline_s=latency_s / 2))
    with pytest.raises(CodesignError, match="above what the unchanged network reaches"):
        planner.solve(ROBOT, replace(settings, accuracy_floor=0.95))
    kept = planner.solve(ROBOT, replace(settings, accuracy_floor=0.9))
    assert kept.best.prediction.accuracy_loss <= 1e-12
    silent = planner.solve(ROBOT, replace(settings, uplink_limit_bytes_per_s=1e-3))
    assert silent.plan.payload_bytes == 0


def test_news_wait_for_more_news_and_are_told_together(planner, head, tail):
    planner.hear(head, 10.0)
    planner.hear(tail, 10.1)
    assert planner.due(10.19) == []
    ((robot, reasons, optional),) = planner.due(10.2)
    assert (robot, optional) == (ROBOT, False)
    assert reasons == "head /robot/head registered (active); tail /robot/tail registered (active)"
    assert planner.due(99.0) == []
    assert planner.hear(head, 11.0) is None
    assert planner.due(99.0) == []


def test_what_happens_all_the_time_does_not_put_a_plan_off(planner, head):
    for step in range(5):
        planner.request(ROBOT, f"news {step}", 10.0 + 0.1 * step)
    assert len(planner.due(10.21)) == 1


@pytest.mark.parametrize("news", [{"state": "inactive"}, {"state": "finalized"}])
def test_a_tail_that_leaves_makes_a_new_plan(planner, tiny_bundle, head, tail, news):
    served = in_force(planner, replace(head, link_bps=2e7), tail)
    assert served.served_by
    assert planner.hear(replace(tail, epoch=1, **news), 1.0)
    assert len(planner.due(2.0)) == 1
    assert in_force(planner).cut == len(tiny_bundle.segments)
    planner.hear(tail, 3.0)
    assert len(planner.due(4.0)) == 1
    back = in_force(planner)
    assert (back.cut, back.head_structure, back.tail_structure, back.codec, back.served_by) == (
        served.cut,
        served.head_structure,
        served.tail_structure,
        served.codec,
        served.served_by,
    )


def test_a_tail_that_falls_silent_makes_a_new_plan(planner, head, tail):
    in_force(planner, head, tail)
    planner.heartbeat(beat_of(head), 8.0)
    assert planner.tick(9.0) == []
    assert planner.tick(11.0) == ["tail /robot/tail left (lost)"]
    assert planner.due(12.0) == [(ROBOT, "tail /robot/tail left (lost)", False)]
    assert not in_force(planner).server_available


def test_a_tail_that_is_heard_again_is_back(planner, head, tail):
    in_force(planner, head, tail)
    planner.heartbeat(beat_of(head), 8.0)
    planner.tick(11.0)
    planner.due(12.0)
    # Out of reach for a while: it does not know that it was missed, and announces nothing.
    beat = replace(beat_of(tail), epoch=1)
    assert planner.heartbeat(beat, 13.0) == "tail /robot/tail registered (active)"
    assert len(planner.due(14.0)) == 1
    assert in_force(planner).server_available


def test_a_tail_that_lost_its_plan_is_given_one(planner, head, tail):
    in_force(planner, head, tail)
    planner.heartbeat(replace(beat_of(tail), epoch=1), 1.0)
    planner.due(2.0)
    # A heartbeat from before the plan may come late; a new start has another session.
    assert planner.heartbeat(beat_of(tail), 3.0) is None
    anew = replace(tail, session=tail.session + 1)
    assert planner.heartbeat(beat_of(anew), 3.0) is None
    assert planner.registry.call(3.5) == ("/robot/tail",)
    assert planner.hear(anew, 3.6) == "tail /robot/tail started anew"
    assert len(planner.due(4.0)) == 1


def test_a_device_that_runs_another_plan_is_led_anew(planner, head, tail):
    plan = in_force(planner, head, tail)
    following = replace(head, epoch=plan.epoch), replace(tail, epoch=plan.epoch)
    for device in following:
        planner.hear(device, 1.0)
    assert planner.strayed(1.0) == []
    planner.hear(replace(head, epoch=plan.epoch + 5), 2.0)  # another planner's
    assert planner.strayed(2.0) == []
    assert planner.strayed(4.1) == [ROBOT]
    assert planner.next_plan(ROBOT, "test", 4.2).epoch == plan.epoch + 6


def test_a_planner_that_stands_back_has_no_plan_in_force_until_it_leads_again(planner, head, tail):
    in_force(planner, head, tail)
    planner.stand_back()
    assert planner.plans == {}
    assert planner.due(2.0) == []
    planner.lead_all("alone again", 3.0)
    (due,) = planner.due(4.0)
    assert (due.robot, due.reason, due.optional) == (ROBOT, "alone again", False)


def test_an_epoch_that_somebody_made_up_stops_nobody(planner, head, tail):
    plan = in_force(planner, head, tail)
    planner.heartbeat(replace(beat_of(head), epoch=2**32 - 1), 1.0)
    assert in_force(planner, replace(head, epoch=plan.epoch), tail).epoch == plan.epoch + 1


def test_a_goodbye_of_another_start_changes_nothing(planner, head, tail):
    in_force(planner, head, replace(tail, session=5))
    planner.due(2.0)
    for session in (4, 6):
        assert planner.hear(replace(tail, session=session, state="finalized"), 2.0) is None
    assert planner.due(9.0) == []
    assert planner.registry.tails_of(ROBOT)


def test_a_heartbeat_keeps_the_profile_and_brings_the_rest(planner, head):
    beat = replace(beat_of(head), link_bps=3e6)
    assert planner.heartbeat(beat, 0.0) is None
    assert planner.registry.devices == ()  # only an announcement registers
    planner.hear(head, 0.0)
    assert planner.heartbeat(beat, 1.0) is None
    assert planner.registry.devices == (replace(head, link_bps=3e6),)


def test_the_link_s_rate_is_news_once_it_is_another_one_twice(planner, head, tail):
    times = iter(range(1, 1000))

    def hear(rate_bps):
        return planner.hear(replace(head, link_bps=rate_bps), float(next(times)))

    in_force(planner, replace(head, link_bps=10e6), tail)
    near, out, unknown = 12e6, 6e6, 0.0
    for rates in ([near, 8.5e6] * 3, [out, near] * 3, [out, unknown] * 3):
        assert {hear(rate_bps) for rate_bps in rates} == {None}
    assert [hear(out) for _ in range(2)] == [None, "link rate 10.0 -> 6.0 Mbit/s"]
    assert in_force(planner, now_s=99.0).link_bps == out
    assert {hear(out) for _ in range(5)} == {None}


@pytest.mark.parametrize("rate_bps", [2e6, 45e6])
def test_a_rate_that_is_far_off_and_well_known_is_news_at_once(planner, head, tail, rate_bps):
    in_force(planner, replace(head, link_bps=10e6), tail)
    doubtful = replace(head, link_bps=rate_bps, link_bps_error=0.8 * rate_bps)
    assert planner.hear(doubtful, 1.0) is None
    assert planner.hear(replace(doubtful, link_bps=10e6), 2.0) is None
    known = replace(doubtful, link_bps_error=0.2 * rate_bps)
    assert planner.hear(known, 3.0) == f"link rate 10.0 -> {rate_bps / 1e6:.1f} Mbit/s"


def test_a_change_that_changes_no_time_is_no_news(planner, head, tail):
    in_force(planner, replace(head, link_bps=200e6), tail)
    # 32 kB in 1.3 ms, 0.5 ms, 4.4 ms
    for rate_bps in [500e6] * 4 + [60e6] * 4:
        assert planner.hear(replace(head, link_bps=rate_bps), 1.0) is None


def test_a_link_that_is_never_the_limit_makes_no_plans(planner, head, tail):
    in_force(planner, replace(head, link_bps=3e9), tail)
    for rate_bps in (1e10, 2e9, 5e10):
        assert planner.hear(replace(head, link_bps=rate_bps), 1.0) is None


def test_without_a_server_the_link_does_not_matter(planner, head):
    in_force(planner, replace(head, link_bps=10e6))
    for _ in range(4):
        assert planner.hear(replace(head, link_bps=1e6), 1.0) is None


def test_the_rate_is_asked_for_measured_or_assumed(planner, head, tail):
    planner.hear(head, 0.0)
    planner.hear(tail, 0.0)
    rate = planner.settings.link_bps
    assert planner.solve(ROBOT, planner.settings).plan.link_bps == rate
    planner.hear(replace(head, link_bps=5e6), 0.0)
    assert planner.solve(ROBOT, planner.settings).plan.link_bps == 5e6
    assert planner.solve(ROBOT, planner.settings, 7e6).plan.link_bps == 7e6


def test_what_if_changes_nothing(planner, head, tail):
    plan = in_force(planner, head, tail)
    other = replace(planner.settings, lambda_1=99.0, objective=Objective.THROUGHPUT)
    solution = planner.solve(ROBOT, other, 1e5)
    assert solution.device_only is not None
    assert solution.server_only is not None
    assert planner.plans == {ROBOT: plan}
    assert planner.settings != other
    assert planner.due(99.0) == []
    assert in_force(planner).epoch == plan.epoch + 1


def test_other_settings_are_a_reason_for_every_robot(planner, head, tail):
    in_force(planner, head, tail)
    in_other = replace(head, robot="/other", node="/other/head")
    planner.hear(in_other, 0.0)
    planner.due(1.0)
    settings = replace(planner.settings, structures=(Structure.S3_S1,))
    planner.change_settings(settings, "structures set", 2.0)
    assert planner.due(3.0) == [
        (ROBOT, "structures set", False),
        ("/other", "structures set", False),
    ]
    assert in_force(planner).head_structure is Structure.S3_S1


def test_a_mode_that_is_none(planner):
    with pytest.raises(CodesignError, match="unknown mode 'guess'; known are measured, roofline"):
        PlannerSettings(mode="guess")


def test_what_is_not_known_is_said_and_costs_no_epoch(planner, tiny_bundle, head, tail):
    first = in_force(planner, head, tail)
    for devices, settings, says in (
        ([replace(head, profile=None), tail], {}, "/robot/head has not measured itself"),
        ([head, replace(tail, profile=None)], {}, "/robot/tail has not measured itself"),
        ([replace(head, model_id="other"), tail], {}, "head /robot/head runs network 'other'"),
        ([head, tail], {"mode": "paper"}, "peaks of /robot/head are not known .* bot, box"),
    ):
        for device in devices:
            planner.hear(device, 0.0)
        before = planner.settings
        planner.settings = replace(before, **settings)
        planner.costs._make_network_profile = lambda: None
        with pytest.raises(CodesignError, match=says):
            planner.next_plan(ROBOT, "test", 9.0)
        planner.settings = before
    assert planner.plans == {ROBOT: first}
    assert in_force(planner, head, tail).epoch == first.epoch + 1


@pytest.mark.parametrize("mode", ["paper", "roofline"])
def test_analytic_modes_take_the_peaks_announced_or_named(planner, tiny_bundle, head, tail, mode):
    asked = []

    def network_profile():
        asked.append(None)
        return profile_network(tiny_bundle.network())

    planner.costs._make_network_profile = network_profile
    settings = replace(planner.settings, mode=mode)
    bare = replace(head, profile=None)
    named = [replace(bare, device="bot"), replace(tail, device="box", profile=None)]
    announced = [
        replace(bare, peak_flops=1e10, memory_bandwidth=1e9),
        replace(tail, profile=None, peak_flops=1e12, memory_bandwidth=1e11),
    ]
    plans = []
    for devices in (named, announced):
        for device in devices:
            planner.hear(device, 0.0)
        plans.append(planner.solve(ROBOT, settings).plan)
    assert plans[0] == plans[1]
    assert np.isfinite(plans[0].latency_s)
    assert len(asked) == 1


def test_frames_that_can_go_as_they_are_make_a_new_plan(planner, head, tail):
    first = in_force(planner, head, tail)
    assert planner.heartbeat(beat_of(head), 1.0) is None
    news = planner.heartbeat(replace(beat_of(head), frame_bytes=2000.0), 2.0)
    assert news == "the camera's JPEGs (2 kB) fit the network's input"
    ((_, reason, _),) = planner.due(3.0)
    plan = planner.next_plan(ROBOT, reason, 3.0)
    assert plan is not None
    assert plan.epoch == first.epoch + 1
    row = planner.solve(ROBOT, replace(planner.settings, frame_codecs=("jpeg",))).server_only
    assert row is not None
    assert (row.prediction.head_s, row.prediction.payload_bytes) == (0.0, 2000.0)
    planner.adopt(plan, 3.0)
    assert planner.heartbeat(replace(beat_of(head), frame_bytes=2500.0), 4.0) is None
    assert "do not fit" in (planner.heartbeat(beat_of(head), 5.0) or "")


# Devices that somebody makes up


@pytest.fixture
def reachable():
    """Nodes that can be reached."""
    return set()


@pytest.fixture
def wary(tiny_bundle, reachable):
    """A planner that knows who can be reached."""
    return PlannerRuntime(
        tiny_bundle,
        {},
        PlannerSettings(codecs=CODECS, frame_codecs=FRAME_CODECS),
        Registry(silence_limit_s=10.0),
        lambda: None,
        is_there=reachable.__contains__,
    )


def of_robot(device, number):
    """The same device of another robot."""
    robot = f"/fake{number}"
    return replace(device, robot=robot, node=f"{robot}/{device.node.rpartition('/')[2]}")


def test_a_robot_is_planned_for_once_it_can_be_reached(wary, reachable, head, tail):
    assert wary.hear(head, 0.0) is None
    assert wary.hear(tail, 0.0) is None
    assert (wary.due(9.0), wary.plans, wary.waiting) == ([], {}, 2)
    reachable.add(head.node)
    assert wary.admit(1.0) == ["head /robot/head registered (active)"]
    (due,) = wary.due(9.0)
    assert wary.next_plan(due.robot, due.reason, 9.0).served_by == ""
    reachable.add(tail.node)
    assert wary.admit(1.1) == ["tail /robot/tail registered (active)"]
    assert not wary.awaits_somebody


def test_made_up_devices_wait_in_vain_and_are_forgotten(wary, reachable, head, tail):
    reachable.update((head.node, tail.node))
    in_force(wary, head, tail)
    robots, fakes = set(wary._robots), [of_robot(head, number) for number in range(10_000)]
    for fake in fakes:
        assert wary.hear(replace(fake, epoch=2**31), 1.0) is None
        wary.heartbeat(replace(beat_of(fake), epoch=2**31), 1.1)
    assert wary.tick(1.3) == []
    assert (set(wary._robots), wary.registry.devices) == (robots, (head, tail))
    assert wary.waiting <= 256
    assert wary.call(1.8) == ()
    assert wary.admit(7.0) == []
    assert wary.waiting == 0
    # Their epochs count nothing.
    assert wary.next_plan(ROBOT, "test", 7.0).epoch == 2
    # The names are forgotten too.
    wary.call(7.1)
    assert not wary.awaits_somebody


def test_a_made_up_goodbye_is_of_nobody(wary, reachable, head):
    wary.hear(head, 0.0)
    wary.hear(replace(head, state="finalized"), 0.1)
    reachable.add(head.node)
    assert wary.admit(0.2) == []


def test_a_robot_that_went_for_good_is_forgotten(planner, head, tail):
    in_force(planner, head, tail)
    watch = planner.watch(ROBOT)
    planner.tick(11.0)  # lost
    planner.due(12.0)
    planner.tick(12.0)
    assert planner.watch(ROBOT) is watch  # it may come back
    assert planner.plans
    planner.tick(700.0)
    assert (planner._robots, planner.plans) == ({}, {})
    assert planner.problems.placements.of(ROBOT) is None


def test_asking_for_a_robot_that_there_is_not_leaves_nothing(planner):
    with pytest.raises(CodesignError, match="no active head"):
        planner.solve("/nobody", planner.settings)
    planner.tick(0.0)
    assert planner._robots == {}
