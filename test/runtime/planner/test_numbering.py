"""Numbers of plans, and devices that run another one than they should."""

from dataclasses import replace

import pytest

from codesign_ros.runtime.device import Device, Role
from codesign_ros.runtime.planner.numbering import Numbering, Straying
from codesign_ros.types.plan import Plan

MOST = 2**32 - 1


@pytest.mark.parametrize(
    ("heard", "taken", "numbers"),
    [
        ([], (), [1, 2, 3]),
        ([0], (), [1]),
        ([41, 7], (), [42]),  # as after a restart of the planner
        ([MOST], (), [1, 2]),
        ([MOST - 1], (), [MOST, 1]),
        ([100, MOST], (), [101]),  # somebody made that up
        ([MOST, 100], (), [101]),
        ([2**31 + 99, 100], (2**31 + 100,), [2**31 + 101]),
        ([], (1, 2, 4), [3]),
        ([MOST], (1,), [2]),
    ],
)
def test_numbers_are_counted_on(heard, taken, numbers):
    numbering = Numbering()
    for epoch in heard:
        numbering.hear(epoch)
    assert [numbering.next(taken) for _ in numbers] == numbers


PLAN = Plan(cut=3, epoch=7, served_by="/robot/tail")
HEAD = Device(
    "/robot/head", 7, robot="/robot", role=Role.HEAD, state="active", model_id="model"
)  # fmt: skip
TAIL = replace(HEAD, node="/robot/tail", role=Role.TAIL)


@pytest.mark.parametrize(
    ("plan", "devices", "strays"),
    [
        (PLAN, [HEAD, TAIL], False),
        (None, [replace(HEAD, epoch=3)], False),
        (PLAN, [replace(HEAD, epoch=3), TAIL], True),
        (PLAN, [HEAD, replace(TAIL, epoch=3)], True),
        (PLAN, [replace(HEAD, epoch=3, state="inactive"), TAIL], False),
        (replace(PLAN, served_by=""), [HEAD, replace(TAIL, epoch=3)], False),
    ],
)
def test_a_device_that_runs_another_plan_is_noticed(plan, devices, strays):
    straying = Straying()
    assert not straying.look(plan, devices, 0.0)
    assert not straying.look(plan, devices, 2.0)
    assert straying.look(plan, devices, 2.1) == strays
    assert not straying.look(plan, devices, 2.2)  # it has been said


def test_a_device_that_follows_soon_does_not_stray():
    straying = Straying()
    away = [replace(HEAD, epoch=3)]
    assert not straying.look(PLAN, away, 0.0)
    assert not straying.look(PLAN, [HEAD], 1.0)
    assert not straying.look(PLAN, away, 2.5)
