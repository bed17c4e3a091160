"""Operations, memory traffic and crossing tensors of a network, by segment and structure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codesign_ros.types import CodesignError, Merge, Structure, TensorSpec

if TYPE_CHECKING:
    from codesign_ros.models.layers import LayerRecord
    from codesign_ros.models.network import Network

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class NetworkProfile:
    """What each segment of a network costs in each structure, batch 1, fp32.

    Attributes:
        segment_names: the N segments in order.
        crossings: for each cut 0..N the tensors that cross; at cut 0 the uint8 frame (H, W, 3).
        segment_flops: floating point operations of each segment [FLOP].
        segment_bytes: memory traffic of each segment [bytes]: every operation reads its weights
            and inputs and writes its output.
    """

    segment_names: tuple[str, ...]
    crossings: tuple[tuple[TensorSpec, ...], ...]
    segment_flops: Mapping[Structure, tuple[int, ...]]
    segment_bytes: Mapping[Structure, tuple[int, ...]]

    @property
    def segments(self) -> int:
        """N, the number of segments and the highest cut."""
        return len(self.segment_names)

    def flops(self, cut_from: int, cut_to: int, structure: Structure) -> int:
        """Sum the operations of the segments between two cuts, C_i of Eq. 1 [FLOP]."""
        self._check(cut_from, cut_to)
        return sum(self.segment_flops[structure][cut_from:cut_to])

    def bytes(self, cut_from: int, cut_to: int, structure: Structure) -> int:
        """Sum the memory traffic of the segments between two cuts, M_i of Eq. 1 [bytes]."""
        self._check(cut_from, cut_to)
        return sum(self.segment_bytes[structure][cut_from:cut_to])

    def load_fraction(self, cut: int, structure: Structure) -> float:
        """Share of the operations that lie before ``cut``: lambda of Eq. 5, 0 to 1."""
        return self.flops(0, cut, structure) / self.flops(0, self.segments, structure)

    def _check(self, cut_from: int, cut_to: int) -> None:
        if not 0 <= cut_from <= cut_to <= self.segments:
            raise CodesignError(
                f"no segments from cut {cut_from} to {cut_to}: cuts are 0 to {self.segments}"
            )


def profile_network(network: Network) -> NetworkProfile:
    """Count what a trained (not yet re-parameterised) network does in each structure.

    Only shapes are worked out; no weights are read. Folding and pruning cost the same, since the
    branches that do not stay are gone either way.
    """
    # Here and not above: torch takes seconds to import, and a planner that works from measured
    # times reads no network.
    from codesign_ros.models.layers import layer_records
    from codesign_ros.models.network import on_meta
    from codesign_ros.models.reparam import reparameterize

    names = network.segment_names
    flops: dict[Structure, tuple[int, ...]] = {}
    traffic: dict[Structure, tuple[int, ...]] = {}
    shapes = on_meta(network)
    for structure in Structure:
        records = layer_records(reparameterize(shapes, structure, Merge.FOLD))
        flops[structure] = _by_segment(names, ((r.segment, r.flops) for r in records))
        traffic[structure] = _by_segment(names, ((r.segment, traffic_bytes(r)) for r in records))
    frame = TensorSpec("image", (network.input_spec.height, network.input_spec.width, 3), "uint8")
    crossings = ((frame,), *(network.crossing(cut) for cut in range(1, len(names) + 1)))
    return NetworkProfile(names, crossings, flops, traffic)


def traffic_bytes(record: LayerRecord) -> int:
    """Memory traffic of one operation in fp32: weights and inputs read, output written [bytes]."""
    return FLOAT32_BYTES * (record.weights + record.input_elements + record.output_elements)


def _by_segment(names: tuple[str, ...], amounts: Iterable[tuple[str, int]]) -> tuple[int, ...]:
    totals = np.zeros(len(names), np.int64)
    index = {name: i for i, name in enumerate(names)}
    for name, amount in amounts:
        totals[index[name]] += amount
    return tuple(totals.tolist())
