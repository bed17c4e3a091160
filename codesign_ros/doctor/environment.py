"""What the environment tells ROS 2 and DDS: domain, middleware, reach, peers, profiles."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

from codesign_ros.doctor.finding import Finding, fail, ok, warn
from codesign_ros.hardware.sysfs import read_text
from codesign_ros.nodes.interface.transport import DECIDED, OLDER_PROFILES, PROFILES

# UDP ports of a domain (RTPS 2.5, 9.6.2.3): two for multicast, then two for each participant. So
# many participants of one machine are counted on here.
_FIRST_PORT, _PORTS_A_DOMAIN, _PARTICIPANTS = 7400, 250, 20
_LAST_DOMAIN = 232
_SAFE = "0 to 101"
_TRIED = "rmw_fastrtps_cpp"
_EVERYWHERE = ("SUBNET", "SYSTEM_DEFAULT")
_DISCOVERY_SERVER_PORT = 11811
_ANSWER_S = 0.3

Environment = Mapping[str, str]


def domain(environment: Environment, proc: Path = Path("/proc")) -> Finding:
    """Whether ROS_DOMAIN_ID is a domain whose ports the kernel does not give away."""
    check = "domain"
    text = environment.get("ROS_DOMAIN_ID", "")
    if not text:
        return ok(check, "0, as ROS_DOMAIN_ID is not set")
    if not text.isdecimal() or int(text) > _LAST_DOMAIN:
        return fail(
            check,
            f"ROS_DOMAIN_ID is '{text}', which is no domain",
            f"export ROS_DOMAIN_ID=N, N from {_SAFE}, the same on both machines",
        )
    first = _FIRST_PORT + _PORTS_A_DOMAIN * int(text)
    last = min(first + 11 + 2 * _PARTICIPANTS, 65535)
    limits = read_text(proc / "sys/net/ipv4/ip_local_port_range").split()
    low, high = (int(limits[0]), int(limits[1])) if len(limits) == 2 else (32768, 60999)
    if first <= high and last >= low:
        return warn(
            check,
            f"{text}: the kernel gives its UDP ports ({first} to {last}) to other programs too",
            f"take a domain from {_SAFE}, the same on both machines",
        )
    return ok(check, f"{text} (UDP ports from {first} on)")


def middleware(environment: Environment, in_use: str) -> Finding:
    """Whether the RMW is the one that was tried.

    Args:
        environment: of this process.
        in_use: the RMW that ROS has loaded; empty = not known.
    """
    name = in_use or environment.get("RMW_IMPLEMENTATION", "") or _TRIED
    if name == _TRIED:
        return ok("middleware", f"{name}; the other machine needs the same")
    return warn(
        "middleware",
        f"{name}, with which this package was not tried; the other machine needs the same",
        f"export RMW_IMPLEMENTATION={_TRIED} on both machines",
    )


def reach(environment: Environment) -> Finding:
    """How far discovery may look: on this machine alone, or on its subnet too."""
    check = "reach"
    here_alone = "unset it, or export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET, for a second machine"
    distribution = environment.get("ROS_DISTRO", "")
    if environment.get("ROS_LOCALHOST_ONLY", "0") not in ("", "0"):
        change = "unset ROS_LOCALHOST_ONLY for a second machine"
        return warn(check, "ROS_LOCALHOST_ONLY keeps this machine to itself", change)
    range_ = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if not range_ or range_ in _EVERYWHERE or distribution == "humble":
        return ok(check, "this machine and its subnet")
    found = f"ROS_AUTOMATIC_DISCOVERY_RANGE is {range_}"
    if range_ == "LOCALHOST":
        return warn(check, f"{found}: others are found by ROS_STATIC_PEERS alone", here_alone)
    if range_ == "OFF":
        return fail(check, f"{found}: not even this machine's nodes find each other", here_alone)
    return fail(check, f"{found}, which ROS does not know", here_alone)


def static_peers(
    environment: Environment, resolve: Callable[[str], str] = socket.gethostbyname
) -> Finding:
    """Whether each of ROS_STATIC_PEERS is a machine that this one has an address of."""
    check = "static peers"
    peers = [peer.strip() for peer in environment.get("ROS_STATIC_PEERS", "").split(";")]
    peers = [peer for peer in peers if peer]
    if not peers:
        return ok(check, "none named: others are found by multicast")
    if environment.get("ROS_DISTRO") == "humble":
        change = "use ROS_DISCOVERY_SERVER (docs/two_machines.md, Discovery)"
        return warn(check, "Humble does not know ROS_STATIC_PEERS", change)
    unknown = [peer for peer in peers if not _resolves(peer, resolve)]
    if unknown:
        return fail(
            check,
            f"no address is known of {', '.join(unknown)}",
            "give addresses in ROS_STATIC_PEERS, with ';' between them, or mend name resolution",
        )
    return ok(check, ", ".join(peers))


def _resolves(name: str, resolve: Callable[[str], str]) -> bool:
    try:
        resolve(name)
    except (OSError, UnicodeError):
        return False
    return True


def discovery_server(
    environment: Environment, refuses: Callable[[str, int], bool] | None = None
) -> Finding:
    """Whether something listens where ROS_DISCOVERY_SERVER says that the server is.

    Args:
        environment: of this process.
        refuses: whether a UDP datagram to (host, port) is turned back; may raise OSError. None =
            one is sent.
    """
    check = "discovery server"
    named = [each for each in environment.get("ROS_DISCOVERY_SERVER", "").split(";") if each]
    if not named:
        return ok(check, "none named")
    for each in named:
        host, _, port = each.rpartition(":") if ":" in each else (each, "", "")
        number = int(port) if port.isdecimal() else _DISCOVERY_SERVER_PORT
        try:
            gone = (refuses or _refuses)(host, number)
        except (OSError, OverflowError, UnicodeError):
            change = (
                "give ADDRESS:PORT of the server in ROS_DISCOVERY_SERVER, and look at the route"
            )
            return fail(check, f"{each} cannot be reached", change)
        if gone:
            change = f"start it there: fastdds discovery -i 0 -l {host} -p {number}"
            return fail(check, f"nothing listens at {host}:{number}", change)
    return ok(check, ", ".join(named))


def _refuses(host: str, port: int) -> bool:
    """A closed port of a machine that is there is reported back; silence tells nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(_ANSWER_S)
        probe.connect((host, port))
        probe.send(b"\0")
        try:
            probe.recv(1)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    return False


def dds_profiles(environment: Environment) -> Finding:
    """Whether a profile of the user's own for Fast DDS is there and can be read."""
    check = "DDS profiles"
    name = next((name for name in (PROFILES, OLDER_PROFILES) if environment.get(name)), None)
    if name is None:
        set_ = [each for each in DECIDED if environment.get(each)]
        return ok(check, f"{', '.join(set_)} is set" if set_ else "those of the package")
    path = Path(environment[name])
    try:
        ElementTree.parse(path)
    except OSError as error:
        return fail(
            check,
            f"{path} of {name} cannot be read: {error.strerror}",
            f"unset {name}, or name a file that is there",
        )
    except ElementTree.ParseError as error:
        return fail(check, f"{path} of {name} is no sound XML: {error}", f"mend it or unset {name}")
    return ok(check, f"{path} in place of the package's ({name})")
