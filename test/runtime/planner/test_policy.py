"""Peers and fixed cuts in the place of ours."""

from dataclasses import replace

import pytest

from codesign_ros.cost.profile import profile_network
from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.planner.registry import Registry
from codesign_ros.runtime.planner.runtime import PlannerRuntime
from codesign_ros.runtime.planner.settings import PlannerSettings
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Structure
from support.planner import CODECS, FRAME_CODECS, ROBOT, profile


@pytest.fixture
def planner(tiny_bundle):
    planner = PlannerRuntime(
        tiny_bundle,
        {},
        PlannerSettings(codecs=CODECS, frame_codecs=FRAME_CODECS),
        Registry(silence_limit_s=10.0),
        lambda: None,
    )
    common = {"robot": ROBOT, "state": "active", "model_id": tiny_bundle.model_id}
    planner.hear(
        Device("/robot/head", role=Role.HEAD, profile=profile(tiny_bundle, 0.06, "head"),
               link_bps=2e7, **common),
        0.0,
    )  # fmt: skip
    planner.hear(
        Device("/robot/tail", role=Role.TAIL, profile=profile(tiny_bundle, 0.04, "tail"), **common),
        0.0,
    )
    return planner


def under(planner, policy):
    return planner.solve(ROBOT, replace(planner.settings, policy=policy))


def test_a_fixed_cut_is_the_best_plan_of_that_cut(planner, tiny_bundle):
    ours = under(planner, "ours")
    for cut in range(tiny_bundle.last_cut + 1):
        fixed = under(planner, f"cut:{cut}")
        assert fixed.plan.cut == cut
        assert fixed.best == ours.best_at(cut)


def test_peers_choose_by_their_own_rule(planner, tiny_bundle):
    assert under(planner, "device_only").plan.cut == tiny_bundle.last_cut
    jpeg = under(planner, "server_only_jpeg").plan
    assert (jpeg.cut, jpeg.codec) == (0, "jpeg")
    assert under(planner, "neurosurgeon").plan.codec in {*CODECS, *FRAME_CODECS, "raw"}
    cut = under(planner, "ours_cut").plan
    assert (cut.codec, cut.head_structure.value, cut.tail_structure.value) == ("raw", "S3", "S3")
    parts = ("ours_cut", "ours_cut_structure", "ours_cut_structure_codec", "ours")
    values = [under(planner, name).best.prediction.objective for name in parts]
    assert values == sorted(values, reverse=True)


def test_without_a_server_everybody_stays_on_the_robot(planner, tiny_bundle):
    tail = planner.registry.announced("/robot/tail")
    planner.hear(replace(tail, state="inactive"), 1.0)
    for policy in ("server_only_jpeg", "neurosurgeon", "cut:2"):
        assert under(planner, policy).plan.cut == tiny_bundle.last_cut


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("roofsplit", "policy roofsplit cannot choose: it needs the rooflines"),
        ("secda", "policy secda cannot choose: its factor"),
        ("cut:99", "cut 99 does not exist"),
    ],
)
def test_what_cannot_be_run_is_refused(planner, policy, says):
    with pytest.raises(CodesignError, match=says):
        under(planner, policy)


def test_a_peer_that_looks_at_operations_has_them_counted(planner, tiny_bundle):
    counted = []

    def network_profile():
        counted.append(profile_network(tiny_bundle.network(), tuple(Structure)))
        return counted[-1]

    peaks = DeviceSpec("core", {"fp32": 1e9}, 1e9)
    known = PlannerRuntime(
        tiny_bundle, {"core": peaks}, planner.settings, planner.registry, network_profile
    )
    for node in ("/robot/head", "/robot/tail"):
        planner.hear(replace(planner.registry.announced(node), device="core"), 1.0)
    for simple in ("ours", "cut:2", "device_only", "server_only_jpeg", "server_only_raw"):
        under(known, simple)
    assert not counted
    assert 0 < under(known, "roofsplit").plan.cut < tiny_bundle.last_cut
    assert len(counted) == 1


@pytest.mark.parametrize("name", ["best", "cut:", "cut:-1", "cut:two", ""])
def test_a_policy_that_is_none(name):
    with pytest.raises(CodesignError, match=r"unknown policy .* cut:N"):
        PlannerSettings(policy=name)
