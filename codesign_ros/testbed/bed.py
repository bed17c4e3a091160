"""Two network namespaces, a shaped link between them, and a share of a core for each side.

A veth pair is the radio. ``tc tbf`` at both its ends lets a rate pass in the long run, and a burst
at line speed after a pause: so do most links with a queue. Each side has its own shared memory, so
that no message can go round the link.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codesign_ros.testbed.cgroup import CpuGroup
from codesign_ros.types.errors import CodesignError

ROBOTS, SERVER = SIDES = ("robot", "server")
_NETWORK = "10.231.0"
_RADIO = "radio"
# What may wait for the link before it is thrown away: so long at its rate [s], or so much at least.
_QUEUE_S = 0.4
_LEAST_QUEUE_BYTES = 64_000
# Debian has it outside the PATH of users.
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_TOOLS = ("ip", "tc", "mount", "nsenter", "unshare")
# Shares that fill a core may sum up to a little more.
_ROUNDING = 1e-6
_CLONE_NEWNET = 0x40000000  # linux/sched.h


@dataclass(frozen=True)
class LinkShape:
    """A link in one direction.

    Attributes:
        rate_bps: rate in the long run [bit/s].
        burst_bytes: what passes at once after a pause [bytes].
    """

    rate_bps: float
    burst_bytes: int = 16_000


def why_not() -> str:
    """Why this machine cannot have a test bed, in one line; empty if it can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "the test bed makes network namespaces and cgroups: run it as root"
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=_PATH) is None]
    if missing:
        return f"the test bed needs {', '.join(missing)} (Debian packages iproute2, util-linux)"
    if len(os.sched_getaffinity(0)) < len(SIDES):
        return "the test bed needs two processor cores, one for each side"
    return ""


def processors_of(cores: Mapping[str, float], processors: Sequence[int]) -> dict[str, int]:
    """Give each host a processor: the server its own; robots share those that are left.

    Args:
        cores: share of a core by host, see ``Bed``.
        processors: those that may be used.

    Raises:
        CodesignError: they are too few for the robots' shares.
    """
    first, server, *others = processors
    left = dict.fromkeys((first, *others), 1.0)
    places = {SERVER: server}
    for host in (name for name in cores if name != SERVER):
        places[host] = max(left, key=lambda number: left[number])
        left[places[host]] -= cores[host]
        if left[places[host]] < -_ROUNDING:
            raise CodesignError(
                f"the robots' shares of a core do not fit on {len(left)} processor cores, one more "
                "is the server's: let them have less, or be fewer"
            )
    return places


class Bed:
    """The two sides, until ``close``; also a context manager.

    Args:
        name: prefix of what is made on the machine; two beds at once need two names.
        shape: the link, the same both ways; all robots share it.
        cores: share of a core, above 0, of the ``server`` and of each robot by any other name; they
            have their place by ``processors_of``. All robots are on one side.

    Raises:
        CodesignError: this machine cannot have one, or not like this.
    """

    def __init__(self, name: str, shape: LinkShape, cores: Mapping[str, float]) -> None:
        if reason := why_not():
            raise CodesignError(reason)
        self._name = name
        self._groups: dict[str, CpuGroup] = {}
        self._holders: dict[str, subprocess.Popen[str]] = {}
        places = processors_of(cores, sorted(os.sched_getaffinity(0)))
        self._drop_namespaces()  # of a run that was killed
        try:
            for host, core in places.items():
                self._groups[host] = CpuGroup(f"{name}_{host}", core, cores[host])
            self._connect()
            self.shape(shape)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Bed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def shape(self, shape: LinkShape) -> None:
        """Give the link another rate and burst, both ways, while it is in use."""
        rate = f"{round(shape.rate_bps)}bit"
        # A queue that holds no burst or not one large frame would drop what a radio keeps.
        limit = max(round(shape.rate_bps / 8 * _QUEUE_S), _LEAST_QUEUE_BYTES, 2 * shape.burst_bytes)
        for side in SIDES:
            self._in(
                side,
                *("tc", "qdisc", "replace", "dev", _RADIO, "root", "tbf", "rate", rate),
                *("burst", str(shape.burst_bytes), "limit", str(limit)),
            )

    def cut(self) -> None:
        """Let nothing through, both ways, until ``shape`` mends it."""
        for side in SIDES:
            self._in(
                side,
                *("tc", "qdisc", "replace", "dev", _RADIO, "root", "tbf", "rate", "8bit"),
                *("burst", "1600", "limit", "1600"),
            )

    def command(self, host: str, argv: Sequence[str]) -> list[str]:
        """What runs a program and its arguments on a host, within its share of a core."""
        # The group first: inside, the way to it may be another.
        enter = "".join(f"echo $$ > {path}; " for path in self._groups[host].procs)
        side = SERVER if host == SERVER else ROBOTS
        into = f"nsenter --target {self._holders[side].pid} --mount --net"
        return ["sh", "-c", f'{enter}exec {into} "$@"', "sh", *argv]

    @contextlib.contextmanager
    def within(self, side: str) -> Iterator[None]:
        """Give this thread, and the threads that it starts, the network of a side.

        Its memory is not shared with that side: DDS must use UDP alone here
        (``FASTDDS_BUILTIN_TRANSPORTS=UDPv4``), or it would write where nobody reads.
        """
        with open("/proc/thread-self/ns/net") as outside:
            with open(f"/run/netns/{self._namespace(side)}") as inside:
                _set_network(inside.fileno())
            try:
                yield
            finally:
                _set_network(outside.fileno())

    def cpu_s(self, side: str) -> float:
        """Processor time that a side has used, all robots together [s]."""
        groups = self._groups.items()
        return sum(group.cpu_s() for host, group in groups if (host == SERVER) == (side == SERVER))

    def sent_bytes(self, side: str) -> int:
        """What a side has sent over the link, with all headers [bytes]."""
        (link,) = json.loads(self._in(side, "ip", "-s", "-j", "link", "show", "dev", _RADIO))
        return int(link["stats64"]["tx"]["bytes"])

    def close(self) -> None:
        """Remove all of it; processes on either side must have ended."""
        for holder in self._holders.values():
            holder.communicate("")  # its input ends, and so does it
        self._drop_namespaces()
        for group in self._groups.values():
            group.remove()

    def _connect(self) -> None:
        robot, server = map(self._namespace, SIDES)
        for side in SIDES:
            _tool("ip", "netns", "add", self._namespace(side))
        _tool(
            *("ip", "link", "add", _RADIO, "netns", robot, "type", "veth"),
            *("peer", "name", _RADIO, "netns", server),
        )
        for number, side in enumerate(SIDES, 1):
            self._in(side, "ip", "link", "set", "lo", "up")
            self._in(side, "ip", "address", "add", f"{_NETWORK}.{number}/24", "dev", _RADIO)
            self._in(side, "ip", "link", "set", _RADIO, "up")
            # DDS finds its peers by multicast.
            self._in(side, "ip", "route", "add", "224.0.0.0/4", "dev", _RADIO)
            self._holders[side] = self._hold(side)

    def _hold(self, side: str) -> subprocess.Popen[str]:
        """Keep a side's shared memory, which all its processes see; ends with this process."""
        keep = "mount -t tmpfs tmpfs /dev/shm && echo ready && exec cat"
        holder = subprocess.Popen(
            [
                *("nsenter", f"--net=/run/netns/{self._namespace(side)}"),
                *("unshare", "--mount", "sh", "-c", keep),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PATH": _PATH},
        )
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            raise CodesignError(f"the {side}'s shared memory could not be mounted")
        return holder

    def _drop_namespaces(self) -> None:
        for side in SIDES:
            if Path("/run/netns", self._namespace(side)).exists():
                with contextlib.suppress(CodesignError):
                    _tool("ip", "netns", "delete", self._namespace(side))

    def _namespace(self, side: str) -> str:
        return f"{self._name}_{side}"

    def _in(self, side: str, *argv: str) -> str:
        return _tool("ip", "netns", "exec", self._namespace(side), *argv)


def _tool(*argv: str) -> str:
    """Run a system tool; its output.

    Raises:
        CodesignError: it failed; the text has its own line.
    """
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, "PATH": _PATH}
    )
    if done.returncode != 0:
        why = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise CodesignError(f"the test bed could not be made: {' '.join(argv)}: {why}")
    return done.stdout


def _set_network(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        why = os.strerror(ctypes.get_errno())
        raise CodesignError(f"this thread cannot enter the test bed's network: {why}")
