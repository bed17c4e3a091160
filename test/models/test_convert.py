"""Branches beside the convolutions of any network: same answers, exact folding, any kernel."""

import copy

import pytest
import timm
import torch
from torch import nn

from codesign_ros.models.blocks import BranchedConv, ConvBN, ParallelConv
from codesign_ros.models.convert import convert
from codesign_ros.models.graph.importing import import_network
from codesign_ros.models.network import Network
from codesign_ros.models.reparam import reparameterize
from codesign_ros.types.errors import CodesignError
from codesign_ros.types.forms import BRANCH_STRUCTURES, Merge, Structure
from codesign_ros.types.tensors import InputSpec
from support.cut_checks import difference, trained

SIZE = 32
INPUT = InputSpec(SIZE, SIZE)

# kernel, channels in and out, stride, groups; whether an identity branch fits.
KERNELS = {
    "7x7": (7, 8, 16, 2, 1, False),
    "5x5": (5, 8, 8, 1, 1, True),
    "3x3": (3, 8, 8, 1, 1, True),
    "1x5": ((1, 5), 8, 8, 1, 1, True),
    "strided": (3, 8, 8, 2, 1, False),
    "grouped": (3, 8, 8, 1, 4, True),
    "grouped, other channels": (3, 8, 16, 1, 4, False),
    "depthwise": (3, 8, 8, 1, 8, True),
    "depthwise 5x5": (5, 8, 8, 1, 8, True),
    "depthwise, strided": (5, 8, 8, 2, 8, False),
    "depthwise, twice as many": (3, 8, 16, 1, 8, False),
}


def sandwich(kernel, channels, out, stride, groups):
    """A convolution of that kind between plain ones, and a skip from before to behind it."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            sizes = (kernel, kernel) if isinstance(kernel, int) else kernel
            padding = tuple(size // 2 for size in sizes)
            self.stem = nn.Conv2d(3, channels, 1)
            self.conv = nn.Conv2d(
                channels, out, kernel, stride, padding, groups=groups, bias=groups == 1
            )
            self.bn = nn.BatchNorm2d(out)
            self.skip = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.skip_bn = nn.BatchNorm2d(out)

        def forward(self, x):
            x = torch.relu(self.stem(x))
            return self.bn(self.conv(x)) + self.skip_bn(self.skip(x))

    torch.manual_seed(0)
    return Net()


def image():
    return torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))


def answer(module):
    with torch.no_grad():
        return {"answer": module.eval()(image())}


@pytest.mark.parametrize("name", KERNELS)
def test_every_structure_of_a_converted_network_is_the_same(name):
    *kind, has_identity = KERNELS[name]
    module = trained(convert(sandwich(*kind), SIZE, SIZE), SIZE)
    block = module.conv
    assert type(block) is ParallelConv
    assert (block.branch_identity is not None) == has_identity
    expected = answer(module)
    imported, _ = import_network(module, INPUT)
    for network in (Network([("all", module)], INPUT), imported):
        for structure in BRANCH_STRUCTURES:
            merged = reparameterize(network, structure, Merge.FOLD)
            assert difference(answer(merged), expected) < 1e-4
            blocks = [part for part in merged.modules() if isinstance(part, BranchedConv)]
            keeps_identity = has_identity and structure.keeps_identity
            assert sum(each.conv_1x1 is not None for each in blocks) == structure.keeps_1x1
            assert sum(each.identity is not None for each in blocks) == keeps_identity


@pytest.mark.parametrize("structure", BRANCH_STRUCTURES)
def test_pruning_drops_the_branches_that_were_put_there(structure):
    """So the branches were recognised, and not made up from the kernel's centre."""
    *kind, _ = KERNELS["grouped"]
    module = trained(convert(sandwich(*kind), SIZE, SIZE), SIZE)
    imported, _ = import_network(module, INPUT)
    silent = copy.deepcopy(module)
    dropped = [] if structure.keeps_1x1 else [silent.conv.branch_1x1.bn]
    dropped += [] if structure.keeps_identity else [silent.conv.branch_identity]
    for norm in dropped:
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    for network in (Network([("all", module)], INPUT), imported):
        pruned = reparameterize(network, structure, Merge.PRUNE)
        assert difference(answer(pruned), answer(silent)) < 1e-4


def test_a_converted_network_answers_as_before_until_it_is_trained():
    *kind, _ = KERNELS["3x3"]
    module = trained(sandwich(*kind), SIZE)
    weights = copy.deepcopy(module.state_dict())
    converted = convert(module, SIZE, SIZE)
    assert difference(answer(converted), answer(module)) < 1e-6
    assert all(torch.equal(weights[key], value) for key, value in module.state_dict().items())
    # The new branches learn: their BatchNorms' scales get gradients.
    converted.train()(torch.randn(2, 3, SIZE, SIZE)).square().mean().backward()
    block = converted.conv
    assert block.branch_1x1.bn.weight.grad.abs().max() > 0
    assert block.branch_identity.weight.grad.abs().max() > 0


def test_a_convolution_without_batch_norm_gets_one_that_changes_nothing():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1))
    converted = convert(module, SIZE, SIZE)
    assert type(converted[0]) is ParallelConv
    assert type(converted[2]) is nn.Conv2d
    assert difference(answer(converted), answer(module)) < 1e-6
    converted = trained(converted, SIZE)
    network, _ = import_network(converted, INPUT)
    folded = reparameterize(network, Structure.S3, Merge.FOLD)
    assert difference(answer(folded), answer(converted)) < 1e-4


class Awkward(nn.Module):
    """Convolutions that are not eligible, and two that look as if they were."""

    def __init__(self):
        super().__init__()
        self.even = nn.Conv2d(3, 4, 4, padding=2)
        self.dilated = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.unpadded = nn.Conv2d(4, 4, 3)
        self.reflected = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.unused = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        x = self.reflected(self.unpadded(self.dilated(self.even(x))))
        return self.twice(torch.relu(self.twice(x)))


def test_what_is_not_eligible_stays():
    with pytest.raises(CodesignError, match="Awkward has no convolution to re-parameterise"):
        convert(Awkward(), SIZE, SIZE)


def test_a_batch_norm_behind_two_convolutions_belongs_to_none():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Conv2d(3, 4, 3, padding=1)
            self.b = nn.Conv2d(4, 4, 3, padding=1)
            self.bn = nn.BatchNorm2d(4)

        def forward(self, x):
            return self.bn(self.b(self.bn(self.a(x))))

    torch.manual_seed(0)
    module = trained(Shared(), SIZE)
    converted = convert(module, SIZE, SIZE)
    assert type(converted.bn) is nn.BatchNorm2d
    assert difference(answer(converted), answer(module)) < 1e-5


def test_a_convolution_whose_result_is_used_beside_its_batch_norm_is_refused():
    class Peeking(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.bn = nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return y + self.bn(y)

    torch.manual_seed(0)
    with pytest.raises(CodesignError, match="Peeking cannot be converted: something beside"):
        convert(trained(Peeking(), SIZE), SIZE, SIZE)


def test_blocks_that_have_branches_already_stay():
    once = convert(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)), SIZE, SIZE)
    both = nn.Sequential(once, ConvBN(3, 3, 3, 1, 1))
    twice = convert(both, SIZE, SIZE)
    assert sum(isinstance(part, ParallelConv) for part in twice.modules()) == 2
    assert type(twice[1]) is ParallelConv  # in place of the whole ConvBN
    assert difference(answer(twice), answer(both)) < 1e-6


def test_an_image_that_does_not_fit_is_said():
    fixed = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 32 * 32, 2))
    with pytest.raises(CodesignError, match="Sequential does not accept an image of 16x16"):
        convert(fixed, 16, 16)


def test_a_network_of_timm_keeps_its_activations():
    """Its BatchNorms have the activation inside."""
    torch.manual_seed(0)
    module = trained(timm.create_model("mobilenetv1_100", num_classes=5), SIZE)
    converted = convert(module, SIZE, SIZE)
    assert sum(isinstance(part, ParallelConv) for part in converted.modules()) == 14
    assert difference(answer(converted), answer(module)) < 1e-5
    converted = trained(converted, SIZE)
    network = Network([("all", converted)], INPUT)
    for structure in (Structure.S3, Structure.S3_SS_S1):
        folded = reparameterize(network, structure, Merge.FOLD)
        # Processors sum up in other orders; over 28 layers that makes 1e-4. A branch that is folded
        # wrongly changes the answer itself.
        assert difference(answer(folded), answer(converted)) < 1e-3
