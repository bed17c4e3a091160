"""All checks, in groups; and a few seconds of listening to the nodes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from codesign_ros.bundle import Bundle, BundleError
from codesign_ros.doctor import environment, machine, network, peers, shared_memory, sockets
from codesign_ros.doctor.finding import Finding, fail
from codesign_ros.doctor.peers import Heard
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.hardware.cpu_quota import cpu_quota
from codesign_ros.types.errors import CodesignError

_LOOK_S = 0.25


def examine(
    bundle: Path, bundle_is_named: bool, seconds: float, expected: Sequence[str]
) -> dict[str, list[Finding]]:
    """Do all checks.

    Args:
        bundle: the bundle of this machine.
        bundle_is_named: the user named it, so that nodes with another are wrong.
        seconds: how long to listen to the nodes [s].
        expected: see ``peers.discovery``.
    """
    before = sockets.counters()
    heard = listen(seconds)
    after = sockets.counters()
    others = (
        [heard] if isinstance(heard, Finding) else _peers(heard, bundle, bundle_is_named, expected)
    )
    in_use = "" if isinstance(heard, Finding) else heard.graph.middleware
    return {
        "this machine": _machine(bundle),
        "ROS 2 and DDS": _environment(in_use),
        "network": [*_network(), sockets.losses(before, after)],
        "shared memory": _shared_memory(),
        "the nodes": others,
    }


def _machine(bundle: Path) -> list[Finding]:
    return [
        machine.versions(os.environ),
        machine.packages(os.environ),
        machine.bundle(bundle),
        machine.folder(
            "engine cache",
            default_cache_dir(),
            "CODESIGN_CACHE_DIR",
            without="nodes go on, and make their engines anew at each start",
        ),
        machine.folder("logs", machine.log_folder(os.environ), "ROS_LOG_DIR"),
        machine.clock(),
        machine.processors(cpu_quota()),
    ]


def _environment(middleware: str) -> list[Finding]:
    return [
        environment.domain(os.environ),
        environment.middleware(os.environ, middleware),
        environment.reach(os.environ),
        environment.static_peers(os.environ),
        environment.discovery_server(os.environ),
        environment.dds_profiles(os.environ),
    ]


def _network() -> list[Finding]:
    named = any(os.environ.get(name) for name in ("ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER"))
    found = network.interfaces()
    return [
        network.other_machines(found),
        *(network.multicast(each, named) for each in found),
        *(network.mtu(each) for each in found),
        sockets.buffers(),
        sockets.fragments(),
    ]


def _shared_memory() -> list[Finding]:
    findings = [shared_memory.room()]
    try:
        size, _ = shared_memory.usage_of(shared_memory.FOLDER)
    except OSError:
        return findings
    segments = shared_memory.segments()
    return [
        *findings,
        shared_memory.leftovers(segments, size),
        shared_memory.owners(segments, os.getuid()),
    ]


def _peers(
    heard: Heard, bundle: Path, bundle_is_named: bool, expected: Sequence[str]
) -> list[Finding]:
    try:
        own_model_id = Bundle.open(bundle).model_id
    except BundleError:  # said among the checks of this machine
        own_model_id = ""
    return [
        peers.discovery(heard, expected),
        peers.messages_arrive(heard),
        peers.unreadable(heard),
        peers.names(heard),
        peers.versions(heard),
        peers.definitions(heard),
        peers.topics(heard),
        peers.bundles(heard, own_model_id, bundle_is_named),
        peers.clocks(heard),
        peers.statuses(heard),
    ]


def listen(seconds: float) -> Heard | Finding:
    """What was heard, or what keeps ROS from being started here.

    Args:
        seconds: how long to listen [s].
    """
    check, source = "ROS 2", "source install/setup.bash, or use `make codesign` in a checkout"
    try:
        from codesign_ros.nodes.watching.listener import Listener
    except ImportError as error:
        return fail(check, f"it, or this package's messages, are not here: {error}", source)
    try:
        listener = Listener("codesign_doctor")
    except CodesignError as error:
        return fail(check, str(error), "see the checks of ROS 2 and DDS above")
    end_s = time.monotonic() + seconds
    try:
        while (left_s := end_s - time.monotonic()) > 0:
            listener.follow_results()
            time.sleep(min(_LOOK_S, left_s))
        return Heard(seconds, listener.graph(), list(listener.news()))
    finally:
        listener.close()
