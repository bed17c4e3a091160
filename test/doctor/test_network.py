"""Interfaces in a tree that looks like the kernel's, and datagrams on the real loopback."""

import pytest

from codesign_ros.doctor import network
from codesign_ros.doctor.finding import Verdict
from codesign_ros.doctor.network import Interface

OK, WARN, FAIL = Verdict

UP, LOOPBACK, MULTICAST = 0x1, 0x8, 0x1000
ETHERNET = Interface("eth0", "192.168.1.10", 1500, is_loopback=False, does_multicast=True)
LOOP = Interface("lo", "127.0.0.1", 65536, is_loopback=True, does_multicast=False)


def write(sys, name, flags, mtu):
    folder = sys / "class" / "net" / name
    folder.mkdir(parents=True)
    (folder / "flags").write_text(f"{flags:#x}\n")
    (folder / "mtu").write_text(f"{mtu}\n")


def test_interfaces_are_those_that_are_up_and_have_an_address(tmp_path):
    write(tmp_path, "lo", UP | LOOPBACK, 65536)
    write(tmp_path, "eth0", UP | MULTICAST, 1500)
    write(tmp_path, "eth1", MULTICAST, 1500)  # down
    write(tmp_path, "wlan0", UP | MULTICAST, 1500)  # without an address
    addresses = {"lo": "127.0.0.1", "eth0": "192.168.1.10", "eth1": "10.0.0.1"}
    assert network.interfaces(tmp_path, addresses.get) == [ETHERNET, LOOP]


def test_a_machine_without_a_network():
    assert network.other_machines([LOOP]).verdict is WARN
    assert network.other_machines([LOOP, ETHERNET]).verdict is OK


@pytest.mark.parametrize(
    ("interface", "has_other_way", "comes_back", "verdict"),
    [
        (ETHERNET, False, True, OK),
        (ETHERNET, False, False, FAIL),
        (ETHERNET, True, False, WARN),
        (LOOP, False, True, OK),
        (LOOP, False, False, WARN),
    ],
)
def test_multicast(interface, has_other_way, comes_back, verdict):
    found = network.multicast(interface, has_other_way, lambda _: comes_back)
    assert found.verdict is verdict
    assert bool(found.change) is (verdict is not OK)


def test_nothing_comes_back_from_an_address_that_is_not_ours():
    nowhere = Interface("eth9", "203.0.113.77", 1500, is_loopback=False, does_multicast=True)
    assert network.multicast(nowhere, has_other_way=False).verdict is FAIL


def test_a_datagram_comes_back_really():
    """Where the kernel lets the loopback take part in multicast, as it does by default."""
    (loop,) = [each for each in network.interfaces() if each.name == "lo"]
    assert network.multicast(loop, has_other_way=False).verdict is OK


@pytest.mark.parametrize(("mtu", "verdict"), [(1500, OK), (65536, OK), (1279, WARN), (576, WARN)])
def test_mtu(mtu, verdict):
    interface = Interface("wlan0", "10.0.0.1", mtu, is_loopback=False, does_multicast=True)
    assert network.mtu(interface).verdict is verdict
