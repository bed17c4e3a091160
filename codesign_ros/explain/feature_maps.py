"""Feature maps of one block under different structures, made from the same input."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch

from codesign_ros.explain.structures import (
    AS_IT_IS,
    PRUNED,
    WITH,
    Variant,
    has_blocks,
    has_shortcuts,
)
from codesign_ros.models.network import IMAGE, Network
from codesign_ros.models.reparam import reparameterize


class FeatureMaps(NamedTuple):
    """What a segment makes in one structure: float32 (channels, h, w)."""

    variant: Variant
    maps: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        """Variance of each channel over its places, (channels,)."""
        return self.maps.var(axis=(1, 2))

    @property
    def detail(self) -> float:
        """Variance of what a 3x3 mean takes away over the variance, all channels together.

        0 for maps that are smooth at this scale; a little above 1 for a chequerboard.
        """
        blurred = np.stack([cv2.blur(each, (3, 3)) for each in self.maps])
        total = float(self.variance.sum())
        return float((self.maps - blurred).var(axis=(1, 2)).sum()) / total if total > 0 else 0.0


def best_block(network: Network) -> str | None:
    """Name the segment whose block shows most: of those with all branches the finest, the last.

    Returns:
        None where the network has no re-parameterisable block.
    """
    parts = dict(zip(network.segment_names, network.segments, strict=True))
    blocks = [name for name, part in parts.items() if has_blocks(part)]
    chosen = [name for name in blocks if has_shortcuts(parts[name])] or blocks
    return max(reversed(chosen), key=lambda name: _pixels(network, name), default=None)


def feature_maps(network: Network, image: np.ndarray, segment: str) -> list[FeatureMaps]:
    """Compute a segment's maps with the 3x3 branch alone, then with all its branches.

    What comes before the segment runs with all branches in both, so that the difference is the
    segment's own.

    Args:
        network: as trained, in evaluation mode.
        image: float32 (1, 3, H, W), normalised.
        segment: one that makes a map.

    Returns:
        One entry for each structure; a single one for a segment without a block.
    """
    index = network.segment_names.index(segment)
    sources = network.segment_inputs[index]
    module = network.segments[index]
    variants = (PRUNED, WITH) if has_blocks(module) else (AS_IT_IS,)
    with torch.no_grad():
        made = network.run({IMAGE: torch.from_numpy(image)}, 0, index, sources)
        results = []
        for variant in variants:
            part = reparameterize(module, variant.structure, variant.merge)
            # A module that writes into its input must not change that of the next one.
            results.append(
                FeatureMaps(variant, part(*(made[s].clone() for s in sources))[0].numpy())
            )
    return results


def most_varied(maps: FeatureMaps, count: int) -> list[int]:
    """Return the channels with the largest variance, largest first."""
    return np.argsort(-maps.variance, kind="stable")[:count].tolist()


def _pixels(network: Network, segment: str) -> int:
    """Number of places in the map that a segment makes."""
    cut = network.segment_names.index(segment) + 1
    (spec,) = (spec for spec in network.crossing(cut) if spec.name == segment)
    return spec.shape[2] * spec.shape[3]
