"""Re-parameterisation against BatchNorm and branches computed independently."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from codesign_ros.models.blocks import BranchedConv, RepVGGBlock
from codesign_ros.models.graph.importing import import_network
from codesign_ros.models.reparam import reparameterize
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge, Structure
from codesign_ros.types.tensors import InputSpec

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
@pytest.mark.parametrize("structure", BRANCH_STRUCTURES)
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
    structure=st.sampled_from(BRANCH_STRUCTURES),
)
@settings(max_examples=40, deadline=None)
@torch.no_grad()
def test_fold_changes_nothing(seed, groups, width, stride, structure):
    torch.manual_seed(seed)
    block = randomise(RepVGGBlock(6, 6 * width, stride, groups), seed)
    x = torch.randn(1, 6, 5, 4)
    folded = reparameterize(block, structure, Merge.FOLD)
    torch.testing.assert_close(folded(x), block(x), atol=TOLERANCE, rtol=1e-5)


@pytest.mark.parametrize("structure", BRANCH_STRUCTURES)
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
    for structure in BRANCH_STRUCTURES:
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


def imported_conv(conv, *, norm=False, size=9):
    """One convolution of an imported network, behind one that makes its channels."""
    parts = [nn.Conv2d(3, conv.in_channels, 1), nn.ReLU(), conv]
    parts += [nn.BatchNorm2d(conv.out_channels)] if norm else []
    module = randomise(nn.Sequential(*parts), seed=6)
    return module, import_network(module, InputSpec(size, size + 1)).network


def numpy_like_branches(conv, x):
    """Off-centre taps, off-diagonal of the centre tap and its diagonal, each applied in float64."""
    weight, groups = conv.weight.double(), conv.groups
    row, column = (size // 2 for size in conv.kernel_size)
    own = torch.zeros(conv.out_channels, weight.shape[1], dtype=torch.bool)
    if conv.in_channels == conv.out_channels and conv.stride == (1, 1):
        for channel in range(conv.out_channels):
            own[channel, channel % weight.shape[1]] = True
    rest, cross, diagonal = weight.clone(), torch.zeros_like(weight), torch.zeros_like(weight)
    rest[:, :, row, column] = 0
    cross[:, :, row, column] = weight[:, :, row, column] * ~own
    diagonal[:, :, row, column] = weight[:, :, row, column] * own
    return [
        F.conv2d(x.double(), part, None, conv.stride, conv.padding, groups=groups)
        for part in (rest, cross, diagonal)
    ]


CONVS = [
    nn.Conv2d(4, 4, 3, padding=1),
    nn.Conv2d(4, 4, 3, padding=1, bias=False),
    nn.Conv2d(4, 4, 5, padding=2, groups=4),
    nn.Conv2d(4, 4, 3, padding=1, groups=2),
    nn.Conv2d(4, 6, 3, padding=1, groups=2),
    nn.Conv2d(4, 4, 3, padding=1, stride=2, bias=False),
    nn.Conv2d(4, 4, (1, 7), padding=(0, 3)),
]


@pytest.mark.parametrize("conv", CONVS, ids=str)
@pytest.mark.parametrize("norm", [False, True])
@torch.no_grad()
def test_any_wide_convolution_has_the_structures(conv, norm):
    module, network = imported_conv(copy.deepcopy(conv), norm=norm)
    x = torch.randn(1, 3, 9, 10)
    between = module[:2](x)
    rest, cross, diagonal = numpy_like_branches(module[2], between)
    bias = 0 if conv.bias is None else module[2].bias.double().reshape(1, -1, 1, 1)
    for structure in BRANCH_STRUCTURES:
        folded = reparameterize(network, structure, Merge.FOLD)(x)
        torch.testing.assert_close(folded, module(x), atol=TOLERANCE, rtol=1e-5)
        kept = rest + bias
        kept = kept + (cross if structure.keeps_1x1 else 0)
        kept = kept + (diagonal if structure.keeps_identity else 0)
        pruned = reparameterize(network, structure, Merge.PRUNE)(x)
        expected = module[3].double()(kept) if norm else kept
        module.float()
        torch.testing.assert_close(pruned.double(), expected, atol=TOLERANCE, rtol=1e-5)


@pytest.mark.parametrize("structure", BRANCH_STRUCTURES)
def test_branches_of_an_imported_convolution(structure):
    def branched(conv):
        _, network = imported_conv(conv)
        merged = reparameterize(network, structure, Merge.FOLD)
        (found,) = [m for m in merged.modules() if isinstance(m, BranchedConv)] or [None]
        return found is not None and found.conv_1x1 is not None, (
            found is not None and found.identity is not None
        )

    ones, identity = structure.keeps_1x1, structure.keeps_identity
    assert branched(nn.Conv2d(4, 4, 3, padding=1)) == (ones, identity)
    # Of a depthwise convolution the identity is all of the centre tap.
    assert branched(nn.Conv2d(4, 4, 3, padding=1, groups=4)) == (False, identity)
    assert branched(nn.Conv2d(4, 4, 3, padding=1, stride=2)) == (ones, False)
    # Their centre tap does not lie on their input, or they have none.
    for conv in (
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, 4, padding=2),
        nn.Conv2d(4, 4, 1),
    ):
        assert branched(conv) == (False, False)


def test_a_merged_imported_network_is_refused():
    _, network = imported_conv(nn.Conv2d(4, 4, 3, padding=1))
    merged = reparameterize(network, Structure.S3_S1, Merge.FOLD)
    with pytest.raises(ValueError, match="already"):
        reparameterize(merged, Structure.S3, Merge.FOLD)
