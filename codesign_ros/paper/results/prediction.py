"""Throughput of every method of Table IV by Eq. 8, under every accounting, on any robot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from codesign_ros.cost.profile import NetworkProfile
from codesign_ros.paper.results.fitting import CELLS, Cell, Fit, fit, printed_fps
from codesign_ros.paper.results.networks import Subject
from codesign_ros.paper.results.printed import (
    DATA_SETS,
    METHODS,
    MODELS,
    OURS,
    ROOFSPLIT,
    SIDD,
    WO_DYNAMIC,
    WO_MULTI,
    WO_ROOFLINE,
)
from codesign_ros.paper.results.stages import (
    ACCOUNTINGS,
    S3,
    Accounting,
    Free,
    Stages,
    roofsplit_cut,
    stages_of,
)
from codesign_ros.types.devices import DeviceSpec
from codesign_ros.types.links import LinkSpec


def method_fps(stages: Stages, reading: str, free: Free, roofsplit: int) -> dict[str, float]:
    """Throughput of every method of Table IV [images/s].

    Ours takes the fastest cut and structures; accuracy, of which nothing is known, does not count.
    A structure drawn at random is every one with equal probability, and what is told is the
    geometric mean over all draws. SIDD's super-resolution is not known, so it is the network alone
    at the cut where one frame takes least, which it cannot beat.

    Args:
        stages: of the network.
        reading: what throughput is.
        free: what was fitted.
        roofsplit: where RoofSplit cuts.
    """
    period_s = stages.period_s(reading, free)
    structures = range(period_s.shape[1])
    # With one half empty, both have one structure.
    whole = np.array([period_s[0, s, s] for s in structures])
    alone = np.array([period_s[-1, s, s] for s in structures])
    inner = period_s[1:-1].min(axis=0)
    drawn = np.minimum(np.minimum(inner, whole), alone[:, None])
    sidd = int(stages.latency_s(free)[:, S3, S3].argmin())
    found_s = {
        SIDD: period_s[sidd, S3, S3],
        ROOFSPLIT: period_s[roofsplit, S3, S3],
        OURS: min(inner.min(), whole.min(), alone.min()),
        WO_ROOFLINE: whole.min(),
        WO_DYNAMIC: np.exp(np.log(drawn).mean()),
        WO_MULTI: np.exp(np.log(whole).mean()),
    }
    return {method: 1.0 / float(value) for method, value in found_s.items()}


@dataclass
class Bench:
    """The paper's experiment: its networks, robots, server and link.

    Attributes:
        networks: what they do.
        robots: Device 1 by name; what is free is fitted on the first.
        server: Device 2.
        link: what joins them.
    """

    networks: Mapping[Subject, NetworkProfile]
    robots: Mapping[str, DeviceSpec]
    server: DeviceSpec
    link: LinkSpec
    _stages: dict[tuple[Subject, str, str, str], tuple[Stages, int]] = field(default_factory=dict)

    def stages(
        self, accounting: Accounting, model: int, data_set: int, robot: str
    ) -> tuple[Stages, int]:
        """Return the stages of a cell, and where RoofSplit cuts there."""
        of = Subject.of(MODELS[model], accounting.repvgg, data_set, accounting.sides)
        key = (of, robot, accounting.times, accounting.sent)
        if key not in self._stages:
            given = (self.networks[of], self.robots[robot], self.server, self.link)
            ways = accounting.times, accounting.sent
            self._stages[key] = stages_of(*given, *ways), roofsplit_cut(*given, *ways)
        return self._stages[key]

    @cached_property
    def fits(self) -> dict[Accounting, Fit]:
        """What is free under every accounting, by the RoofSplit rows alone."""
        fps = printed_fps(ROOFSPLIT)
        return {each: fit(self._cells(each), each.reading, fps) for each in ACCOUNTINGS}

    def _cells(self, accounting: Accounting) -> list[Cell]:
        first = next(iter(self.robots))
        cells = []
        for model, data_set in CELLS:
            stages, cut = self.stages(accounting, model, data_set, first)
            cells.append(
                Cell(
                    *(float(stages.head_s[cut, S3]), float(stages.link_s[cut])),
                    *(float(stages.delay_s[cut]), float(stages.tail_s[cut, S3])),
                )
            )
        return cells

    def predictions(
        self, robot: str, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> dict[str, np.ndarray]:
        """Predict all cells with a robot; its mu_1 is the first robot's.

        Returns:
            By method (accountings, models, data sets) [images/s].
        """
        fps = {m: np.empty((len(ACCOUNTINGS), len(MODELS), len(DATA_SETS))) for m in METHODS}
        for i, accounting in enumerate(ACCOUNTINGS):
            free = self.fits[accounting].free
            for model, data_set in CELLS:
                stages, cut = self.stages(accounting, model, data_set, robot)
                found = method_fps(stages, accounting.reading, free, cut)
                for method, value in found.items():
                    fps[method][i, model, data_set] = value
            progress(i + 1, len(ACCOUNTINGS))
        return fps
