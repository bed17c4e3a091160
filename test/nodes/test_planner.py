"""A planner process with heads and tails: what-if, parameters, several robots, foreign networks."""

import itertools
import re
from array import array
from dataclasses import replace

import pytest

from codesign_ros.msg import DeviceProfile, Heartbeat
from codesign_ros.nodes.interface import qos
from codesign_ros.planning.objective import Objective
from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.planner.engine_wishes import form_of
from codesign_ros.srv import Solve
from codesign_ros.types.errors import CodesignError
from support.fake_device import fake_devices
from support.planner import profile

pytest_plugins = ("support.ros",)


def parameters(bundle, **others):
    return {"bundle": str(bundle.path), "profile_s": 0.05, **others}


@pytest.fixture(scope="module")
def robot(module_site, node_bundle):
    """A robot that waits for a camera: head, tail and planner, the head emulated to be slow."""
    robot = module_site.robot(
        head=parameters(node_bundle, **{"emulation.slowdown": 200.0}),
        tail=parameters(node_bundle),
        planner={"bundle": str(node_bundle.path), "debounce_s": 0.05},
    )
    robot.start("planner", "tail", "head")
    robot.wait_for_plan("with the server", lambda plan: plan.served_by == "/robot/tail")
    return robot


def test_reasons_name_what_happened(robot):
    # Which of the two comes last is up to them.
    assert re.search(r"(head|tail) /robot/\1 (registered|went from)", robot.plan.reason)
    epochs = [plan.epoch for plan in robot.plans]
    assert epochs == sorted(set(epochs))
    robot.wait(
        lambda: f"epoch {robot.plan.epoch}, cut" in robot.values("planner").get("plan /robot", ""),
        "the plan in diagnostics",
    )
    assert robot.values("planner")["device /robot/head"] == "active"


def test_what_if_changes_nothing(robot, node_bundle):
    before = robot.plan
    last = len(node_bundle.segments)

    as_it_is = robot.observer.solve()
    assert as_it_is.plan.served_by == "/robot/tail"
    assert as_it_is.plan.epoch == 0
    assert as_it_is.plan.model_id == node_bundle.model_id
    assert as_it_is.device_only.cut == last
    assert as_it_is.device_only.served_by == ""
    assert as_it_is.server_only.cut == 0
    for other in (as_it_is.device_only, as_it_is.server_only):
        assert as_it_is.plan.latency_s <= other.latency_s
    total = as_it_is.plan.head_s + as_it_is.plan.link_s + as_it_is.plan.tail_s
    assert as_it_is.plan.latency_s == pytest.approx(total)

    # A link so thin that nothing is worth sending.
    thin = robot.observer.solve(link_bps=100.0)
    assert thin.plan.cut == last
    assert thin.plan.link_bps == 100.0
    assert robot.observer.solve(objective="throughput").plan.objective == "throughput"
    assert robot.observer.solve(lambda_1=0.25).plan.lambda_1 == 0.25
    assert robot.call(Solve, "/codesign/solve", lambda_1=-1.0).ok  # the only robot
    assert robot.plan == before


@pytest.mark.parametrize(
    ("request_fields", "text"),
    [
        ({"mode": "guess"}, "unknown mode 'guess'; known are measured, roofline, paper"),
        ({"objective": "beauty"}, "beauty"),
        ({"robot": "/nobody"}, "no active head is registered for robot '/nobody'"),
        ({"mode": "roofline"}, "the peaks of /robot/head are not known"),
        ({"lambda_1": float("nan")}, "lambda_1"),
        ({"link_bps": -5.0}, "link"),
        ({"link_bps": float("nan")}, "link"),
    ],
)
def test_what_if_that_makes_no_sense(robot, request_fields, text):
    with pytest.raises(CodesignError, match=text):
        robot.observer.solve(**{"robot": "/robot", **request_fields})
    assert robot.observer.solve().ok


def test_parameter_changes_solve_again(robot):
    set_parameter = robot.observer.set_parameter
    for name, value in (
        ("lambda_1", 0.25),
        ("objective", "throughput"),
        ("codecs", ["uint8"]),
        ("frame_codecs", ["raw"]),
    ):
        before = robot.plan.epoch
        set_parameter("/codesign/planner", name, value)
        plan = robot.wait_for_plan("of a higher epoch", lambda plan, e=before: plan.epoch > e)
        assert f"{name} set to" in plan.reason
    assert plan.lambda_1 == 0.25
    assert plan.objective == Objective.THROUGHPUT.value
    assert plan.cut in (0, 15) or plan.codec == "uint8"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("lambda_1", -1.0, "lambda_1 out of range"),
        ("lambda_1", "much", "parameter lambda_1 must be a float, not 'much'"),
        ("objective", "beauty", "parameter objective: unknown value 'beauty'; known are latency"),
        ("mode", "guess", "parameter mode: unknown value 'guess'; known are measured"),
        ("codecs", ["raw", "zip"], "parameter codecs: unknown value 'zip'; known are raw"),
        ("merges", ["melt"], "parameter merges: unknown value 'melt'; known are fold, prune"),
        ("structures", ["S9"], "parameter structures: unknown value 'S9'; known are S3"),
        ("policy", "jpeg", "unknown policy 'jpeg'; known are ours, .* cut:N for the best plan"),
        ("link", "smoke_signals", "unknown link 'smoke_signals'; known"),
    ],
)
def test_parameter_out_of_range_is_refused(robot, name, value, text):
    before = robot.observer.solve().plan
    with pytest.raises(CodesignError, match=text):
        robot.observer.set_parameter("/codesign/planner", name, value)
    after = robot.observer.solve().plan
    assert (after.lambda_1, after.objective) == (before.lambda_1, before.objective)


def test_second_robot_has_its_own_plans(robot, module_site, node_bundle):
    before = robot.plan
    second = module_site.robot(
        "/second", head=parameters(node_bundle), tail=parameters(node_bundle)
    )
    second.start("head", "tail")
    plan = second.wait_for_plan("for the second robot", lambda plan: plan.server_available)
    assert plan.robot == "/second"
    assert plan.served_by in ("", "/second/tail")
    assert "/robot" not in plan.reason
    assert plan.epoch > before.epoch
    assert robot.plan == before

    answer = robot.call(Solve, "/codesign/solve", lambda_1=-1.0)
    assert (answer.ok, "no active head is registered for robot ''" in answer.message) == (
        False,
        True,
    )
    second.stop()
    robot.wait(
        lambda: "device /second/head" not in robot.values("planner"), "the second robot's leave"
    )
    assert robot.plan == before


def test_foreign_network_is_refused(robot, module_site, other_bundle):
    foreign = module_site.robot("/foreign", head=parameters(other_bundle, profile_s=0.0))
    foreign.start("head")
    line = (
        f"no new plan for /foreign: head /foreign/head runs network '{other_bundle.model_id}', "
        "the planner has"
    )
    robot.wait_for_message("planner", line)
    assert "give both the same bundle" in robot.message("planner")
    assert "\n" not in robot.message("planner")

    # It is still said when another robot gets a new plan.
    before = robot.plan.epoch
    robot.observer.set_parameter("/codesign/planner", "lambda_1", 0.5)
    robot.wait_for_plan("of a higher epoch", lambda plan: plan.epoch > before)
    robot.observer.diagnostics.clear()
    robot.wait(lambda: robot.values("planner"), "diagnostics")
    assert line in robot.message("planner")

    foreign.stop()
    robot.wait_for_state("planner", "active")
    assert foreign.plans == []


# A parameter value that is always another one.
LAMBDAS = itertools.count(2.0)

# Announcements under which a planner must not fall.
STRANGE = {
    "unknown role": {"role": 9},
    "arrays that do not fit": {"half_cut": array("H", [1, 2])},
    "unknown structure": {
        "half_cut": array("H", [1]),
        "half_structure": ["S9"],
        "half_merge": ["fold"],
        "half_precision": ["fp32"],
        "half_neck": [False],
        "half_s": array("f", [1.0]),
        "half_measured": [True],
    },
    "nothing measured": {},
    "one stage of many": {
        "half_cut": array("H", [1]),
        "half_structure": ["S3"],
        "half_merge": ["fold"],
        "half_precision": ["fp32"],
        "half_neck": [False],
        "half_s": array("f", [1.0]),
        "half_measured": [True],
    },
    "no numbers": {
        "half_cut": array("H", range(16)),
        "half_structure": ["S3"] * 16,
        "half_merge": ["fold"] * 16,
        "half_precision": ["fp32"] * 16,
        "half_neck": [False] * 16,
        "half_s": array("f", [float("nan")] * 16),
        "half_measured": [True] * 16,
        "heartbeat": Heartbeat(node="/strange/head", link_bps=float("nan")),
    },
    "name that is none": {
        "heartbeat": Heartbeat(node="/strange/h e a d!"),
        "half_cut": array("H", range(16)),
        "half_structure": ["S3"] * 16,
        "half_merge": ["fold"] * 16,
        "half_precision": ["fp32"] * 16,
        "half_neck": [False] * 16,
        "half_s": array("f", [0.01] * 16),
        "half_measured": [True] * 16,
    },
    "negative link": {"heartbeat": Heartbeat(node="/strange/head", link_delay_s=-1.0)},
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_announcements(robot, node_bundle, name):
    node = robot.observer.node
    publisher = node.create_publisher(DeviceProfile, "/codesign/devices", qos.state())
    head = DeviceProfile(
        robot="/strange",
        heartbeat=Heartbeat(node="/strange/head"),
        role=DeviceProfile.ROLE_HEAD,
        state="active",
        model_id=node_bundle.model_id,
        device="this-machine",
    )
    for field, value in STRANGE[name].items():
        setattr(head, field, value)
    robot.wait(lambda: publisher.get_subscription_count() > 0, "the planner to listen")
    publisher.publish(head)

    # The planner leads the other robot as before.
    before = robot.plan.epoch
    robot.observer.set_parameter("/codesign/planner", "lambda_1", next(LAMBDAS))
    robot.wait_for_plan("of a higher epoch", lambda plan: plan.epoch > before)
    head.state = "finalized"
    publisher.publish(head)
    robot.wait(lambda: "device /strange/head" not in robot.values("planner"), "its leave")
    node.destroy_publisher(publisher)


def test_foreign_tail_is_named(module_site, node_bundle, other_bundle, robot):
    half = module_site.robot(
        "/half", head=parameters(node_bundle), tail=parameters(other_bundle, profile_s=0.0)
    )
    half.start("tail", "head")
    plan = half.wait_for_plan("for the robot alone", lambda plan: plan.robot == "/half")
    assert (plan.served_by, plan.server_available) == ("", False)
    robot.wait_for_message(
        "planner",
        f"tail /half/tail runs network '{other_bundle.model_id}', the planner has "
        f"'{node_bundle.model_id}' (nodes); give both the same bundle",
    )
    assert robot.logs().count("tail /half/tail runs network") == 1
    half.stop()
    robot.wait_for_state("planner", "active")


def builders(bundle, name):
    """A head and a tail that build engines ahead, none of them yet, and cannot send a frame."""
    common = {"robot": name, "state": "active", "model_id": bundle.model_id, "engines": {}}
    timed = profile(bundle, 0.4, "head")
    inner = {key: time_s for key, time_s in timed.codec_s.items() if key[0] > 0}
    timed = replace(timed, codec_s=inner, codec_bytes={k: timed.codec_bytes[k] for k in inner})
    return (
        Device(node=f"{name}/head", role=Role.HEAD, profile=timed, link_bps=2e7, **common),
        Device(
            node=f"{name}/tail", role=Role.TAIL, profile=profile(bundle, 0.04, "tail"), **common
        ),
    )


def test_first_what_is_built_then_the_best(robot, module_site, node_bundle):
    last = len(node_bundle.segments)
    robot.observer.set_parameter("/codesign/planner", "codecs", ["raw", "uint8+zstd"])
    watching = module_site.robot("/ahead")
    with fake_devices(module_site.domain, *builders(node_bundle, "/ahead")) as (head, tail):
        plan = watching.wait_for_plan("for the start", lambda plan: plan.server_available)
        assert plan.cut == last
        watching.wait(lambda: head.orders and tail.orders, "orders to build")
        (wanted,), (other,) = head.orders, tail.orders
        assert wanted == other
        assert 0 < wanted.cut < last
        assert f"cut {wanted.cut} S3 fp32 of /ahead/head, " in plan.reason
        assert re.search(r"are being built \(saves \d+\.\d ms\)$", plan.reason)
        assert (head.committed[-1:], tail.prepared) == ([plan.epoch], [])

        what_if = watching.observer.solve()
        assert what_if.plan.cut == wanted.cut
        assert what_if.message.startswith(f"not built yet: cut {wanted.cut} S3 fp32 of")
        key = "building /ahead"
        watching.wait(lambda: watching.values("planner").get(key), "a build in diagnostics")

        # Half of it is of no use yet.
        head.built([form_of(wanted, Role.HEAD, last)])
        lacking = f"cut {wanted.cut} S3 fp32 of /ahead/tail is being built"
        watching.wait(lambda: watching.values("planner").get(key) == lacking, "the tail's build")
        assert watching.plan == plan
        tail.built([form_of(wanted, Role.TAIL, last)])
        plan = watching.wait_for_plan("with both", lambda plan: plan.served_by == "/ahead/tail")
        assert plan.cut == wanted.cut
        assert "tail /ahead/tail built cut" in plan.reason
        watching.wait(lambda: plan.epoch in tail.committed, "the tail to follow")
        assert plan.epoch in head.committed
        assert (len(head.orders), len(tail.orders)) == (1, 1)
        assert watching.observer.solve().message == ""

        # What slows a device comes with its heartbeats.
        tail.device = replace(tail.device, throttled="GPU at 420 of 1020 MHz, 86 °C")
        said = f"tail /ahead/tail is throttled: {tail.device.throttled}"
        watching.wait_for_plan("for a slow tail", lambda plan: said in plan.reason)
        key = "throttled /ahead/tail"
        watching.wait(lambda: watching.values("planner").get(key), "it in diagnostics")
        tail.device = replace(tail.device, throttled="")
        watching.wait(lambda: key not in watching.values("planner"), "its end in diagnostics")
    watching.wait(lambda: "device /ahead/tail" not in watching.values("planner"), "their leave")


def test_a_device_that_refuses_to_build_is_asked_again(robot, module_site, node_bundle):
    watching = module_site.robot("/refusing")
    both = builders(node_bundle, "/refusing")
    with fake_devices(module_site.domain, *both) as (head, tail):
        tail.refusal = "no room on the disk"
        watching.wait(lambda: head.orders and tail.orders, "orders to build")
        assert (len(head.orders), len(tail.orders)) == (1, 1)
        tail.refusal = ""
        before = watching.wait_for_plan("of what is built", lambda plan: plan.epoch > 0).epoch
        robot.observer.set_parameter("/codesign/planner", "lambda_1", next(LAMBDAS))
        watching.wait_for_plan("of a higher epoch", lambda plan: plan.epoch > before)
        watching.wait(lambda: len(tail.orders) == 2, "the second order")
        assert tail.orders[0] == replace(tail.orders[1], lambda_1=tail.orders[0].lambda_1)
        assert len(head.orders) == 1
    watching.wait(lambda: "device /refusing/head" not in watching.values("planner"), "their leave")


def test_a_robot_that_gets_ready_for_long_holds_up_no_other(robot, module_site, node_bundle):
    watching = module_site.robot("/slow")
    with fake_devices(module_site.domain, *builders(node_bundle, "/slow")) as (head, _):
        watching.wait_for_plan("for the start", lambda plan: plan.server_available)
        head.may_prepare.clear()
        head.preparing.clear()
        head.announce(state="inactive")
        head.announce(state="active")
        watching.wait(head.preparing.is_set, "a plan that takes long")
        before, epoch = watching.plan, robot.plan.epoch
        robot.observer.set_parameter("/codesign/planner", "lambda_1", next(LAMBDAS))
        robot.wait_for_plan("of a higher epoch", lambda plan: plan.epoch > epoch)
        assert watching.plan == before
        head.may_prepare.set()
        watching.wait_for_plan("at last", lambda plan: plan.epoch > before.epoch)
    watching.wait(lambda: "device /slow/head" not in watching.values("planner"), "their leave")
