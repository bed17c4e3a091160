"""For what ``codesign plan`` plans, read from its options."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from codesign_ros.bundle import Bundle
from codesign_ros.cli.common import check_late_share, codecs_chosen
from codesign_ros.cost.accuracy import loss_allowed
from codesign_ros.cost.catalogue import find_device, find_link, load_links
from codesign_ros.cost.half_times import HalfTimes
from codesign_ros.planning.objective import parse_objective
from codesign_ros.planning.problem import Limits
from codesign_ros.resources import resource_path
from codesign_ros.runtime.planner.settings import PlannerSettings
from codesign_ros.types.codec_names import NECK_CODECS
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import PRECISIONS, Merge, Part, Structure
from codesign_ros.types.links import LinkSpec
from codesign_ros.whatif.device_times import read_device_times
from codesign_ros.whatif.problem import WhatIf, known_devices
from codesign_ros.wire.codecs import FRAME_CODECS, TENSOR_CODECS


def catalogue(
    options: argparse.Namespace, bundle: Bundle
) -> tuple[dict[str, DeviceSpec], dict[str, LinkSpec], tuple[str, ...]]:
    """Read the known devices, links, and a note on the devices' fit if there is one.

    Raises:
        CodesignError: a file cannot be read, or has an entry that is not sound.
    """
    config = resource_path("config")
    devices = Path(options.devices or config / "devices.yaml")
    links = load_links(Path(options.links or config / "links.yaml"))
    known, notes = known_devices(devices, bundle, options.mode, options.fit or ())
    return known, links, notes


def for_one_robot(
    options: argparse.Namespace, bundle: Bundle
) -> tuple[WhatIf, DeviceSpec, LinkSpec]:
    """Read the options; return the conditions, the cloud's device and the link to it.

    Raises:
        CodesignError: a device or link is not known, or an option does not go with another one.
    """
    devices, links, notes = catalogue(options, bundle)
    names = (options.robot or "jetson-nano", *(options.server or ["rtx-4090"]))
    robot, *servers = (find_device(devices, name) for name in names)
    if len({device.name for device in servers}) < len(servers):
        raise CodesignError("a server is named twice; name each device once")
    profiles: dict[Part, HalfTimes] = {}
    profiled_on: dict[Part, DeviceSpec] = {}
    files: dict[Part, str | None] = {"head": options.robot_profile, "tail": options.server_profile}
    for part, file in files.items():
        if file is not None:
            name, times = read_device_times(Path(file), bundle)
            profiles[part] = times[part]
            if options.mode == "roofline":
                profiled_on[part] = find_device(devices, name)
    uplinks = [find_link(links, name) for name in options.link or ["10mbps"]]
    if options.link_delay_ms is not None:
        delay_s = options.link_delay_ms * 1e-3
        uplinks = [replace(link, delay_s=delay_s, downlink_delay_s=delay_s) for link in uplinks]
    if options.transmit_w is not None:
        uplinks = [replace(link, transmit_w=options.transmit_w) for link in uplinks]
    if len(uplinks) == 1:
        uplinks *= len(servers)
    if len(uplinks) != len(servers):
        raise CodesignError(
            f"{len(uplinks)} links for {len(servers)} servers; name one for all or each one's"
        )
    what_if = conditions(
        *(options, bundle, robot, tuple(servers), tuple(uplinks)),
        notes=notes,
        profiles=profiles,
        profiled_on=profiled_on,
    )
    cloud, cloud_link = options.cloud or "rtx-4090", options.cloud_link or "100mbps"
    return what_if, find_device(devices, cloud), find_link(links, cloud_link)


def conditions(
    options: argparse.Namespace,
    bundle: Bundle,
    robot: DeviceSpec,
    servers: tuple[DeviceSpec, ...],
    links: tuple[LinkSpec, ...],
    **more: Any,
) -> WhatIf:
    """Read what can be chosen, and the limits, for a robot and its servers; ``more`` goes along.

    Raises:
        CodesignError: the accuracy floor is out of reach, or nothing was measured.
    """
    check_late_share(options.late_share, links)
    default = PlannerSettings()
    chosen = codecs_chosen(options.codec)
    floor = options.accuracy_floor
    limits = Limits(
        accuracy_loss=None if floor is None else loss_allowed(bundle.accuracy, floor),
        deadline_s=_scaled(options.deadline_ms, 1e-3),
        uplink_bytes_per_s=options.uplink_bytes_per_s,
        robot_memory_bytes=_memory(options.robot_memory_mb, robot),
        server_memory_bytes=_memory(options.server_memory_mb, *servers),
        robot_energy_j=_scaled(options.robot_energy_mj, 1e-3),
    )
    every = ("fp32",) if options.mode == "measured" else PRECISIONS
    return WhatIf(
        mode=options.mode,
        robot=robot,
        servers=servers,
        links=links,
        structures=tuple(map(Structure, options.structure)),
        merges=tuple(map(Merge, options.merge)),
        precisions=tuple(options.precision or every),
        codecs=tuple(chosen.get("codecs", (*TENSOR_CODECS, *NECK_CODECS))),
        frame_codecs=tuple(chosen.get("frame_codecs", FRAME_CODECS)),
        objective=parse_objective(options.objective or default.objective.value),
        lambda_1=default.lambda_1 if options.lambda_1 is None else options.lambda_1,
        limits=limits,
        frame_rate_hz=options.frame_rate_hz,
        window=options.window,
        late_share=options.late_share,
        **more,
    )


def _memory(asked_mb: float | None, *devices: DeviceSpec) -> float | None:
    """The memory asked for, or that of the smallest device where it is known [bytes]."""
    if asked_mb is not None:
        return asked_mb * 1e6
    least = min(device.memory_bytes for device in devices)
    return least if math.isfinite(least) else None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
