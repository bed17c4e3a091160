"""Who is there, what changed, and who fell silent."""

from dataclasses import replace

import pytest

from codesign_ros.runtime.profiling import StageProfile
from codesign_ros.runtime.registry import Registry
from codesign_ros.runtime.values import Device, Role

HEAD = Device("/robot", "/robot/head", Role.HEAD, "active", "model")
TAIL = Device("/robot", "/robot/tail", Role.TAIL, "active", "model")
PROFILE = StageProfile({}, frozenset(), {}, {})


@pytest.fixture
def registry():
    return Registry(lease_s=5.0, silence_s=1.0)


def test_a_device_registers_once(registry):
    assert registry.hear(HEAD, 0.0) == "head /robot/head registered (active)"
    assert registry.hear(HEAD, 1.0) is None
    assert registry.hear(TAIL, 1.0) == "tail /robot/tail registered (active)"
    assert registry.devices == (HEAD, TAIL)
    assert (registry.head_of("/robot"), registry.tail_of("/robot")) == (HEAD, TAIL)


@pytest.mark.parametrize(
    ("news", "says"),
    [
        ({"state": "inactive"}, "went from active to inactive"),
        ({"model_id": "other"}, "changed its network"),
        ({"device": "xavier"}, "has a new profile"),
        ({"profile": PROFILE}, "has a new profile"),
        ({"epoch": 4}, None),
        ({"link_bps": 1e6}, None),
    ],
)
def test_what_changed(registry, news, says):
    registry.hear(HEAD, 0.0)
    change = registry.hear(replace(HEAD, **news), 1.0)
    assert change == (says and f"head /robot/head {says}")
    assert registry.hear(replace(HEAD, **news), 2.0) is None


def test_a_process_that_took_the_place_of_another_is_noticed(registry):
    registry.hear(replace(TAIL, epoch=3), 0.0)
    assert registry.hear(TAIL, 0.5) == "tail /robot/tail started anew"
    assert registry.hear(TAIL, 1.0) is None


@pytest.mark.parametrize("state", ["unconfigured", "finalized"])
def test_a_device_that_says_goodbye_leaves(registry, state):
    gone = replace(TAIL, state=state)
    assert registry.hear(gone, 0.0) is None  # never was here
    registry.hear(TAIL, 0.0)
    assert registry.hear(gone, 1.0) == f"tail /robot/tail left ({state})"
    assert registry.devices == ()
    assert registry.expire(100.0) == []


def test_a_silent_device_leaves_after_its_lease(registry):
    registry.hear(HEAD, 0.0)
    registry.hear(TAIL, 3.0)
    assert registry.expire(5.0) == []
    assert registry.expire(5.1) == [(HEAD, "head /robot/head left (lost)")]
    assert registry.expire(5.2) == []
    assert registry.devices == (TAIL,)


def test_a_lost_device_is_remembered_until_it_announces_itself(registry):
    registry.hear(TAIL, 0.0)
    assert registry.announced("/robot/tail") == TAIL
    assert registry.announced("/robot/head") is None
    registry.expire(9.0)
    assert registry.devices == ()
    assert registry.announced("/robot/tail") == TAIL
    registry.hear(replace(TAIL, state="finalized"), 9.5)
    assert registry.announced("/robot/tail") is None


def test_after_a_lost_writer_silence_counts_sooner(registry):
    registry.hear(HEAD, 0.0)
    registry.hear(TAIL, 0.0)
    registry.suspect(0.5)
    registry.hear(HEAD, 1.0)
    assert registry.expire(1.0) == []
    assert [device for device, _ in registry.expire(1.5)] == [TAIL]
    # The suspicion ends: the next pause is measured by the lease again.
    assert registry.expire(2.6) == []
    assert registry.expire(6.1) == [(HEAD, "head /robot/head left (lost)")]


def test_only_active_devices_of_the_robot_serve_it(registry):
    registry.hear(replace(TAIL, state="inactive"), 0.0)
    registry.hear(replace(TAIL, robot="/other", node="/other/tail"), 0.0)
    assert registry.tail_of("/robot") is None
    registry.hear(TAIL, 1.0)
    assert registry.tail_of("/robot") == TAIL
    assert registry.head_of("/robot") is None
