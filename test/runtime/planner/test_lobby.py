"""Devices that were not seen at work yet."""

from dataclasses import replace

import pytest

from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.planner import strangers as module
from codesign_ros.runtime.planner.strangers import Lobby
from codesign_ros.types.forms import HalfForm

HEAD = Device("/robot/head", robot="/robot", role=Role.HEAD, state="active", model_id="model")


def named(number, **fields):
    return replace(HEAD, node=f"/robot{number}/head", robot=f"/robot{number}", **fields)


@pytest.fixture
def lobby():
    return Lobby()


def test_who_can_be_reached_leaves_with_what_it_said_last(lobby):
    lobby.enter(HEAD, 0.0)
    lobby.enter(named(1), 0.0)
    lobby.enter(replace(HEAD, epoch=3), 1.0)
    assert lobby.take(lambda node: False, 1.1) == []
    assert lobby.take(lambda node: node == HEAD.node, 1.2) == [replace(HEAD, epoch=3)]
    assert len(lobby) == 1
    assert lobby.take(lambda node: node == HEAD.node, 1.3) == []


def test_nobody_waits_for_ever(lobby):
    lobby.enter(HEAD, 0.0)
    lobby.take(lambda node: False, 4.9)
    assert len(lobby) == 1
    lobby.take(lambda node: False, 5.1)
    assert len(lobby) == 0


def test_who_leaves_does_not_wait(lobby):
    lobby.enter(HEAD, 0.0)
    lobby.leave(HEAD.node)
    lobby.leave(HEAD.node)
    assert lobby.take(lambda node: True, 0.1) == []


def test_of_many_the_newest_wait(lobby):
    for number in range(10_000):
        lobby.enter(named(number), 0.0)
    assert len(lobby) == module._MOST_DEVICES
    assert lobby.take(lambda node: True, 0.1)[-1] == named(9999)


def test_large_profiles_take_the_place_of_more(lobby):
    halves = module._MOST_HALVES // 4
    profile = HalfTimes({HalfForm(cut): 1.0 for cut in range(halves)})
    engines = dict.fromkeys(profile.half_s, True)
    for number in range(10):
        lobby.enter(named(number, profile=profile, engines=engines), 0.0)
    assert len(lobby) == 2
    for number in range(10, 20):
        lobby.enter(named(number), 0.0)
    assert len(lobby) == 12
