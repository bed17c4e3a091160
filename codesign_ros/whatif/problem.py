"""Solving the co-design problem on the command line, without any node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from codesign_ros.bundle import Bundle
from codesign_ros.cost.catalogue import find_device, load_devices
from codesign_ros.cost.half_times import Extent, HalfTimes
from codesign_ros.cost.interpolate import between_cuts
from codesign_ros.cost.model import analytic_tables, measured_tables
from codesign_ros.cost.profile import profile_network
from codesign_ros.cost.roofline import RooflineMode
from codesign_ros.cost.tables import Axes
from codesign_ros.cost.utilisation import fit_utilisation, timings_of
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.engines.factory import open_backend
from codesign_ros.planning.objective import Objective
from codesign_ros.planning.problem import Limits, Problem
from codesign_ros.profiling.profile import profile_cached
from codesign_ros.types.codec_names import NECK_CODECS
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import Merge, Part, Structure
from codesign_ros.types.links import LinkSpec
from codesign_ros.whatif.coding import Profiled, with_coding
from codesign_ros.whatif.device_times import read_device_times

ANSWER_BYTES = 300.0
"""Size of an answer [bytes]: ``InferenceResult`` serialised takes 136 and 32 for each object found
(label of 6 letters), or 136 and about 16 for each class; so 5 objects or 10 classes make 300."""


@dataclass(frozen=True)
class WhatIf:
    """Conditions to solve for; see the command ``codesign plan``.

    Attributes:
        mode: cost model, one of ``cost.model.MODES``.
        robot: the device of the head.
        servers: devices that may run the tail.
        links: the uplink to each of them.
        structures, merges, precisions, codecs, frame_codecs: what can be chosen.
        objective: which time counts in Eq. 11.
        lambda_1: weight of the accuracy loss [s per unit of loss].
        limits: what a plan must keep.
        frame_rate_hz, window, late_share: as in ``Problem``.
        profiles: mode ``measured``: what was measured on other machines, by ``head`` and ``tail``;
            this machine measures what is not there.
        profiled_on: the devices on which they were measured, likewise; mode ``roofline`` scales
            what codecs and preparation took there.
        sendable_bytes: mode ``measured``: mean size of the camera's JPEGs where cut 0 sends them as
            they are [bytes]; 0 = it cannot.
        notes: what is to be said beside the notes of the tables, one line each.
    """

    mode: str
    robot: DeviceSpec
    servers: tuple[DeviceSpec, ...]
    links: tuple[LinkSpec, ...]
    structures: tuple[Structure, ...]
    merges: tuple[Merge, ...]
    precisions: tuple[str, ...]
    codecs: tuple[str, ...]
    frame_codecs: tuple[str, ...]
    objective: Objective = Objective.LATENCY
    lambda_1: float = 0.0
    limits: Limits = field(default_factory=Limits)
    frame_rate_hz: float | None = None
    window: int | None = None
    late_share: float | None = None
    profiles: Mapping[Part, HalfTimes] = field(default_factory=dict)
    profiled_on: Mapping[Part, DeviceSpec] = field(default_factory=dict)
    sendable_bytes: float = 0.0
    notes: tuple[str, ...] = ()


def what_if_problem(bundle: Bundle, what_if: WhatIf) -> Problem:
    """Write down Eq. 11 for a robot, servers and links.

    The sizes of codecs whose output depends on the values (zstd, JPEG) are measured on the
    bundle's calibration frames in every mode.

    Raises:
        CodesignError: a limit stands on what is not known, or a device cannot be measured here.
    """
    names = tuple(device.name for device in what_if.servers)
    left_out = {*NECK_CODECS} - {*bundle.neck_codecs}
    codecs = tuple(sorted({*what_if.codecs, *what_if.frame_codecs} - left_out))
    axes = Axes(what_if.structures, what_if.merges, what_if.precisions, codecs, names)
    # S3 counts the load of Eq. 10, whatever is allowed.
    structures = dict.fromkeys((Structure.S3, *what_if.structures))
    network = profile_network(bundle.network(), structures)
    head = what_if.profiles.get("head") or _measured(bundle, "head", what_if)
    if what_if.mode == "measured":
        heads = between_cuts(network, head, what_if.robot)
        tail = what_if.profiles.get("tail") or _measured(bundle, "tail", what_if)
        tails = [between_cuts(network, tail, d, tail=True) for d in what_if.servers]
        tables = measured_tables(
            network.segments,
            heads,
            tails,
            axes,
            bundle.accuracy,
            what_if.sendable_bytes,
            network,
            robot_power_w=what_if.robot.power_w,
            answer_bytes=ANSWER_BYTES,
        )
        estimates = [("head", heads), *(("tail", each) for each in tails)]
        notes = tuple(
            f"{len(each.estimated)} {part} times were not measured but estimated from others "
            "('codesign profile --complete' measures all)"
            for part, each in dict(estimates).items()
            if each.estimated
        )
    else:
        tables = analytic_tables(
            network,
            what_if.robot,
            what_if.servers,
            RooflineMode(what_if.mode),
            axes,
            bundle.accuracy,
            head.codec_bytes,
            ANSWER_BYTES,
            {
                neck.cut: profile_network(bundle.network_with_neck(neck.cut), structures)
                for neck in bundle.necks
            },
            head.codec_spread,
        )
        notes = ()
        if what_if.mode == RooflineMode.ROOFLINE.value:
            profiled = {
                part: Profiled(device, what_if.profiles[part])
                for part, device in what_if.profiled_on.items()
            }
            tables = with_coding(tables, network, what_if.robot, what_if.servers, profiled)
    tables = replace(tables, notes=(*tables.notes, *notes, *what_if.notes))
    return Problem(
        tables=tables,
        links=what_if.links,
        objective=what_if.objective,
        lambda_1=what_if.lambda_1,
        codecs=what_if.codecs,
        frame_codecs=what_if.frame_codecs,
        limits=what_if.limits,
        frame_rate_hz=what_if.frame_rate_hz,
        window=what_if.window,
        late_share=what_if.late_share,
    )


def known_devices(
    path: Path, bundle: Bundle, mode: str, profiled: Sequence[str]
) -> tuple[dict[str, DeviceSpec], tuple[str, ...]]:
    """Read the known devices; give all the utilisation of those that were ``profiled``.

    Args:
        path: file of the devices.
        bundle: the network that was timed.
        mode: the cost model; a fit is for ``roofline``.
        profiled: files of ``codesign profile``.

    Returns:
        The devices by name, and a line that says what was fitted and how far it is off.

    Raises:
        CodesignError: a file cannot be read, or a device that was timed is not known.
    """
    devices = load_devices(path)
    if not profiled:
        return devices, ()
    if mode != "roofline":
        raise CodesignError(f"--fit is for mode roofline, not {mode}")
    times = [read_device_times(Path(each), bundle) for each in profiled]
    network = profile_network(bundle.network())
    timings = []
    for name, timed in times:
        device = find_device(devices, name)
        for part, each in timed.items():
            timings += timings_of(network, each, device, tail=part == "tail")
    fit = fit_utilisation(timings)
    names = ", ".join(dict.fromkeys(name for name, _ in times))
    how = f"predicted with each {fit.left_out} left out in turn" if fit.left_out else "of the fit"
    return {name: fit.applied(device) for name, device in devices.items()}, (
        f"utilisation {fit.utilisation:.3g} fitted to {fit.timings} timings of {names}; error "
        f"{how}: median {fit.median_error:.0%}, worst {fit.worst_error:.0%}",
    )


def _measured(bundle: Bundle, part: Part, what_if: WhatIf) -> HalfTimes:
    """Time a part here, or read what was timed before.

    The other modes need the sizes of codecs alone, which come with the fp32 times.
    """
    extent = Extent()
    if what_if.mode == "measured":
        extent = Extent(structures=what_if.structures, precisions=what_if.precisions)
    return profile_cached(bundle, open_backend(bundle), part, default_cache_dir(), extent)
