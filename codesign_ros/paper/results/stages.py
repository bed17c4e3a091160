"""The times of Eq. 8 for every cut and pair of structures, and what "throughput" may mean."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from codesign_ros.cost.link import occupancy_s, travel_s
from codesign_ros.cost.model import analytic_tables
from codesign_ros.cost.payload import payload_bytes
from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.cost.roofline import RooflineMode
from codesign_ros.cost.tables import NO_CODEC, Axes, CostTables
from codesign_ros.paper.results.networks import SIDES, VARIANTS
from codesign_ros.planning.policies.base import Situation
from codesign_ros.planning.policies.roofsplit import RoofSplit
from codesign_ros.planning.problem import Problem
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.forms import BRANCH_STRUCTURES, Structure
from codesign_ros.types.links import LinkSpec

PIPELINE, ONE_AT_A_TIME, SENDING_FREE = "pipeline", "one at a time", "sending free"
READINGS: Mapping[str, str] = {
    PIPELINE: "the next frame starts while this one is on its way: 1 / slowest stage",
    ONE_AT_A_TIME: "the next frame waits for this one's result: 1 / (T1 + T3 + T2)",
    SENDING_FREE: "a pipeline whose link takes no time: 1 / max(T1, T2)",
}

TIMES: Mapping[str, tuple[RooflineMode, str]] = {
    "paper": (RooflineMode.PAPER, "fp32"),
    "roofline fp32": (RooflineMode.ROOFLINE, "fp32"),
    "roofline fp16": (RooflineMode.ROOFLINE, "fp16"),
}
"""How a half's time follows from its work: Eq. 5 to the letter, or capped at the peak of a
precision; fp16 moves half the bytes."""

SENT: Mapping[str, str] = {"float32": NO_CODEC, "8 bit": "uint8"}
"""In which format tensors cross, and its codec; the frame is 8-bit RGB in both."""

S3 = BRANCH_STRUCTURES.index(Structure.S3)


class Accounting(NamedTuple):
    """What the paper leaves open: one way to fill it.

    Attributes:
        times: key of ``TIMES``.
        reading: key of ``READINGS``.
        sides: key of ``networks.SIDES``.
        repvgg: which RepVGG.
        sent: key of ``SENT``.
    """

    times: str
    reading: str
    sides: str
    repvgg: str
    sent: str

    def __str__(self) -> str:
        return (
            f"times {self.times}, {self.reading}, inputs {self.sides}, RepVGG-{self.repvgg}, "
            f"sent as {self.sent}"
        )


ACCOUNTINGS = tuple(
    Accounting(*choice)
    for choice in itertools.product(TIMES, READINGS, SIDES, VARIANTS["RepVGG"], SENT)
)
"""All ways, 108 of them."""


class Free(NamedTuple):
    """What is free in the model.

    Attributes:
        base_s: time that every frame takes beside Eq. 8 [s].
        robot: 1 / mu_1 of Eq. 5, 1 or more.
        server: 1 / mu_2 of Eq. 6, 1 or more.
    """

    base_s: float | np.ndarray = 0.0
    robot: float | np.ndarray = 1.0
    server: float | np.ndarray = 1.0


@dataclass(frozen=True, eq=False)
class Stages:
    """T1, T3 and T2 at full use of both devices; S structures, cuts 0..N.

    Attributes:
        head_s: (N+1, S) T1 [s].
        link_s: (N+1,) how long what crosses keeps the link [s].
        delay_s: (N+1,) what a frame spends on the link beside, there and back [s].
        tail_s: (N+1, S) T2 [s].
    """

    head_s: np.ndarray
    link_s: np.ndarray
    delay_s: np.ndarray
    tail_s: np.ndarray

    def period_s(self, reading: str, free: Free) -> np.ndarray:
        """Time between two results, (N+1, S, S) for cut, head's and tail's structure [s]."""
        head_s = free.robot * self.head_s[:, :, None]
        tail_s = free.server * self.tail_s[:, None, :]
        link_s, delay_s = self.link_s[:, None, None], self.delay_s[:, None, None]
        return free.base_s + period_s(reading, head_s, link_s, tail_s, delay_s)

    def latency_s(self, free: Free) -> np.ndarray:
        """Time of one frame that waits for none, likewise [s]."""
        return self.period_s(ONE_AT_A_TIME, free)


def period_s(
    reading: str, head_s: np.ndarray, link_s: np.ndarray, tail_s: np.ndarray, delay_s: np.ndarray
) -> np.ndarray:
    """Time between two results [s]; a delay keeps nobody but those who wait for the answer."""
    if reading == ONE_AT_A_TIME:
        return head_s + link_s + delay_s + tail_s
    slowest_s = np.maximum(head_s, tail_s)
    return slowest_s if reading == SENDING_FREE else np.maximum(slowest_s, link_s)


def stages_of(
    network: NetworkProfile,
    robot: DeviceSpec,
    server: DeviceSpec,
    link: LinkSpec,
    times: str,
    sent: str,
) -> Stages:
    """Work out all stages at full use, whatever the devices' own utilisation is.

    Args:
        network: what it does.
        robot: Device 1.
        server: Device 2.
        link: what joins them.
        times: key of ``TIMES``.
        sent: key of ``SENT``.
    """
    tables = tables_of(network, robot, server, times, sent)
    delay_s = np.full(tables.segments + 1, travel_s(link, answer_bytes=0.0))
    delay_s[-1] = 0.0
    return Stages(
        robot.utilisation * tables.head_s[:, :, 0],
        occupancy_s(tables.payload_bytes[:, 0], link),
        delay_s,
        server.utilisation * tables.tail_s[0, :, :, 0],
    )


def tables_of(
    network: NetworkProfile, robot: DeviceSpec, server: DeviceSpec, times: str, sent: str
) -> CostTables:
    """Work out what every choice costs; arguments as of ``stages_of``.

    Returns:
        With one codec, which has the size of what is sent; what it and precision lose is left out.
    """
    mode, precision = TIMES[times]
    axes = Axes(BRANCH_STRUCTURES, precisions=(precision,), servers=(server.name,))
    sizes = {
        (cut, NO_CODEC): float(sum(payload_bytes(t, SENT[sent]) or t.nbytes for t in crossing))
        for cut, crossing in enumerate(network.crossings)
    }
    tables = analytic_tables(network, robot, [server], mode, axes, measured_bytes=sizes)
    return replace(tables, structure_loss=np.zeros_like(tables.structure_loss))


def roofsplit_cut(
    network: NetworkProfile,
    robot: DeviceSpec,
    server: DeviceSpec,
    link: LinkSpec,
    times: str,
    sent: str,
) -> int:
    """Where RoofSplit cuts, which looks at peaks: see its policy. Arguments as of ``stages_of``."""
    problem = Problem(tables_of(network, robot, server, times, sent), (link,))
    return RoofSplit().decide(Situation(problem, robot, server)).row.candidate.cut
