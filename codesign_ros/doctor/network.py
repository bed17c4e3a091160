"""The interfaces of this machine: does multicast come back, how long may a datagram be."""

from __future__ import annotations

import fcntl
import secrets
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from codesign_ros.doctor.finding import Finding, fail, ok, warn
from codesign_ros.hardware.sysfs import read_int, read_text

# The group of DDS's discovery (RTPS 2.5, 9.6.2.4.1). We take a port of our own there.
_GROUP = "239.255.0.1"
_SIOCGIFADDR = 0x8915
_IFF_UP, _IFF_LOOPBACK, _IFF_MULTICAST = 0x1, 0x8, 0x1000
_ANSWER_S = 0.5
# Below this, IPv6 does not work, and a message of some kB is many datagrams [bytes].
_LEAST_MTU = 1280


@dataclass(frozen=True)
class Interface:
    """A network interface that is up and has an IPv4 address; ``mtu`` in bytes."""

    name: str
    address: str
    mtu: int
    is_loopback: bool
    does_multicast: bool


def interfaces(
    sys: Path = Path("/sys"), address_of: Callable[[str], str | None] | None = None
) -> list[Interface]:
    """List the interfaces that are up and have an IPv4 address.

    Args:
        sys: where the kernel's files are.
        address_of: IPv4 address of an interface by its name, None where it has none; None = ask
            the kernel.
    """
    found = []
    for folder in sorted((sys / "class/net").glob("*")):
        flags = int(read_text(folder / "flags") or "0", 16)
        address = (address_of or _address)(folder.name)
        if flags & _IFF_UP and address:
            found.append(
                Interface(
                    name=folder.name,
                    address=address,
                    mtu=read_int(folder / "mtu") or 0,
                    is_loopback=bool(flags & _IFF_LOOPBACK),
                    does_multicast=bool(flags & _IFF_MULTICAST),
                )
            )
    return found


def _address(name: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("256s", name.encode()[:15])
        try:
            answer = fcntl.ioctl(any_socket.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def other_machines(found: Iterable[Interface]) -> Finding:
    """Whether there is a way to other machines at all."""
    ways = [f"{each.name} {each.address}" for each in found if not each.is_loopback]
    if not ways:
        return warn(
            "interfaces",
            "none but the loopback is up with an IPv4 address: no other machine can be reached",
            "connect the network: ip link set DEV up, ip addr add ADDRESS/24 dev DEV",
        )
    return ok("interfaces", ", ".join(ways))


def multicast(
    interface: Interface,
    has_other_way: bool,
    comes_back: Callable[[Interface], bool] | None = None,
) -> Finding:
    """Whether what is sent to DDS's group on an interface comes back to a listener there.

    That shows the kernel's route, its filters and the interface, not that a switch or an access
    point passes it on.

    Args:
        interface: which.
        has_other_way: others are named (ROS_STATIC_PEERS, ROS_DISCOVERY_SERVER), so that discovery
            can do without.
        comes_back: sends and receives; None = really.
    """
    check = f"multicast {interface.name}"
    if (comes_back or _comes_back)(interface):
        return ok(check, f"a datagram to {_GROUP} came back")
    if interface.is_loopback:
        return warn(
            check,
            f"nothing that is sent to {_GROUP} on the loopback comes back",
            "only without any other network are nodes of this machine lost to each other: "
            "ip link set lo multicast on",
        )
    why = "comes back" if interface.does_multicast else "comes back: it has multicast off"
    found = f"nothing that is sent to {_GROUP} by {interface.address} {why}"
    if has_other_way:
        return warn(check, found, "nothing, as long as every other machine is named")
    return fail(
        check,
        found,
        f"ip link set {interface.name} multicast on, let the firewall pass UDP to {_GROUP}, or "
        "name the other machine in ROS_STATIC_PEERS",
    )


def _comes_back(interface: Interface) -> bool:
    sent = secrets.token_bytes(16)
    own = socket.inet_aton(interface.address)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.settimeout(_ANSWER_S)
        try:
            receiver.bind(("", 0))
            receiver.setsockopt(
                socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(_GROUP) + own
            )
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            sender.sendto(sent, (_GROUP, receiver.getsockname()[1]))
            with suppress(TimeoutError):
                return receiver.recv(64) == sent
        except OSError:
            return False
    return False


def mtu(interface: Interface) -> Finding:
    """Whether datagrams of a usual length go through an interface as one."""
    check = f"MTU {interface.name}"
    if 0 < interface.mtu < _LEAST_MTU:
        return warn(
            check,
            f"{interface.mtu} bytes: a message of 64 kB is {65536 // interface.mtu + 1} fragments, "
            "all of which must arrive",
            f"ip link set {interface.name} mtu 1500, or maxMessageSize {_LEAST_MTU} in a profile "
            "of Fast DDS on both machines",
        )
    return ok(check, f"{interface.mtu} bytes")
