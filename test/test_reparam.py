"""Re-parameterisation against BatchNorm and branches computed independently."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from codesign_ros.models.blocks import RepVGGBlock
from codesign_ros.models.reparam import reparameterize
from codesign_ros.types import Merge, Structure

TOLERANCE = 1e-5


def randomise(model, seed):
    """Give every BatchNorm statistics and affine parameters as after training."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.3, 2.0),
                (module.weight.data, -1.5, 1.5),
                (module.bias.data, -0.5, 0.5),
            ):
                tensor.uniform_(low, high, generator=generator)
    return model.eval()


def branch_sum(block, x, *, with_1x1, with_identity):
    """Compute the block in float64 from its raw tensors; branches that are off are left out."""

    def normalised(y, bn):
        shape = (1, -1, 1, 1)
        y = (y - bn.running_mean.double().view(shape)) / torch.sqrt(
            bn.running_var.double().view(shape) + bn.eps
        )
        return y * bn.weight.double().view(shape) + bn.bias.double().view(shape)

    x = x.double()
    branches = [(block.branch_3x3, 1)] + ([(block.branch_1x1, 0)] if with_1x1 else [])
    total = torch.zeros(())
    for branch, padding in branches:
        conv = branch.conv
        y = F.conv2d(x, conv.weight.double(), None, conv.stride, padding, groups=conv.groups)
        total = total + normalised(y, branch.bn)
    if with_identity and block.branch_identity is not None:
        total = total + normalised(x, block.branch_identity)
    return total.clamp(min=0)


SHAPES = [(8, 8, 1, 1), (8, 8, 2, 1), (4, 8, 1, 1), (8, 8, 1, 4), (8, 16, 2, 2), (6, 6, 1, 6)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("structure", Structure)
@pytest.mark.parametrize("merge", Merge)
@torch.no_grad()
def test_block_equals_the_branches_that_count(shape, structure, merge):
    torch.manual_seed(1)
    block = randomise(RepVGGBlock(*shape), seed=2)
    x = torch.randn(2, shape[0], 7, 9)
    expected = branch_sum(
        block,
        x,
        with_1x1=merge is Merge.FOLD or structure.keeps_1x1,
        with_identity=merge is Merge.FOLD or structure.keeps_identity,
    )
    deployed = reparameterize(block, structure, merge)
    torch.testing.assert_close(deployed(x).double(), expected, atol=TOLERANCE, rtol=0)


@given(
    seed=st.integers(0, 2**31 - 1),
    groups=st.sampled_from([1, 2, 3]),
    width=st.integers(1, 3),
    stride=st.sampled_from([1, 2]),
    structure=st.sampled_from(Structure),
)
@settings(max_examples=40, deadline=None)
@torch.no_grad()
def test_fold_changes_nothing(seed, groups, width, stride, structure):
    torch.manual_seed(seed)
    block = randomise(RepVGGBlock(6, 6 * width, stride, groups), seed)
    x = torch.randn(1, 6, 5, 4)
    folded = reparameterize(block, structure, Merge.FOLD)
    torch.testing.assert_close(folded(x), block(x), atol=TOLERANCE, rtol=1e-5)


@pytest.mark.parametrize("structure", Structure)
def test_branches_that_stay(structure):
    deployed = reparameterize(RepVGGBlock(4, 4), structure, Merge.FOLD)
    assert (deployed.conv_1x1 is not None) == structure.keeps_1x1
    assert (deployed.identity is not None) == structure.keeps_identity
    assert not any(isinstance(m, nn.BatchNorm2d) for m in deployed.modules())


@torch.no_grad()
def test_structures_agree_folded_and_differ_pruned():
    torch.manual_seed(3)
    model = randomise(nn.Sequential(RepVGGBlock(3, 8, 2), RepVGGBlock(8, 8), RepVGGBlock(8, 8)), 4)
    x = torch.randn(1, 3, 12, 10)
    whole = model(x)
    for structure in Structure:
        fold = reparameterize(model, structure, Merge.FOLD)(x)
        prune = reparameterize(model, structure, Merge.PRUNE)(x)
        torch.testing.assert_close(fold, whole, atol=TOLERANCE, rtol=1e-5)
        loses = structure is not Structure.S3_SS_S1
        assert ((prune - whole).abs().max() > 0.05) == loses


@torch.no_grad()
def test_argument_is_left_alone():
    model = randomise(nn.Sequential(RepVGGBlock(3, 4), nn.Flatten()), 5).train()
    before = copy.deepcopy(model.state_dict())
    deployed = reparameterize(model, Structure.S3, Merge.PRUNE)
    for parameter in deployed.parameters():
        parameter.fill_(7.0)
    assert model.training
    assert not deployed.training
    assert isinstance(model[0], RepVGGBlock)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_a_deployed_model_is_refused():
    deployed = reparameterize(RepVGGBlock(4, 4), Structure.S3, Merge.FOLD)
    with pytest.raises(ValueError, match="already"):
        reparameterize(nn.Sequential(deployed), Structure.S3_S1, Merge.FOLD)
