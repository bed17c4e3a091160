"""Structures block by block: what stays where, and that folding changes nothing."""

import itertools

import pytest
import torch
from torch import nn

from codesign_ros.models.block_structure import block_segments, with_block_structures
from codesign_ros.models.blocks import BranchedConv, RepVGGBlock
from codesign_ros.models.graph.importing import import_network
from codesign_ros.models.network import Network
from codesign_ros.models.reparam import reparameterize
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge, Structure
from codesign_ros.types.tensors import InputSpec
from support.tiny import TINY_INPUT, tiny_network

INPUT = InputSpec(12, 16)


def mixed(names):
    """All structures in turn."""
    return dict(zip(names, itertools.cycle(BRANCH_STRUCTURES), strict=False))


def as_after_training(model):
    torch.manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.normal_()
    return model.eval()


@pytest.fixture
def nested():
    """Blocks that are segments, and one within another segment."""
    part = nn.Sequential(nn.Conv2d(6, 6, 1), RepVGGBlock(6, 6))
    return as_after_training(
        Network([("a", RepVGGBlock(3, 6, 2)), ("b", RepVGGBlock(6, 6)), ("c", part)], INPUT)
    )


def test_blocks_are_named_after_their_segments(nested):
    assert block_segments(nested) == {"a": 0, "b": 1, "c/1": 2}
    names = block_segments(tiny_network())
    assert list(names)[:2] == ["stage0", "stage1.0"]
    assert "logits" not in names


@torch.no_grad()
def test_each_block_keeps_its_own_branches_and_folding_is_exact(nested):
    chosen = {"a": Structure.S3_S1, "b": Structure.S3, "c/1": Structure.S3_SS}
    made = with_block_structures(nested, chosen)
    blocks = [module for module in made.modules() if isinstance(module, BranchedConv)]
    kept = [(b.conv_1x1 is not None, b.identity is not None) for b in blocks]
    assert kept == [(True, False), (False, False), (False, True)]
    x = torch.randn(2, 3, 12, 16)
    torch.testing.assert_close(made(x), nested(x), atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("merge", [Merge.FOLD, Merge.PRUNE])
def test_one_structure_for_all_blocks_is_that_of_the_network(merge):
    network = tiny_network(seed=2)
    x = torch.randn(1, 3, TINY_INPUT.height, TINY_INPUT.width)
    for structure in BRANCH_STRUCTURES:
        same = dict.fromkeys(block_segments(network), structure)
        expected = reparameterize(network, structure, merge)
        assert torch.equal(with_block_structures(network, same, merge)(x), expected(x))


@torch.no_grad()
def test_blocks_of_an_imported_network():
    plain = nn.Conv2d(6, 6, 3, padding=1)  # its centre can be a branch of its own
    model = nn.Sequential(RepVGGBlock(3, 6, 2), plain, nn.ReLU(), nn.Conv2d(6, 4, 1))
    network = import_network(as_after_training(model), INPUT).network
    names = block_segments(network)
    assert len(names) == 2
    chosen = dict(zip(names, (Structure.S3_S1, Structure.S3_SS), strict=True))
    made = with_block_structures(network, chosen)
    blocks = [module for module in made.modules() if isinstance(module, BranchedConv)]
    kept = [(b.conv_1x1 is not None, b.identity is not None) for b in blocks]
    assert kept == [(True, False), (False, True)]
    x = torch.randn(1, 3, 12, 16)
    torch.testing.assert_close(made(x), model(x), atol=1e-5, rtol=1e-4)
    pruned = with_block_structures(network, mixed(names), Merge.PRUNE)
    assert not torch.allclose(pruned(x), model(x), atol=1e-3)


def test_names_must_be_those_of_the_blocks(nested):
    names = dict.fromkeys(block_segments(nested), Structure.S3)
    with pytest.raises(ValueError, match="wrong or missing: d"):
        with_block_structures(nested, {**names, "d": Structure.S3})
    with pytest.raises(ValueError, match="wrong or missing: b"):
        with_block_structures(nested, {"a": Structure.S3, "c/1": Structure.S3})
    with pytest.raises(ValueError, match="rank"):
        with_block_structures(nested, {**names, "b": Structure.RANK})
