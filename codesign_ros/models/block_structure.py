"""A structure for each block of a network, where the paper has one for each half.

Plans that the nodes run name one structure for each half; what is made here is for measurements.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from codesign_ros.models.blocks import ParallelConv
from codesign_ros.models.graph.reparam import branched_values
from codesign_ros.models.graph.segment import GraphSegment
from codesign_ros.models.network import Network
from codesign_ros.models.reparam import reparameterize_each
from codesign_ros.types.errors import listed
from codesign_ros.types.forms import Merge, Structure


def block_segments(network: Network) -> dict[str, int]:
    """Find the blocks that have branches to keep or to merge.

    Args:
        network: trained, not yet re-parameterised.

    Returns:
        For each block its name and the index of its segment, in the network's order. A block that
        is a whole segment has the segment's name, another one ``segment/place in it``; in an
        imported network the place is the value that the block makes.
    """
    return {name: index for name, (index, _, _) in _blocks(network).items()}


def with_block_structures(
    network: Network, structures: Mapping[str, Structure], merge: Merge = Merge.FOLD
) -> Network:
    """Copy a network with each block in a structure of its own.

    Args:
        network: trained, with all its branches; it is left as it is.
        structures: for every name of :func:`block_segments` which branches stay; not ``rank``,
            which is no matter of branches.
        merge: what becomes of the others; with fold the copy computes the same.

    Returns:
        The network as it runs, in evaluation mode.

    Raises:
        ValueError: the names are not those of the blocks, or a structure is ``rank``.
    """
    blocks = _blocks(network)
    if structures.keys() != blocks.keys():
        strange = sorted(structures.keys() ^ blocks.keys())
        raise ValueError(f"the blocks are {listed(list(blocks))}; wrong or missing: {strange[0]}")
    if Structure.RANK in structures.values():
        raise ValueError("rank is a structure of whole networks, not of blocks")
    chosen = {(id(module), value): structures[name] for name, (_, module, value) in blocks.items()}

    def structure_of(module: nn.Module, value: str) -> Structure:
        # In an imported network a convolution without branches is asked for, too.
        return chosen.get((id(module), value), Structure.S3)

    return reparameterize_each(network, structure_of, merge)


def _blocks(network: Network) -> dict[str, tuple[int, nn.Module, str]]:
    """For each block by name: its segment, the module that holds it, and the value it makes."""
    found: dict[str, tuple[int, nn.Module, str]] = {}
    for index, segment in enumerate(network.segment_names):
        for path, module in network.segments[index].named_modules():
            if isinstance(module, ParallelConv):
                found[f"{segment}/{path}" if path else segment] = (index, module, "")
            elif isinstance(module, GraphSegment):
                for value in branched_values(module):
                    found[f"{segment}/{value}"] = (index, module, value)
    return found
