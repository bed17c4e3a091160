"""The networks of the paper's Table II as operations, and how near each accounting comes to it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from codesign_ros.cost.intensity import (
    ACCOUNTINGS,
    Forms,
    Pair,
    distance,
    forms_of,
    intensities,
)
from codesign_ros.paper.printed import TABLE_2
from codesign_ros.types.tensors import InputSpec

_INPUT = InputSpec(224, 224)


@dataclass(frozen=True)
class Zoo:
    """The networks of Table II as operations, and how near the accountings come to the paper.

    Attributes:
        forms: by the paper's name and the variant; "" where there is one variant. The paper does
            not say which RepVGG it has, so all are here.
    """

    forms: Mapping[str, Mapping[str, Forms]]

    def variant(self, name: str, accounting: str) -> str:
        """The variant of a network that comes closest to the paper."""
        variants = self.forms[name]
        return min(
            variants, key=lambda v: distance(intensities(variants[v], accounting), TABLE_2[name])
        )

    def network_intensities(self, name: str, accounting: str) -> Pair:
        """Intensities of that variant [FLOP/byte]."""
        return intensities(self.forms[name][self.variant(name, accounting)], accounting)

    def network_distance(self, name: str, accounting: str) -> float:
        """How far that variant lies from the paper: mean abs(log(ours / paper)) of both forms."""
        return distance(self.network_intensities(name, accounting), TABLE_2[name])

    @cached_property
    def distances(self) -> dict[str, float]:
        """How far each accounting lies from the paper, the mean over all networks."""
        return {
            each: statistics.fmean(self.network_distance(name, each) for name in TABLE_2)
            for each in ACCOUNTINGS
        }

    @property
    def closest(self) -> str:
        """The accounting that comes closest to the paper."""
        return min(self.distances, key=self.distances.__getitem__)

    def alone(self, name: str) -> str:
        """The accounting that comes closest for one network, whatever it gives for the others."""
        return min(ACCOUNTINGS, key=lambda each: self.network_distance(name, each))


def count_zoo(progress: Callable[[int, int], None] = lambda done, total: None) -> Zoo:
    """Count the operations of all networks of Table II at 224 x 224.

    Args:
        progress: is told how many networks of how many are done.
    """
    # Here and not above: torch takes seconds to import, and Table III alone needs no network.
    from codesign_ros.models.zoo.rep import VARIANTS, shapes_of

    all_of_them = [(name, variant) for name in TABLE_2 for variant in VARIANTS[name]]
    forms: dict[str, dict[str, Forms]] = {name: {} for name in TABLE_2}
    for done, (name, variant) in enumerate(all_of_them, start=1):
        forms[name][variant] = forms_of(shapes_of(name, variant, _INPUT))
        progress(done, len(all_of_them))
    return Zoo(forms)
