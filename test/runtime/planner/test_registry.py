"""Who is there, what changed, and who fell silent."""

from dataclasses import replace

import pytest

from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.runtime.device import ONLY_SERVER, Device, Role
from codesign_ros.runtime.planner.changes import retimed_cuts
from codesign_ros.runtime.planner.registry import _MOST_REMEMBERED, _REMEMBERED_S, Registry
from codesign_ros.types.forms import HalfForm, Merge, Structure
from support.planner import beat_of

COMMON = {"robot": "/robot", "state": "active", "model_id": "model"}
HEAD = Device("/robot/head", role=Role.HEAD, **COMMON)
TAIL = Device("/robot/tail", role=Role.TAIL, **COMMON)
PROFILE = HalfTimes({})


def text(change):
    """What is said of a change that leaves nothing of what was measured before."""
    assert change is None or (change.anew and not change.optional)
    return change and change.text


@pytest.fixture
def registry():
    return Registry(silence_limit_s=5.0)


def test_a_device_registers_once(registry):
    assert text(registry.hear(HEAD, 0.0)) == "head /robot/head registered (active)"
    assert registry.hear(HEAD, 1.0) is None
    assert text(registry.hear(TAIL, 1.0)) == "tail /robot/tail registered (active)"
    assert registry.devices == (HEAD, TAIL)
    assert registry.head_of("/robot") == HEAD
    assert registry.tails_of("/robot") == {ONLY_SERVER: TAIL}


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
    change = text(registry.hear(replace(HEAD, **news), 1.0))
    assert change == (says and f"head /robot/head {says}")
    assert registry.hear(replace(HEAD, **news), 2.0) is None


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("15W", "MAXN", "changed its power mode from 15W to MAXN"),
        ("", "MAXN", None),  # not known before
        ("15W", "", None),
    ],
)
def test_a_power_mode_is_another_device(registry, before, after, says):
    registry.hear(replace(HEAD, power_mode=before), 0.0)
    change = text(registry.hear(replace(HEAD, power_mode=after), 1.0))
    assert change == (says and f"head /robot/head {says}")


def test_throttling_is_news_when_it_begins_and_when_it_ends(registry):
    why = "GPU at 420 of 1020 MHz, 86 °C"
    registry.hear(TAIL, 0.0)
    begun = registry.hear(replace(TAIL, throttled=why), 1.0)
    assert begun == (f"tail /robot/tail is throttled: {why}", False, False)
    assert registry.hear(replace(TAIL, throttled="GPU at 500 of 1020 MHz, 80 °C"), 2.0) is None
    assert registry.hear(TAIL, 3.0) == ("tail /robot/tail is not throttled any more", False, True)


FP16 = HalfForm(7, precision="fp16")
OTHER = HalfForm(8, Structure.S3_S1, Merge.PRUNE, "fp16")
MANY = {HalfForm(cut): True for cut in range(5)}


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ({}, {FP16: True}, "built cut 7 S3 fp16"),
        ({}, {OTHER: False}, "could not build cut 8 S3+S1 prune fp16"),
        ({FP16: False}, {FP16: True}, "built cut 7 S3 fp16"),
        ({FP16: True}, {}, "has no more cut 7 S3 fp16"),
        ({}, {FP16: True, OTHER: False}, "built cut 7 S3 fp16; could not build cut 8 S3+S1 prune "
         "fp16"),
        ({}, MANY, "built cut 0 S3 fp32, cut 1 S3 fp32, cut 2 S3 fp32 and 2 more"),
    ],
)  # fmt: skip
def test_engines_are_news_that_change_no_device(registry, before, after, says):
    registry.hear(replace(HEAD, engines=before), 0.0)
    change = registry.hear(replace(HEAD, engines=after), 1.0)
    assert change == (f"head /robot/head {says}", False, True)
    assert registry.hear(replace(HEAD, engines=after), 2.0) is None


def timed(times, estimated=()):
    """A profile of S3 in fp32 by cut [s]."""
    half_s = {HalfForm(cut): time_s for cut, time_s in times.items()}
    return HalfTimes(half_s, frozenset(map(HalfForm, estimated)))


BEFORE = timed({1: 0.01, 2: 0.02, 3: 0.03}, estimated=[1, 2])


@pytest.mark.parametrize(
    ("after", "anew", "retimed"),
    [
        (timed({1: 0.03, 2: 0.02, 3: 0.031}, estimated=[2]), False, {1}),  # cut 1 was built
        (timed({1: 0.01, 2: 0.01, 3: 0.03}, estimated=[1, 2]), False, {2}),
        (timed({1: 0.02, 2: 0.04, 3: 0.06}, estimated=[1, 2]), True, {1, 2, 3}),  # slower at all
        (None, True, set()),
    ],
)
def test_a_profile_with_more_engines_is_of_the_same_device(registry, after, anew, retimed):
    before = replace(HEAD, engines={}, profile=BEFORE)
    registry.hear(before, 0.0)
    now = replace(before, profile=after)
    change = registry.hear(now, 1.0)
    says = "has a new profile" if anew else "timed its engines"
    assert change == (f"head /robot/head {says}", anew, not anew)
    assert retimed_cuts(before, now) == retimed


def test_throttling_is_said_with_engines_and_is_no_option(registry):
    registry.hear(replace(HEAD, engines={}), 0.0)
    both = registry.hear(replace(HEAD, engines={FP16: True}, throttled="hot"), 1.0)
    assert both.text == "head /robot/head is throttled: hot; head /robot/head built cut 7 S3 fp16"
    assert both[1:] == (False, False)


def test_a_process_that_took_the_place_of_another_is_noticed(registry):
    registry.hear(replace(TAIL, session=3), 0.0)
    again = replace(TAIL, session=4)
    assert text(registry.hear(again, 0.5)) == "tail /robot/tail started anew"
    assert registry.hear(again, 1.0) is None
    assert registry.conflicts(1.0) == []


OLD, NEW = replace(TAIL, session=1), replace(TAIL, session=2)


def test_in_a_rolling_restart_the_old_goes_and_the_new_stays(registry):
    registry.hear(OLD, 0.0)
    starting = replace(NEW, state="inactive")
    assert registry.hear(starting, 0.1) is None  # it does not serve yet
    assert registry.tails_of("/robot") == {ONLY_SERVER: OLD}
    assert text(registry.hear(NEW, 0.2)) == "tail /robot/tail started anew"
    assert registry.hear(OLD, 0.3) is None
    assert registry.known(beat_of(OLD), 0.4) is None
    assert registry.hear(replace(OLD, state="finalized"), 0.5) is None
    assert registry.devices == (NEW,)
    assert registry.known(beat_of(NEW), 0.6) == NEW
    assert registry.call(0.6) == ()


def test_two_of_one_name_are_named_as_long_as_both_live(registry):
    registry.hear(OLD, 0.0)
    registry.hear(NEW, 0.1)
    assert registry.conflicts(0.2) == []  # the old one may have ended
    assert registry.known(beat_of(OLD), 0.5) is None
    registry.hear(NEW, 0.6)
    assert registry.conflicts(0.6) == []  # a late last word of one that was stopped
    assert registry.known(beat_of(OLD), 1.0) is None
    registry.hear(NEW, 1.1)
    assert registry.conflicts(1.1) == [
        "two nodes are named /robot/tail; the one that started last serves; stop one of them"
    ]
    assert registry.conflicts(3.5) == []


def test_the_older_takes_over_when_the_newer_falls_silent(registry):
    registry.hear(NEW, 0.0)
    assert registry.known(beat_of(OLD), 1.0) is None
    assert registry.call(1.0) == ()
    assert registry.known(beat_of(OLD), 3.0) is None
    assert registry.call(3.5) == ("/robot/tail",)
    assert text(registry.hear(OLD, 3.6)) == "tail /robot/tail started anew"
    assert registry.known(beat_of(OLD), 3.7) == OLD


def test_the_older_takes_over_when_the_newer_says_goodbye(registry):
    registry.hear(NEW, 0.0)
    assert text(registry.hear(replace(NEW, state="finalized"), 1.0)).endswith("left (finalized)")
    assert registry.known(beat_of(OLD), 1.1) is None
    assert registry.call(1.6) == ("/robot/tail",)
    assert text(registry.hear(OLD, 1.7)) == "tail /robot/tail registered (active)"


def test_who_gives_signs_of_life_without_being_known_is_called_again_and_again(registry):
    assert registry.known(beat_of(HEAD), 0.0) is None
    assert registry.call(0.05) == ()  # its announcement may be on the way
    assert registry.call(0.11) == ("/robot/head",)
    assert registry.call(0.6) == ()  # it may be answering
    registry.known(beat_of(HEAD), 0.6)
    assert registry.call(0.8) == ("/robot/head",)
    registry.known(beat_of(HEAD), 1.0)
    registry.hear(HEAD, 1.7)
    assert registry.call(9.0) == ()
    # A new start of a known device, whose announcement was lost.
    assert registry.known(beat_of(replace(HEAD, session=5)), 2.0) is None
    assert registry.call(2.5) == ("/robot/head",)
    # One that fell silent is not called for ever.
    assert registry.call(9.0) == ()


def test_of_two_heads_in_a_namespace_the_one_that_started_last_serves(registry):
    first = replace(HEAD, node="/robot/a_head", session=2)
    second = replace(HEAD, node="/robot/z_head", session=1)
    registry.hear(first, 0.0)
    registry.hear(second, 0.0)
    assert registry.head_of("/robot") == first
    assert registry.conflicts(0.1) == [
        "2 heads in /robot: /robot/a_head, /robot/z_head; /robot/a_head started last and serves; "
        "stop all but one"
    ]
    registry.hear(replace(second, session=3), 0.2)
    assert registry.head_of("/robot").node == "/robot/z_head"


@pytest.mark.parametrize("state", ["unconfigured", "finalized"])
def test_a_device_that_says_goodbye_leaves(registry, state):
    gone = replace(TAIL, state=state)
    assert registry.hear(gone, 0.0) is None  # never was here
    registry.hear(TAIL, 0.0)
    assert text(registry.hear(gone, 1.0)) == f"tail /robot/tail left ({state})"
    assert registry.devices == ()
    assert registry.expire(100.0) == []


@pytest.mark.parametrize("state", ["inactive", "unconfigured", "finalized"])
def test_who_seems_to_leave(registry, state):
    gone = replace(TAIL, state=state, session=5)
    assert not registry.seems_to_leave(gone)  # nobody is there
    registry.hear(replace(TAIL, session=5), 0.0)
    assert registry.seems_to_leave(gone)
    assert not registry.seems_to_leave(replace(gone, session=4))  # another of its name
    assert not registry.seems_to_leave(replace(TAIL, session=5, epoch=3))
    registry.hear(replace(gone, state="inactive"), 0.1)
    assert not registry.seems_to_leave(gone)  # it said so before


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


def test_lost_devices_are_remembered_for_a_while_and_not_all(registry):
    registry.hear(TAIL, 0.0)
    registry.expire(9.0)
    assert registry.robots == {"/robot"}
    registry.expire(9.0 + _REMEMBERED_S)
    assert registry.announced("/robot/tail") == TAIL
    registry.expire(9.1 + _REMEMBERED_S)
    assert registry.announced("/robot/tail") is None
    assert registry.robots == set()
    many = [replace(TAIL, robot=f"/r{i}", node=f"/r{i}/tail") for i in range(_MOST_REMEMBERED + 5)]
    for tail in many:
        registry.hear(tail, 1000.0)
    assert len(registry.expire(1010.0)) == len(many)
    assert len(registry.robots) == _MOST_REMEMBERED
    assert registry.announced(many[4].node) is None
    assert registry.announced(many[5].node) == many[5]


def test_nobody_is_called_who_cannot_be_reached(registry):
    registry.known(beat_of(HEAD), 0.0)
    registry.known(beat_of(TAIL), 0.0)
    assert registry.strangers == 2
    assert registry.call(0.5, lambda node: node == TAIL.node) == (TAIL.node,)


def test_only_active_devices_of_the_robot_serve_it(registry):
    registry.hear(replace(TAIL, state="inactive"), 0.0)
    registry.hear(replace(TAIL, robot="/other", node="/other/tail"), 0.0)
    assert registry.tails_of("/robot") == {}
    registry.hear(TAIL, 1.0)
    assert registry.tails_of("/robot") == {ONLY_SERVER: TAIL}
    assert registry.head_of("/robot") is None


EDGE1 = replace(TAIL, node="/robot/edge1/tail", session=1)
EDGE2 = replace(TAIL, node="/robot/edge2/tail", session=2)


def test_tails_on_several_servers_are_no_rivals(registry):
    for tail in (EDGE2, TAIL, EDGE1):
        registry.hear(tail, 0.0)
    assert registry.tails_of("/robot") == {"edge1": EDGE1, "edge2": EDGE2, ONLY_SERVER: TAIL}
    assert registry.conflicts(0.1) == []


def test_of_several_tails_on_one_server_the_one_that_started_last_serves(registry):
    other = replace(EDGE1, node="/robot/edge1/other", session=3)
    for tail in (other, EDGE1, EDGE2):
        registry.hear(tail, 0.0)
    assert registry.tails_of("/robot") == {"edge1": other, "edge2": EDGE2}
    assert registry.conflicts(0.1) == [
        "2 tails in /robot/edge1: /robot/edge1/other, /robot/edge1/tail; /robot/edge1/other "
        "started last and serves; stop all but one"
    ]


def test_who_could_not_be_heard_is_not_lost(registry):
    registry.hear(HEAD, 0.0)
    registry.hear(TAIL, 2.0)
    registry.excuse(6.0, 9.0)
    assert registry.expire(9.0) == []
    assert [device for device, _ in registry.expire(11.5)] == [HEAD]
    registry.excuse(1000.0, 12.0)  # heard just now, and not later than that
    assert [device for device, _ in registry.expire(17.1)] == [TAIL]


def test_who_is_doubted_stays_until_given_up_and_is_doubted_once(registry):
    registry.hear(HEAD, 0.0)
    registry.hear(TAIL, 0.0)
    assert registry.doubt(5.0) == []
    assert registry.doubt(5.1) == [HEAD, TAIL]
    assert registry.doubt(5.2) == []
    assert registry.expire(100.0) == []
    registry.touch(HEAD.node, 100.0)
    registry.give_up(TAIL.node)
    assert registry.doubt(100.1) == []
    assert registry.expire(100.1) == [(TAIL, "tail /robot/tail left (lost)")]
    assert registry.expire(105.1) == [(HEAD, "head /robot/head left (lost)")]


def test_who_is_heard_is_doubted_no_longer(registry):
    registry.hear(HEAD, 0.0)
    assert registry.doubt(6.0) == [HEAD]
    registry.hear(HEAD, 6.1)
    registry.give_up(HEAD.node)  # it did not answer, but spoke
    assert registry.expire(7.0) == []
    assert registry.expire(11.2) == [(HEAD, "head /robot/head left (lost)")]
