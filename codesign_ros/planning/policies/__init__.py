"""Policies of ours and its parts, of the peers and of the ablations, all under one cost model.

Every file names its paper and what was simplified. A policy whose inputs are not there raises
``CodesignError`` with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping

from codesign_ros.planning.policies.ablations import (
    WithoutCodec,
    WithoutDynamicStructure,
    WithoutMultiObjective,
    WithoutNeck,
    WithoutPrecision,
    WithoutRoofline,
)
from codesign_ros.planning.policies.adia import Adia
from codesign_ros.planning.policies.base import CloudTier, Decision, Policy, Situation
from codesign_ros.planning.policies.cloud import Cloud
from codesign_ros.planning.policies.cloud_edge import CloudEdge
from codesign_ros.planning.policies.device_only import DeviceOnly
from codesign_ros.planning.policies.mpms import Mpms
from codesign_ros.planning.policies.neurosurgeon import Criterion, Neurosurgeon
from codesign_ros.planning.policies.ours import Ours
from codesign_ros.planning.policies.roofsplit import RoofSplit
from codesign_ros.planning.policies.scinet import SciNet
from codesign_ros.planning.policies.secda import Secda
from codesign_ros.planning.policies.server_only import ServerOnly
from codesign_ros.planning.policies.sidd import Sidd

__all__ = ["PARTS_OF_OURS", "POLICIES", "CloudTier", "Decision", "Policy", "Situation"]

PARTS_OF_OURS = (
    Ours(structure=False, codec=False, precision=False),
    Ours(codec=False, precision=False),
    Ours(precision=False),
)
"""Ours with one more thing to choose each, the first the cut alone; ours itself comes last."""

_ALL: tuple[Policy, ...] = (
    Ours(),
    *PARTS_OF_OURS,
    DeviceOnly(),
    ServerOnly("raw"),
    ServerOnly("jpeg"),
    ServerOnly("jpeg444"),
    Neurosurgeon(),
    Neurosurgeon(Criterion.ENERGY),
    RoofSplit(),
    Sidd(),
    Mpms(),
    Mpms(look_ahead=True),
    SciNet(),
    Secda(),
    Adia(),
    Cloud(),
    CloudEdge(),
    WithoutRoofline(),
    WithoutDynamicStructure(),
    WithoutMultiObjective(),
    WithoutCodec(),
    WithoutNeck(),
    WithoutPrecision(),
)

POLICIES: Mapping[str, Policy] = {policy.name: policy for policy in _ALL}
"""All policies by name: ours and its parts, baselines, peers, with a cloud, ablations."""
