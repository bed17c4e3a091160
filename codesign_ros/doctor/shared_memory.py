"""/dev/shm, through which nodes of one machine exchange what they send."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codesign_ros.console import data_size
from codesign_ros.doctor.finding import Finding, fail, ok, warn
from codesign_ros.hardware.sysfs import read_text

FOLDER = Path("/dev/shm")
# Docker's own size of it; each node of ours has about 0.6 MB there [bytes].
_LEAST_BYTES = 64_000_000
_LEAST_FREE_BYTES = 16_000_000
_MUCH = 0.1
_OURS = re.compile(r"fast(rtps|dds)_")
# A lock's file in /proc/locks: device and inode. Those who wait for one have an arrow.
_LOCK = re.compile(r"^\d+: [A-Z].* ([0-9a-f]+:[0-9a-f]+:\d+) ", re.MULTILINE)
_LOCKS = ("_el", "_sl")

Usage = Callable[[Path], tuple[int, int]]


def room(folder: Path = FOLDER, usage: Usage | None = None) -> Finding:
    """Whether it is there, may be written, and has room.

    Args:
        folder: where it is.
        usage: size and free of a folder's file system [bytes]; may raise OSError. None = ask.
    """
    check = "shared memory"
    try:
        size, free = (usage or usage_of)(folder)
    except OSError as error:
        change = "mount -t tmpfs tmpfs /dev/shm (a container: --shm-size=256m)"
        return fail(check, f"{folder} cannot be used: {error.strerror}", change)
    if not os.access(folder, os.W_OK | os.X_OK):
        return fail(check, f"{folder} may not be written by this user", f"chmod 1777 {folder}")
    found = f"{data_size(free)} of {data_size(size)} free in {folder}"
    larger = "mount -o remount,size=256M /dev/shm (a container: --shm-size=256m)"
    if size < _LEAST_BYTES:
        return warn(check, found, larger)
    if free < _LEAST_FREE_BYTES:
        return warn(check, found, f"fastdds shm clean removes what dead nodes left, or {larger}")
    return ok(check, found)


def usage_of(folder: Path) -> tuple[int, int]:
    """Size and free of a folder's file system [bytes]."""
    about = os.statvfs(folder)
    return about.f_blocks * about.f_frsize, about.f_bavail * about.f_frsize


@dataclass(frozen=True)
class Segment:
    """A file of Fast DDS's: its size [bytes], its owner's number, whether its node is alive."""

    name: str
    size: int
    owner: int
    alive: bool


def segments(folder: Path = FOLDER, proc: Path = Path("/proc")) -> list[Segment]:
    """Fast DDS's segments and ports in a folder; a living node holds a lock on each of its own."""
    locks = set(_LOCK.findall(read_text(proc / "locks")))
    found = []
    for path in sorted(folder.glob("fast*")):
        if not _OURS.match(path.name) or path.name.endswith(_LOCKS):
            continue
        lock_files = [path.with_name(path.name + suffix) for suffix in _LOCKS]
        try:
            about = path.stat()
            alive = any(_lock_id(file) in locks for file in lock_files if file.exists())
        except OSError:  # it has just gone
            continue
        found.append(Segment(path.name, about.st_size, about.st_uid, alive))
    return found


def _lock_id(file: Path) -> str:
    """What /proc/locks calls a file."""
    about = file.stat()
    device = about.st_dev
    return f"{os.major(device):02x}:{os.minor(device):02x}:{about.st_ino}"


def leftovers(found: Sequence[Segment], size_bytes: int) -> Finding:
    """Whether nodes that were killed left much there.

    Args:
        found: see ``segments``.
        size_bytes: of the folder's file system.
    """
    dead = [segment for segment in found if not segment.alive]
    dead_bytes = sum(segment.size for segment in dead)
    words = (
        f"{len(found) - len(dead)} files of living nodes, {len(dead)} of dead ones "
        f"({data_size(dead_bytes)})"
    )
    if dead_bytes > _MUCH * size_bytes:
        return warn("leftovers", words, "fastdds shm clean")
    return ok("leftovers", words)


def owners(found: Sequence[Segment], user: int) -> Finding:
    """Whether all nodes here are of this user: two users' nodes do not share memory."""
    others = sorted({segment.owner for segment in found if segment.alive} - {user})
    if not others:
        return ok("users", "nodes of this user alone share memory here")
    return warn(
        "users",
        f"nodes of user {', '.join(map(str, others))} share memory here, and this is user {user}: "
        "what one user's nodes send may not reach the other's",
        "run all nodes, and this, as one user, or export FASTDDS_BUILTIN_TRANSPORTS=UDPv4 for all",
    )
