"""What of a flood is read: the messages of those who matter, and few of all others."""

import pytest
from rclpy.serialization import serialize_message

from codesign_ros.msg import DeviceProfile, Heartbeat, Presence
from codesign_ros.nodes.border.gate import Gate, sender_of

NAME = "/robot/tail"


def beat(name):
    return serialize_message(Heartbeat(node=name))


@pytest.mark.parametrize(
    ("msg", "name_at"),
    [
        (Heartbeat(node=NAME), 8),
        (DeviceProfile(heartbeat=Heartbeat(node=NAME)), 8),
        (Presence(node=NAME), 0),
    ],
    ids=["heartbeat", "announcement", "presence"],
)
def test_the_sender_is_told_without_reading(msg, name_at):
    assert sender_of(serialize_message(msg), name_at) == NAME


@pytest.mark.parametrize("length", range(40))
def test_of_what_is_cut_off_nobody_is_the_sender(length):
    data = beat(NAME)[:length]
    assert sender_of(data, 8) in ("", *(NAME[:end] for end in range(len(NAME))), NAME)


@pytest.mark.parametrize("data", [b"", b"\0\7" + bytes(40), b"\0\1" + b"\xff" * 40])
def test_what_is_no_message_has_no_sender(data):
    assert sender_of(data, 8) == ""


def test_a_million_of_others_cost_a_known_one_nothing():
    gate = Gate(8, lambda name: name == NAME, 200.0, 50)
    known, taken, others = beat(NAME), 0, [beat(f"/fake{number}/head") for number in range(100)]
    for number in range(100_000):
        now_s = number * 1e-4  # 10,000 a second
        taken += gate.admits(others[number % 100], now_s)
        if number % 5000 == 0:
            assert gate.admits(known, now_s)
    assert taken == pytest.approx(50 + 200 * 10, abs=2)
    assert gate.left_out == 100_000 - taken
    assert gate.is_flooded(10.0, 5.0)
    assert not gate.is_flooded(15.1, 5.0)


def test_one_in_anothers_name_costs_what_the_name_may():
    gate = Gate(8, lambda name: True, 200.0, 50)
    other = beat("/robot/head")
    taken = sum(gate.admits(beat(NAME), number * 1e-3) for number in range(10_000))
    assert taken == pytest.approx(20 + 10 * 10, abs=2)
    assert gate.admits(other, 10.0)


def test_a_fleet_at_its_usual_rate_is_no_flood():
    gate = Gate(8, lambda name: True, 200.0, 50)
    beats = [beat(f"/robot{number}/head") for number in range(1000)]
    for half_second in range(20):
        assert all(gate.admits(each, half_second / 2) for each in beats)
    assert not gate.is_flooded(10.0, 10.0)


def test_of_announcements_each_counts():
    gate = Gate(8, lambda name: name == NAME, 50.0, 10, is_each_limited=False)
    assert all(gate.admits(beat(NAME), 0.0) for _ in range(1000))
    assert sum(gate.admits(beat("/fake"), 0.0) for _ in range(1000)) == 10
