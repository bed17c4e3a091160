"""Operations, memory traffic and crossing tensors of a network, by segment and structure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import (
    BRANCH_STRUCTURES,
    NUMBER_BYTES,
    Merge,
    Structure,
    number_format,
)
from codesign_ros.types.tensors import TensorSpec

if TYPE_CHECKING:
    from codesign_ros.models.layers import LayerRecord
    from codesign_ros.models.network import Network

FLOAT32_BYTES = NUMBER_BYTES["fp32"]


@dataclass(frozen=True)
class NetworkProfile:
    """What each segment of a network costs in each structure, batch 1, fp32.

    Attributes:
        segment_names: the N segments in order.
        crossings: for each cut 0..N the tensors that cross; at cut 0 the uint8 frame (H, W, 3).
        segment_flops: floating point operations of each segment [FLOP].
        segment_bytes: memory traffic of each segment [bytes]: every operation reads its weights
            and inputs and writes its output.
        segment_weights: size of each segment's weights [bytes].
        segment_activations: the largest set of activations that are alive at once while each
            segment runs, with those that only pass it by [bytes].
    """

    segment_names: tuple[str, ...]
    crossings: tuple[tuple[TensorSpec, ...], ...]
    segment_flops: Mapping[Structure, tuple[int, ...]]
    segment_bytes: Mapping[Structure, tuple[int, ...]]
    segment_weights: Mapping[Structure, tuple[int, ...]]
    segment_activations: Mapping[Structure, tuple[int, ...]]

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

    def head_memory_bytes(self, cut: int, structure: Structure, precision: str) -> float:
        """Memory that the segments before ``cut`` need: see :meth:`memory_bytes` [bytes]."""
        return self.memory_bytes(0, cut, structure, precision)

    def tail_memory_bytes(self, cut: int, structure: Structure, precision: str) -> float:
        """Memory that the segments behind ``cut`` need: see :meth:`memory_bytes` [bytes]."""
        return self.memory_bytes(cut, self.segments, structure, precision)

    def memory_bytes(
        self, cut_from: int, cut_to: int, structure: Structure, precision: str
    ) -> float:
        """Memory that the segments between two cuts need while a frame passes [bytes].

        All their weights and the largest set of activations that are alive at once, in numbers of
        the precision's size. What the engine itself takes (code, workspace, other copies of the
        weights) comes on top. An empty half needs none.
        """
        self._check(cut_from, cut_to)
        if cut_from == cut_to:
            return 0.0
        weights = sum(self.segment_weights[structure][cut_from:cut_to])
        activations = max(self.segment_activations[structure][cut_from:cut_to])
        return (weights + activations) * NUMBER_BYTES[number_format(precision)] / FLOAT32_BYTES

    def _check(self, cut_from: int, cut_to: int) -> None:
        if not 0 <= cut_from <= cut_to <= self.segments:
            raise CodesignError(
                f"no segments from cut {cut_from} to {cut_to}: cuts are 0 to {self.segments}"
            )


def profile_network(
    network: Network, structures: Iterable[Structure] = BRANCH_STRUCTURES
) -> NetworkProfile:
    """Count what a trained (not yet re-parameterised) network does in some structures.

    Only shapes are worked out, but for ``rank``, whose shapes follow from the weights. Folding and
    pruning cost the same, since the branches that do not stay are gone either way; the ranks are
    those after folding.
    """
    # Here and not above: torch takes seconds to import, and a planner that works from measured
    # times reads no network.
    from codesign_ros.models.layers import layer_records
    from codesign_ros.models.memory import peak_live_bytes, weight_bytes
    from codesign_ros.models.network import on_meta
    from codesign_ros.models.reparam import reparameterize

    names = network.segment_names
    flops, traffic, weights, activations = {}, {}, {}, {}
    shapes = on_meta(network)
    for structure in structures:
        source = network if structure is Structure.RANK else shapes
        made = reparameterize(source, structure, Merge.FOLD)
        records = layer_records(made)
        flops[structure] = _by_segment(names, ((r.segment, r.flops) for r in records))
        traffic[structure] = _by_segment(names, ((r.segment, traffic_bytes(r)) for r in records))
        weights[structure] = weight_bytes(made)
        activations[structure] = peak_live_bytes(made)
    frame = TensorSpec("image", (network.input_spec.height, network.input_spec.width, 3), "uint8")
    crossings = ((frame,), *(network.crossing(cut) for cut in range(1, len(names) + 1)))
    return NetworkProfile(names, crossings, flops, traffic, weights, activations)


def traffic_bytes(record: LayerRecord) -> int:
    """Memory traffic of one operation in fp32: weights and inputs read, output written [bytes]."""
    return FLOAT32_BYTES * (record.weights + record.input_elements + record.output_elements)


def _by_segment(names: tuple[str, ...], amounts: Iterable[tuple[str, int]]) -> tuple[int, ...]:
    totals = np.zeros(len(names), np.int64)
    index = {name: i for i, name in enumerate(names)}
    for name, amount in amounts:
        totals[index[name]] += amount
    return tuple(totals.tolist())
