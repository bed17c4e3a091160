"""Solving the co-design problem on the command line, without any node."""

from __future__ import annotations

from dataclasses import dataclass

from codesign_ros.bundle import Bundle
from codesign_ros.cost.devices import find_device, load_devices
from codesign_ros.cost.measured import MeasuredStages
from codesign_ros.cost.model import AnalyticCost, MeasuredCost
from codesign_ros.cost.profile import NetworkProfile, profile_network
from codesign_ros.cost.roofline import RooflineMode
from codesign_ros.engines.cache import default_cache_dir
from codesign_ros.engines.factory import EngineFactory
from codesign_ros.planning.objective import Objective
from codesign_ros.planning.problem import CostModel, Problem
from codesign_ros.planning.solvers import Solution, grid
from codesign_ros.resources import resource_path
from codesign_ros.runtime.profiling import Part, StageProfile, profile_cached
from codesign_ros.types import CodesignError, LinkSpec, Merge

_BUDGET_S = 3.0


@dataclass(frozen=True)
class WhatIf:
    """Conditions to solve for; see the command ``codesign plan``."""

    mode: str
    robot: str
    server: str
    link_bps: float
    link_delay_s: float
    merges: tuple[Merge, ...]
    objective: Objective
    lambda_1: float
    codecs: tuple[str, ...]
    frame_codecs: tuple[str, ...]


def solve_what_if(bundle: Bundle, what_if: WhatIf) -> Solution:
    """Solve Eq. 11 for two devices and a link.

    The sizes of codecs whose output depends on the values (zstd, JPEG) are measured on the
    bundle's calibration frames in every mode.

    Raises:
        CodesignError: a device is not known, the link's rate makes no sense, or nothing fits.
    """
    if what_if.link_bps <= 0:
        raise CodesignError(f"the link's rate must be above 0 bit/s, not {what_if.link_bps:g}")
    return grid(
        Problem(
            cost=_cost(bundle, what_if),
            link=LinkSpec(what_if.link_bps, what_if.link_delay_s),
            merges=what_if.merges,
            codecs=what_if.codecs,
            frame_codecs=what_if.frame_codecs,
            objective=what_if.objective,
            lambda_1=what_if.lambda_1,
        )
    )


def measure_here(
    bundle: Bundle, part: Part, budget_s: float, precisions: tuple[str, ...] = ()
) -> StageProfile:
    """Time one part of a bundle's network on this machine, or read what was timed before.

    In fp32, and in ``precisions`` too.
    """
    factory = EngineFactory(bundle)
    return profile_cached(bundle, factory, part, budget_s, default_cache_dir(), precisions)


def profile_network_of(bundle: Bundle) -> NetworkProfile:
    """FLOPs, bytes and crossing sizes of a bundle's network."""
    return profile_network(bundle.network())


def _cost(bundle: Bundle, what_if: WhatIf) -> CostModel:
    if what_if.mode != "measured":
        devices = load_devices(resource_path("config") / "devices.yaml")
        robot, server = (find_device(devices, n) for n in (what_if.robot, what_if.server))
        sizes = measure_here(bundle, "head", _BUDGET_S).codec_bytes
        mode = RooflineMode(what_if.mode)
        network = profile_network_of(bundle)
        return AnalyticCost(network, robot, server, mode, bundle.accuracy, sizes)
    head = measure_here(bundle, "head", _BUDGET_S)
    tail = measure_here(bundle, "tail", _BUDGET_S)
    return MeasuredCost(
        len(bundle.segments),
        MeasuredStages(head.stage_s, head.codec_s, head.precision_s),
        MeasuredStages(tail.stage_s, tail.codec_s, tail.precision_s),
        head.codec_bytes,
        bundle.accuracy,
    )
